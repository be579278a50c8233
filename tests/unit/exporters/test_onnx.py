"""Exports of a tiny model, opened by real ONNX Runtime, do what the model does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx as onnx_file
import pytest
from pydantic import ValidationError

from ftcore import base
from ftcore._find import find
from ftcore.errors import ExportError
from ftcore.exporters import onnx
from ftcore.outputs import Example
from ftcore.tasks import classification, multitask
from ftcore.training import loading
from tests.unit.tasks._small import THINGS, small

TEXTS = ["good", "the film is bad", "a great story, and a bright end to it", "1 2 3 4 5 6 7 8 9", ""]
TASK = classification.Config(labels=("negative", "positive"))


def test_names_say_which_one_serves() -> None:
    assert onnx.names(onnx.Config()) == ["onnx-int8", "onnx-fp32"]
    assert onnx.names(onnx.Config(precisions=("fp32",))) == ["onnx-fp32"]
    with pytest.raises(ValidationError):
        onnx.Config(precisions=())


@pytest.mark.parametrize(("name", "tolerance"), [("onnx-fp32", 1e-5), ("onnx-int8", 0.1)])
def test_an_export_agrees_with_the_model(tiny: Path, name: str, tolerance: float) -> None:
    expected = classification.predictor(TASK, tiny / "model", 32)(TEXTS)
    logits = onnx.load(tiny / name, 32, 1)(TEXTS)["logits"]
    assert logits.shape == (len(TEXTS), 2)
    assert expected.std(0).min() > 0.05, "a model that says the same of all texts would prove nothing"
    assert classification.outputs(TASK, logits) == pytest.approx(expected, abs=tolerance)


def test_a_text_does_not_depend_on_what_shares_its_batch(tiny: Path) -> None:
    run = onnx.load(tiny / "onnx-fp32", 32, 1)
    together = run(TEXTS)["logits"]
    assert together == pytest.approx(np.concatenate([run([text])["logits"] for text in TEXTS]), abs=1e-4)


def test_long_texts_are_cut(tiny: Path) -> None:
    run = onnx.load(tiny / "onnx-fp32", 8, 1)
    assert run(["good " * 500])["logits"] == pytest.approx(run(["good " * 6])["logits"], abs=1e-6)


def test_int8_is_smaller(tiny: Path) -> None:
    sizes = {p: sum(f.stat().st_size for f in (tiny / f"onnx-{p}").glob("model.onnx*")) for p in ("int8", "fp32")}
    assert sizes["int8"] < sizes["fp32"]


@pytest.mark.parametrize("broken", ["missing", "model", "tokenizer"])
def test_what_cannot_be_opened_is_an_export_error(tiny: Path, tmp_path: Path, broken: str) -> None:
    if broken != "missing":
        for file in (tiny / "onnx-fp32").iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        (tmp_path / {"model": "model.onnx", "tokenizer": "tokenizer.json"}[broken]).write_text("nothing")
    with pytest.raises(ExportError, match="holds no ONNX model that can be opened"):
        onnx.load(tmp_path, 32, 1)


def test_what_cannot_be_translated_is_an_export_error(tmp_path: Path, tiny: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(tiny / "model").eval()

    class Branching(torch.nn.Module):
        def forward(self, hidden: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
            return hidden if hidden.sum().item() > 0 else -hidden

    model.bert.embeddings.LayerNorm = Branching()
    with pytest.raises(ExportError, match="BertForSequenceClassification cannot be exported to ONNX"):
        onnx.export(onnx.Config(), model, AutoTokenizer.from_pretrained(tiny / "model"), tmp_path)


@pytest.mark.parametrize("kind", [kind for kind in onnx.TASKS if kind != "classification"])
def test_every_task_that_it_names_agrees_with_torch(kind: str, tmp_path: Path) -> None:
    task = find("tasks", kind)
    config = task.Config.model_validate(task.EXAMPLE)
    small("bert", tmp_path)
    model, words = task.load(config, tmp_path).eval(), loading.tokenizer(tmp_path)
    model.save_pretrained(tmp_path / "model")
    words.save_pretrained(tmp_path / "model")
    onnx.export(onnx.Config(precisions=("fp32",)), model, words, tmp_path)
    texts = ["the red door", Example("what is red ?", "the green car is a boat .")]
    expected = task.predictor(config, tmp_path / "model", 32)(texts)
    made = task.outputs(config, onnx.load(tmp_path / "onnx-fp32", 32, 1)(texts)["logits"])
    assert made == pytest.approx(expected, abs=1e-5)


def test_parts_share_one_graph_and_rows_of_all_of_them_a_batch(tmp_path: Path) -> None:
    examples = {kind: find("tasks", kind).EXAMPLE | {"sources": [f"files:{kind}"]} for kind in onnx.TASKS}
    parts = {"input_ids": examples.pop("classification"), **examples}  # a name that the graph has of its own, too
    config = multitask.Config.model_validate({"kind": "multitask", "parts": parts})
    small("bert", tmp_path / "base")
    words = loading.tokenizer(tmp_path / "base")
    base.write_model(multitask.load(config, tmp_path / "base"), words, tmp_path / "model")
    onnx.export(onnx.Config(), multitask.exportable(config, tmp_path / "model").eval(), words, tmp_path)
    texts = [Example(f"the {thing} is {'red ' * n}", source=name) for n, thing in enumerate(THINGS) for name in parts]
    expected = multitask.predictor(config, tmp_path / "model", 32)(texts)
    for name, tolerance in (("onnx-fp32", 1e-5), ("onnx-int8", 0.05)):
        run = onnx.load(tmp_path / name, 32, 1)
        assert sorted(run(texts)) == sorted(f"{part}.logits" for part in parts)
        made = multitask.exported(config, run)(texts)
        assert [row.keys() for row in made] == [row.keys() for row in expected]
        for row, right in zip(made, expected, strict=True):
            ((part, one),) = ((part, one) for part, one in row.items() if one is not None)
            assert one == pytest.approx(right[part], abs=tolerance)
    read = onnx_file.load(tmp_path / "onnx-fp32" / "model.onnx", load_external_data=False)
    embeddings = [one for one in read.graph.initializer if one.dims[:1] == [len(words)]]
    assert len(embeddings) == 1, "the body is there once"
