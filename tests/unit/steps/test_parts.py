"""A task of several parts from its candidate to its verdict: each part on its own rows, beside champion and base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import torch

from ftcore.data import snapshot
from ftcore.errors import ExportError
from ftcore.models import base, loading
from ftcore.steps import evaluate, export, gate
from ftcore.store import store
from ftcore.store.records import Record, now
from ftcore.tasks.multitask import Multitask
from ftcore.tracking.client import CHAMPION
from tests.models import COLOURS, THINGS, small

if TYPE_CHECKING:
    from conftest import Product

ENCODER = {
    "colour": {"kind": "classification", "labels": ["red", "blue"], "sources": ["files:a"]},
    "words": {"kind": "tagging", "labels": ["O", "B-COL"], "sources": ["files:b"]},
}
WRITES = {
    "chat": {"kind": "chat", "sources": ["files:a"]},
    "plain": {"kind": "completion", "sources": ["files:b"]},
}


def made(product: Product, folder: Path, family: str, parts: dict[str, Any], **changes: Any) -> None:
    """A product whose candidate of run r1 is a model that nobody trained, in ``folder/model``."""
    small(family, folder / "base")
    task = Multitask.model_validate({"kind": "multitask", "parts": parts})
    words = loading.tokenizer(folder / "base")
    base.write_model(task.load(folder / "base"), words, folder / "model")
    card = {"task": task.model_dump(mode="json"), "max_length_tokens": 48}
    store.write_json(folder / "model" / "ftcore.json", card)
    product.change(
        task={"kind": "multitask", "parts": parts},
        base=str(folder / "base"),
        sources=[{"kind": "files", "path": "rows.csv", "name": name} for name in "ab"],
        exports=[],
        evaluate={"resamples": 100, "perturbed_rows": 8},
        train={"max_length_tokens": 48},
        prepare={"near_duplicates": None},
        **changes,
    )


def candidate(product: Product, run_id: str, identity: str, folder: Path) -> None:
    number = product.register(run_id, identity, [folder / "model"]).number
    done(product, run_id, "train", {"version": number})
    exported = export.run(product.context("export", run_id))
    done(product, run_id, "export", exported.figures, inputs=exported.inputs)


def done(
    product: Product,
    run_id: str,
    step: str,
    figures: dict[str, Any],
    paths: dict[str, str] | None = None,
    inputs: dict[str, str] | None = None,
) -> None:
    record = Record(step=step, recipe=product.name, run_id=run_id, fingerprint="", started_at=now(), figures=figures,
                    paths=paths or {}, inputs=inputs or {})  # fmt: skip
    product.shelf.write_record(record)


def publish(product: Product, sources: str, count: int) -> str:
    rows = []
    for number in range(count):
        source, colour, thing = sources[number % len(sources)], COLOURS[number % 2 * 2], THINGS[number % 6]
        label = colour if source == "a" else "O O O B-COL O"
        text = f"the {thing} is {colour} {number}"  # a text that is trained on judges nothing
        rows.append({
            "row_id": f"{source}{number}", "text": text, "label": label, "source": f"files:{source}",
            "split": "test" if number % 2 == number // 2 % 2 else "train",
        })  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=snapshot.schema(split=True))
    quarantine = snapshot.schema().append(pa.field("reason", pa.string())).empty_table()
    return snapshot.publish(product.shelf, lambda: [table], quarantine, {"rows": count})


def judged(product: Product, run_id: str) -> tuple[dict[str, Any], list[Any]]:
    """The evaluation and the verdict's rules of a run."""
    outcome = evaluate.run(product.context("evaluate", run_id))
    done(product, run_id, "evaluate", outcome.figures, outcome.paths, outcome.inputs)
    found = store.read_json(product.shelf.root / outcome.paths["evaluation"])
    return found, gate.run(product.context("gate", run_id)).figures["rules"]


