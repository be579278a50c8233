"""Exports of a tiny model, opened by real ONNX Runtime, do what the model does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from ftcore._find import find
from ftcore.errors import ExportError
from ftcore.exporters import onnx
from ftcore.outputs import Example
from ftcore.tasks import classification
from ftcore.training import loading
from tests.unit.tasks._small import small

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
    logits = onnx.load(tiny / name, 32, 1)(TEXTS)
    assert logits.shape == (len(TEXTS), 2)
    assert expected.std(0).min() > 0.05, "a model that says the same of all texts would prove nothing"
    assert classification.outputs(TASK, logits) == pytest.approx(expected, abs=tolerance)


def test_a_text_does_not_depend_on_what_shares_its_batch(tiny: Path) -> None:
    logits = onnx.load(tiny / "onnx-fp32", 32, 1)
    together = logits(TEXTS)
    assert together == pytest.approx(np.concatenate([logits([text]) for text in TEXTS]), abs=1e-4)


def test_long_texts_are_cut(tiny: Path) -> None:
    logits = onnx.load(tiny / "onnx-fp32", 8, 1)
    assert logits(["good " * 500]) == pytest.approx(logits(["good " * 6]), abs=1e-6)


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
    made = task.outputs(config, onnx.load(tmp_path / "onnx-fp32", 32, 1)(texts))
    assert made == pytest.approx(expected, abs=1e-5)
