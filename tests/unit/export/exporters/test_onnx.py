"""Exports of a tiny model, opened by real ONNX Runtime, do what the model does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx as onnx_file
import pytest
from pydantic import ValidationError

from ftcore.errors import ExportError, ParityError
from ftcore.export.exporters import _parity, onnx
from ftcore.models import base, loading
from ftcore.models.outputs import Example, Sample
from ftcore.recipe.kinds import kind_class
from ftcore.tasks.classification import Classification
from ftcore.tasks.multitask import Multitask
from tests.models import THINGS, VOCABULARY, small

TEXTS = ["good", "the film is bad", "a great story, and a bright end to it", "1 2 3 4 5 6 7 8 9", ""]
TASK = Classification(labels=("negative", "positive"))


def test_names_say_which_one_serves() -> None:
    assert onnx.Onnx().names() == ["onnx-int8", "onnx-fp32"]
    assert onnx.Onnx(precisions=("fp32",)).names() == ["onnx-fp32"]
    with pytest.raises(ValidationError):
        onnx.Onnx(precisions=())


@pytest.mark.parametrize(("name", "tolerance"), [("onnx-fp32", 1e-5), ("onnx-int8", 0.1)])
def test_an_export_agrees_with_the_model(tiny: Path, name: str, tolerance: float) -> None:
    expected = TASK.predictor(tiny / "model", 32)(TEXTS)
    logits = onnx.Onnx.load(tiny / name, 32, 1)(TEXTS)["logits"]
    assert logits.shape == (len(TEXTS), 2)
    assert expected.std(0).min() > 0.05, "a model that says the same of all texts would prove nothing"
    assert TASK.outputs(logits) == pytest.approx(expected, abs=tolerance)


def test_a_text_does_not_depend_on_what_shares_its_batch(tiny: Path) -> None:
    run = onnx.Onnx.load(tiny / "onnx-fp32", 32, 1)
    together = run(TEXTS)["logits"]
    assert together == pytest.approx(np.concatenate([run([text])["logits"] for text in TEXTS]), abs=1e-4)


def test_int8_does_not_depend_on_the_batch_either(tiny: Path) -> None:
    run = onnx.Onnx.load(tiny / "onnx-int8", 32, 1)
    alone = np.concatenate([run([text])["logits"] for text in TEXTS])
    for order in (range(5), (4, 2, 0, 3, 1), (2, 0), (0, 4)):
        assert run([TEXTS[n] for n in order])["logits"] == pytest.approx(alone[list(order)], abs=1e-5)


def test_long_texts_are_cut(tiny: Path) -> None:
    run = onnx.Onnx.load(tiny / "onnx-fp32", 8, 1)
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
        onnx.Onnx.load(tmp_path, 32, 1)


def test_what_cannot_be_translated_is_an_export_error(tmp_path: Path, tiny: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(tiny / "model").eval()

    class Branching(torch.nn.Module):
        def forward(self, hidden: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
            return hidden if hidden.sum().item() > 0 else -hidden

    model.bert.embeddings.LayerNorm = Branching()
    with pytest.raises(ExportError, match="BertForSequenceClassification cannot be exported to ONNX"):
        onnx.Onnx().export(model, AutoTokenizer.from_pretrained(tiny / "model"), tmp_path)


@pytest.mark.parametrize("kind", [kind for kind in onnx.Onnx.TASKS if kind != "classification"])
def test_every_task_that_it_names_agrees_with_torch(kind: str, tmp_path: Path) -> None:
    task = kind_class("tasks", kind)
    config = task.model_validate(task.EXAMPLE)
    small("bert", tmp_path)
    model, words = config.load(tmp_path).eval(), loading.tokenizer(tmp_path)
    model.save_pretrained(tmp_path / "model")
    words.save_pretrained(tmp_path / "model")
    onnx.Onnx(precisions=("fp32",)).export(model, words, tmp_path)
    texts = ["the red door", Example("what is red ?", "the green car is a boat .")]
    expected = config.predictor(tmp_path / "model", 32)(texts)
    made = config.outputs(onnx.Onnx.load(tmp_path / "onnx-fp32", 32, 1)(texts)["logits"])
    assert made == pytest.approx(expected, abs=1e-5)


def test_parts_share_one_graph_and_rows_of_all_of_them_a_batch(tmp_path: Path) -> None:
    examples = {kind: kind_class("tasks", kind).EXAMPLE | {"sources": [f"files:{kind}"]} for kind in onnx.Onnx.TASKS}
    parts = {"input_ids": examples.pop("classification"), **examples}  # a name that the graph has of its own, too
    config = Multitask.model_validate({"kind": "multitask", "parts": parts})
    small("bert", tmp_path / "base")
    words = loading.tokenizer(tmp_path / "base")
    base.write_model(config.load(tmp_path / "base"), words, tmp_path / "model")
    onnx.Onnx().export(config.exportable(tmp_path / "model").eval(), words, tmp_path)
    texts = [Example(f"the {thing} is {'red ' * n}", source=name) for n, thing in enumerate(THINGS) for name in parts]
    expected = config.predictor(tmp_path / "model", 32)(texts)
    for name, tolerance in (("onnx-fp32", 1e-5), ("onnx-int8", 0.05)):
        run = onnx.Onnx.load(tmp_path / name, 32, 1)
        assert sorted(run(texts)) == sorted(f"{part}.logits" for part in parts)
        made = config.exported(run)(texts)
        assert [row.keys() for row in made] == [row.keys() for row in expected]
        for row, right in zip(made, expected, strict=True):
            ((part, one),) = ((part, one) for part, one in row.items() if one is not None)
            assert one == pytest.approx(right[part], abs=tolerance)
    read = onnx_file.load(tmp_path / "onnx-fp32" / "model.onnx", load_external_data=False)
    embeddings = [one for one in read.graph.initializer if one.dims[:1] == [len(words)]]
    assert len(embeddings) == 1, "the body is there once"


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A classifier over a decoder nobody trained, whose tokenizer pads with its fourth token, on the left; texts."""
    import torch
    from transformers import GPT2Config, GPT2Model

    folder = tmp_path_factory.mktemp(request.param)
    small("llama", folder / "base")
    if request.param == "gpt2":  # whose positions are absolute
        torch.manual_seed(3)
        size = {"vocab_size": len(VOCABULARY), "n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 64}
        GPT2Model(GPT2Config(**size, bos_token_id=2, eos_token_id=3)).save_pretrained(folder / "base")
    words = loading.tokenizer(folder / "base")
    words.pad_token, words.padding_side = VOCABULARY[3], "left"
    model = TASK.load(folder / "base").eval()
    model.config.pad_token_id = 0  # of the base, which knows no better
    base.write_model(model, words, folder / "model")
    onnx.Onnx().export(model, words, folder)
    last = f"the car {VOCABULARY[3]} is red {VOCABULARY[3]}"  # a text may hold the token that pads
    return folder, ["red", "the green car is a boat and a lamp . " * 3, "the door is white", last, VOCABULARY[3], ""]


@pytest.mark.parametrize("flavour", ["torch", "onnx-fp32", "onnx-int8"])
def test_a_classifier_over_a_decoder_reads_the_same_token_alone_and_in_company(
    decoder: tuple[Path, list[str]], flavour: str
) -> None:
    folder, texts = decoder
    right = TASK.predictor(folder / "model", 32)
    alone = np.concatenate([right([text]) for text in texts])
    if flavour == "torch":
        run = right
    else:
        logits = onnx.Onnx.load(folder / flavour, 32, 1)
        run = lambda some: TASK.outputs(logits(some)["logits"])  # noqa: E731
    if flavour != "onnx-int8":
        assert np.concatenate([run([text]) for text in texts]) == pytest.approx(alone, abs=1e-4)
        assert alone.std(0).min() > 1e-3
    by_itself = np.concatenate([run([text]) for text in texts])
    for order in (range(6), (5, 4, 3, 2, 1, 0), (0, 1), (5, 4), (5, 1)):
        assert run([texts[n] for n in order]) == pytest.approx(by_itself[list(order)], abs=1e-5)


def test_the_exported_tokenizer_pads_as_the_models_own(decoder: tuple[Path, list[str]]) -> None:
    from tokenizers import Tokenizer

    padding = Tokenizer.from_file(str(decoder[0] / "onnx-fp32" / "tokenizer.json")).padding
    assert (padding["pad_id"], padding["pad_token"], padding["direction"]) == (3, VOCABULARY[3], "right")


def test_an_export_whose_rows_depend_on_the_batch_is_refused(tiny: Path) -> None:
    """Padding with another token, as before: of a graph that reads it each row but the longest is another's."""
    run = onnx.Onnx.load(tiny / "onnx-fp32", 32, 1)

    def leaking(texts: list[str]) -> dict[str, np.ndarray]:
        made = run(texts)["logits"]
        return {"logits": made + 0.01 * (np.array([len(text) for text in texts]) < max(map(len, texts)))[:, None]}

    sample = _parity.mixed(Sample(TEXTS, [f"row {number}" for number in range(5)], 32))
    _parity.prove("onnx-fp32", run, run, sample, exact=True)
    with pytest.raises(
        ParityError, match=r"x in a batch of mixed lengths, and alone differ on 4 of 5 rows.*row 0 \(0\.0"
    ):
        _parity.prove("x", leaking, run, sample, exact=False)
    with pytest.raises(ParityError, match="torch in a batch of mixed lengths"):
        _parity.prove("x", run, leaking, sample, exact=True)
    with pytest.raises(ParityError, match=r"x and torch, each row alone, differ on 5 of 5"):
        _parity.prove("x", lambda texts: {"logits": run(texts)["logits"] + 0.1}, run, sample, exact=True)


def test_a_proof_takes_rows_of_all_lengths() -> None:
    sample = _parity.mixed(Sample(["x" * length for length in range(1, 200)], [str(n) for n in range(199)]))
    lengths = [len(text) for text in sample.texts]
    assert len(lengths) == _parity.ROWS
    assert (min(lengths), max(lengths)) == (1, 199)
    assert [int(row) + 1 for row in sample.row_ids] == lengths