def test_candidate_and_champion_are_compared_part_by_part(product: Product, tmp_path: Path) -> None:
    gates = [
        {"kind": "threshold", "metric": "colour/accuracy", "minimum": 0, "min_rows": 10},
        {"kind": "beats_champion", "metric": "words/accuracy", "non_inferior": 0.5, "min_rows": 10},
        {"kind": "beats_baseline", "metric": "colour/accuracy", "min_rows": 10},
    ]
    made(product, tmp_path, "bert", ENCODER, gates=gates)
    candidate(product, "r1", publish(product, "a", 60), tmp_path)  # the part of the words has no test row yet
    found, _ = judged(product, "r1")
    assert found["metrics"]["candidate"]["torch"]["test"]["words/f1"]["rows"] == 0
    product.tracking.set_alias(CHAMPION, product.tracking.version(1))
    product.promise(product.tracking.version(1))

    candidate(product, "r2", publish(product, "aab", 90), tmp_path)
    found, rules = judged(product, "r2")
    test = found["metrics"]["candidate"]["torch"]["test"]
    rows = {name.partition("/")[0]: one["rows"] for name, one in test.items()}
    assert rows["colour"] > rows["words"] > 10
    assert sum(rows.values()) == found["rows"]["test"]
    assert found["metrics"]["champion"] == found["metrics"]["candidate"], "it is the same model"
    assert set(found["metrics"]["baseline"]) == {"majority", "linear"}
    assert found["metrics"]["baseline"]["linear"]["test"]["colour/accuracy"]["value"] == 1
    assert found["metrics"]["baseline"]["linear"]["test"]["words/accuracy"]["value"] is None
    assert {one["source"] for one in found["examples"]["best"]} == {"files:a", "files:b"}
    threshold, champion, baseline = rules
    assert (threshold["rows"], champion["rows"], baseline["rows"]) == (rows["colour"], rows["words"], rows["colour"])
    assert champion["passed"]
    assert not baseline["passed"]


def test_parts_of_one_encoder_are_exported_and_each_is_compared_with_torch(product: Product, tmp_path: Path) -> None:
    parts = {
        **ENCODER,
        "words": {"kind": "multilabel", "labels": ["O", "B-COL"], "separator": " ", "sources": ["files:b"]},
    }
    gates = [{"kind": "parity", "metric": f"{metric}", "max_difference": 0.2, "max_disagreement": 0.9, "min_rows": 10}
             for metric in ("colour/accuracy", "words/f1_micro")]  # fmt: skip
    made(product, tmp_path, "bert", parts, gates=gates)
    product.change(exports=[{"kind": "onnx"}])
    candidate(product, "r1", publish(product, "ab", 60), tmp_path)
    found, rules = judged(product, "r1")
    assert found["served"] == "onnx-int8"
    assert list(found["metrics"]["candidate"]) == list(found["latency"]) == ["onnx-int8", "onnx-fp32", "torch"]
    assert found["metrics"]["candidate"]["onnx-fp32"] == found["metrics"]["candidate"]["torch"]
    assert found["size_bytes"]["onnx-int8"] < found["size_bytes"]["onnx-fp32"]
    rows = {name: one["rows"] for name, one in found["metrics"]["candidate"]["torch"]["test"].items()}
    assert [rule["rows"] for rule in rules] == [rows["colour/accuracy"], rows["words/f1_micro"]]
    assert all(rule["passed"] for rule in rules)


def test_a_head_that_answers_nan_is_an_error(product: Product, tmp_path: Path) -> None:
    made(product, tmp_path, "bert", ENCODER, gates=[{"kind": "beats_baseline"}])
    task = product.recipe.task
    model = task.load(tmp_path / "model")
    torch.nn.init.constant_(model.head_colour.classifier.bias, float("nan"))
    base.write_model(model, loading.tokenizer(tmp_path / "base"), tmp_path / "model")
    candidate(product, "r1", publish(product, "ab", 60), tmp_path)
    with pytest.raises(ExportError, match="version 1 as torch answers 15 of 30 rows with NaN"):
        evaluate.run(product.context("evaluate", "r1"))


def test_parts_that_write_are_judged_beside_their_base(product: Product, tmp_path: Path) -> None:
    made(product, tmp_path, "llama", WRITES, gates=[{"kind": "beats_baseline", "min_rows": 10}])
    candidate(product, "r1", publish(product, "ab", 60), tmp_path)
    found, (rule,) = judged(product, "r1")
    test = found["metrics"]["candidate"]["torch"]["test"]
    assert test["chat/perplexity"]["value"] > 1
    assert test["plain/bits_per_byte"]["value"] > 0
    assert found["metrics"]["baseline"]["untrained"]["test"] == test
    assert "does not surely beat the untrained baseline in chat/perplexity by +0.000" in rule["reason"]
    assert rule["rows"] == test["chat/perplexity"]["rows"] < found["rows"]["test"]


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("judge", {"endpoint": "https://x.example", "model": "m"}),
    ("general_text", {"kind": "files", "path": "a.csv", "name": "a"}),
]


@pytest.mark.parametrize(("key", "value"), ASKED)
def test_what_asks_one_writer_is_refused_of_several_parts(
    product: Product, tmp_path: Path, key: str, value: dict[str, Any]
) -> None:
    made(product, tmp_path, "llama", WRITES, gates=[{"kind": "beats_baseline"}])
    product.change(evaluate={key: value})
    with pytest.raises(ValueError, match=f"evaluate.{key}: the task multitask"):
        product.recipe  # noqa: B018 - reading it tells
