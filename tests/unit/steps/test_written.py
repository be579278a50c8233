"""Tasks that write: nothing is exported, torch serves, and the first version is judged beside its own base model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ftcore import store
from ftcore.records import Record, now
from ftcore.serving import scoring
from ftcore.steps import evaluate, export, gate
from ftcore.tracking import CHAMPION
from tests.unit.tasks._small import small

if TYPE_CHECKING:
    from conftest import Product

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


def done(product: Product, step: str, figures: dict[str, Any], paths: dict[str, str] | None = None) -> None:
    product.shelf.write_record(
        Record(
            step=step,
            recipe=product.name,
            run_id="r1",
            fingerprint="",
            started_at=now(),
            figures=figures,
            paths=paths or {},
        )
    )


def test_what_trained_nothing_does_not_beat_its_base(assistant: Product) -> None:
    exported = export.run(assistant.context("export"))
    assert exported.reason.startswith("the recipe asks for no export, torch serves: torch ")
    done(assistant, "export", exported.figures)
    measured = evaluate.run(assistant.context("evaluate"))
    metrics = store.read_json(assistant.shelf.root / measured.paths["evaluation"])["metrics"]
    assert set(metrics["candidate"]) == {"torch"}
    assert metrics["baseline"]["untrained"]["test"] == metrics["candidate"]["torch"]["test"]
    assert metrics["candidate"]["torch"]["test"]["perplexity"]["value"] > 1
    assert metrics["candidate"]["torch"]["test"]["chrf"]["value"] is None, "nothing was written"
    done(assistant, "evaluate", measured.figures, measured.paths)
    verdict = gate.run(assistant.context("gate"))
    assert not verdict.proceed
    assert "does not surely beat the untrained baseline in perplexity by +0.000" in verdict.reason


def test_the_champion_answers_in_batches(assistant: Product, tmp_path: Path) -> None:
    assistant.tracking.set_alias(CHAMPION, assistant.tracking.version(1))
    path = tmp_path / "asked.csv"
    path.write_text("text,context\nwhat is red ?,the door\nwhat is the colour of the car ?,\n", encoding="utf-8")
    table = scoring.score(assistant.recipe, assistant.shelf, assistant.settings, path)
    assert all(isinstance(label, str) for label in table["label"].to_pylist())
    assert table["score"].null_count == 2, "nobody knows how sure a model is of what it wrote"
    assert table["context"].to_pylist() == ["the door", None]
