"""Tasks that write: nothing is exported, torch serves, and the first version is judged beside its own base model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ftcore.errors import NotEnoughDataError
from ftcore.evaluation import judge as _judge
from ftcore.serving import scoring
from ftcore.steps import evaluate, export, gate
from ftcore.store import store
from ftcore.store.records import Record, now
from ftcore.tracking.client import CHAMPION
from tests.models import small

if TYPE_CHECKING:
    from conftest import Product

    from ftcore.recipe.sections import Judge

TASK = {"kind": "chat", "answer_tokens": 4}


@pytest.fixture
def assistant(product: Product, tmp_path: Path) -> Product:
    """A product whose candidate is its base model, as though training had done nothing."""
    small("llama", tmp_path / "model")
    store.write_json(tmp_path / "model" / "ftcore.json", {"task": TASK, "max_length_tokens": 64})
    product.change(
        task=TASK,
        base=str(tmp_path / "model"),
        exports=[],
        gates=[{"kind": "beats_baseline", "min_rows": 10}],
        evaluate={"resamples": 100, "perturbed_rows": 4},
        train={"max_length_tokens": 64},
    )
    number = product.register("r1", product.publish(range(80)), [tmp_path / "model"]).number
    done(product, "train", {"version": number})
    return product


def done(
    product: Product,
    step: str,
    figures: dict[str, Any],
    paths: dict[str, str] | None = None,
    run_id: str = "r1",
    inputs: dict[str, str] | None = None,
) -> None:
    product.shelf.write_record(
        Record(
            step=step,
            recipe=product.name,
            run_id=run_id,
            fingerprint="",
            started_at=now(),
            figures=figures,
            paths=paths or {},
            inputs=inputs or {},
        )
    )


def test_what_trained_nothing_does_not_beat_its_base(assistant: Product) -> None:
    exported = export.run(assistant.context("export"))
    assert exported.reason.startswith("the recipe asks for no export, torch serves: torch ")
    done(assistant, "export", exported.figures, inputs=exported.inputs)
    measured = evaluate.run(assistant.context("evaluate"))
    metrics = store.read_json(assistant.shelf.root / measured.paths["evaluation"])["metrics"]
    assert set(metrics["candidate"]) == {"torch"}
    assert metrics["baseline"]["untrained"]["test"] == metrics["candidate"]["torch"]["test"]
    assert metrics["candidate"]["torch"]["test"]["perplexity"]["value"] > 1
    assert metrics["candidate"]["torch"]["test"]["chrf"]["value"] is None, "nothing was written"
    done(assistant, "evaluate", measured.figures, measured.paths, inputs=measured.inputs)
    verdict = gate.run(assistant.context("gate"))
    assert not verdict.proceed
    assert "does not surely beat the untrained baseline in perplexity by +0.000" in verdict.reason


def test_the_champion_answers_in_batches(assistant: Product, tmp_path: Path) -> None:
    assistant.tracking.set_alias(CHAMPION, assistant.tracking.version(1))
    assistant.promise(assistant.tracking.version(1))
    path = tmp_path / "asked.csv"
    path.write_text("text,context\nwhat is red ?,the door\nwhat is the colour of the car ?,\n", encoding="utf-8")
    table = scoring.score(assistant.recipe, assistant.shelf, assistant.settings, path)
    assert all(isinstance(label, str) for label in table["label"].to_pylist())
    assert table["score"].null_count == 2, "nobody knows how sure a model is of what it wrote"
    assert table["context"].to_pylist() == ["the door", None]


def test_a_judge_reads_what_both_write_and_general_texts_show_what_was_forgotten(
    assistant: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The champion is the same model, and the judge says A to everything."""
    asked: list[dict[str, str]] = []

    def says_a(judge: Judge, there: object, question: list[dict[str, str]]) -> str:
        asked.append(json.loads(question[-1]["content"]))
        return "A"

    monkeypatch.setattr(_judge, "ask", says_a)  # test_win_rate.py asks a real server
    (tmp_path / "general.csv").write_text("text\nthe door is red .\nthe car is blue .\n", encoding="utf-8")
    assistant.change(
        evaluate={
            "resamples": 100,
            "perturbed_rows": 0,
            "judge": {"endpoint": "https://judge.example.com/v1", "model": "wise", "rows": 3},
            "general_text": {"kind": "files", "path": str(tmp_path / "general.csv"), "label": None},
        }
    )
    done(assistant, "export", export.run(assistant.context("export")).figures)
    first = evaluate.run(assistant.context("evaluate"))
    found = store.read_json(assistant.shelf.root / first.paths["evaluation"])
    assert "judge" not in found, "there is no champion yet"
    assert set(found["general_text"]["metrics"]) == {"base", "candidate"}
    assistant.tracking.set_alias(CHAMPION, assistant.tracking.version(1))
    assistant.promise(assistant.tracking.version(1))
    assistant.register("r2", assistant.publish(range(80)), [tmp_path / "model"])
    done(assistant, "train", {"version": 2}, run_id="r2")
    done(assistant, "export", {"size_bytes": {"torch": 1}}, run_id="r2")
    second = evaluate.run(assistant.context("evaluate", "r2"))
    found = store.read_json(assistant.shelf.root / second.paths["evaluation"])
    assert (found["judge"]["host"], found["judge"]["rows"], found["judge"]["ties"]) == ("judge.example.com", 3, 3)
    assert found["judge"]["agreement"]["value"] == 0
    assert all(isinstance(one["answer_a"], str) and one["right_answer"] for one in asked)
    general = found["general_text"]
    assert general["rows"] == 2
    assert general["metrics"]["champion"]["perplexity"]["value"] > 1
    assert set(general["differences"]) == {"base", "champion"}
    assert general["differences"]["base"]["loss"]["value"] == 0, "nobody trained it"


def test_general_texts_that_are_all_in_the_snapshot_are_refused(assistant: Product, tmp_path: Path) -> None:
    (tmp_path / "general.csv").write_text(f"text\n{assistant.rows([1])['text'][0]}\n", encoding="utf-8")
    source = {"kind": "files", "path": str(tmp_path / "general.csv"), "label": None}
    assistant.change(evaluate={"resamples": 100, "perturbed_rows": 0, "general_text": source})
    done(assistant, "export", export.run(assistant.context("export")).figures)
    with pytest.raises(NotEnoughDataError, match=r"general_text has no text"):
        evaluate.run(assistant.context("evaluate"))
