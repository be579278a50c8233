"""A registered version as something that predicts, in each of its forms."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ftcore.errors import ExportError, FtcoreError
from ftcore.models.outputs import Example
from ftcore.serving import model as models
from ftcore.store import store
from ftcore.tasks.multitask import Multitask
from ftcore.tasks.qa import QuestionAnswering
from tests.models import small

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Product

    from ftcore.tracking.client import Version

TEXTS = [f"{'good' if number % 3 else 'bad'} film {'story ' * (number % 7)}" for number in range(70)]


def test_flavours_are_the_exports_and_torch(product: Product) -> None:
    assert models.flavours(product.recipe) == ["onnx-int8", "onnx-fp32", "torch"]
    product.change(exports=[{"kind": "onnx", "precisions": ["fp32"]}])
    assert models.flavours(product.recipe) == ["onnx-fp32", "torch"]


def test_every_flavour_predicts_alike(product: Product, tiny: Path) -> None:
    version = product.crown("first", folders=[tiny / name for name in ("model", "onnx-int8", "onnx-fp32")])
    found = {f: models.load(product.recipe, product.tracking, version, f) for f in models.flavours(product.recipe)}
    probabilities = {flavour: model.outputs(TEXTS) for flavour, model in found.items()}
    for flavour, tolerance in {"onnx-fp32": 1e-5, "onnx-int8": 0.1}.items():
        assert probabilities[flavour] == pytest.approx(probabilities["torch"], abs=tolerance)
    assert found["torch"].labels == ("negative", "positive")
    assert probabilities["torch"].sum(-1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)


def test_batches_give_every_text_its_own_answer_in_order() -> None:
    sizes: list[int] = []

    def predict(texts: list[str]) -> np.ndarray:
        sizes.append(len(texts))
        return np.array([[len(text), 0] for text in texts], np.float32)

    done: list[int] = []
    found = models.Model(1, "x", ("a", "b"), predict).outputs(TEXTS, done.append)
    assert found[:, 0].tolist() == [len(text) for text in TEXTS]
    assert sizes == done == [32, 32, 6]
    assert models.Model(1, "x", ("a", "b"), predict).outputs([]) == []


def test_a_version_of_another_task_is_refused(product: Product, tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "onnx-int8"
    shutil.copytree(tiny / "onnx-int8", folder)
    store.write_json(folder / "ftcore.json", {"task": {"kind": "chat"}})
    version = product.crown("first", folders=[folder])
    with pytest.raises(ExportError, match=f"version 1 of {product.name} was not made for the task classification"):
        models.load(product.recipe, product.tracking, version, "onnx-int8")


def test_a_form_that_was_not_made_is_named(product: Product, tiny: Path) -> None:
    version = product.crown("first", folders=[tiny / "onnx-int8"])
    with pytest.raises(FtcoreError, match="has no artefact 'onnx-fp32'"):
        models.load(product.recipe, product.tracking, version, "onnx-fp32")


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decoder") / "model"
    small("llama", folder)
    return folder


CHAT = {"exports": [], "gates": [{"kind": "threshold", "metric": "perplexity", "maximum": 9}]}


def likelihood(product: Product, version: Version, context: str | None = None) -> list[float]:
    model = models.load(product.recipe, product.tracking, version, "torch")
    return model.outputs([Example("what is the car ?", context, "red")])[0].tolist()  # type: ignore[no-any-return]


def test_a_champion_is_asked_with_the_settings_that_it_was_trained_with(product: Product, decoder: Path) -> None:
    product.change(task={"kind": "chat", "system": "the lamp is green"}, **CHAT)
    card = {"task": product.recipe.task.model_dump(mode="json"), "max_length_tokens": 48, "recipe": product.name}
    store.write_json(decoder / "ftcore.json", card)
    version = product.crown("first", folders=[decoder])
    own = likelihood(product, version)
    product.change(task={"kind": "chat", "system": "a boat and a house"}, **CHAT)
    assert likelihood(product, version) == pytest.approx(own)
    assert own == pytest.approx(likelihood(product, version, "the lamp is green"))
    assert own != pytest.approx(likelihood(product, version, "a boat and a house"))
    product.change(task={"kind": "chat", "judge_by": "answers", "answer_tokens": 3}, **CHAT)
    model = models.load(product.recipe, product.tracking, version, "torch")
    (answer,) = model.outputs([Example("what is the car ?", None, "red")])
    assert isinstance(answer, str), "how it is judged is the recipe's"
    assert len(answer.split()) <= 3


def test_only_how_models_are_judged_is_the_recipes() -> None:
    pair = {"kind": "seq2seq", "sources": ["a"], "prefix": "old: ", "answer_tokens": 8}
    other = pair | {"sources": ["b"]}
    made_for = Multitask.model_validate({"kind": "multitask", "parts": {"one": pair, "two": other}})
    changed = pair | {"prefix": "new: ", "answer_tokens": 9, "sources": ["c"]}
    task = Multitask.model_validate({"kind": "multitask", "parts": {"one": changed, "two": other}})
    found = models.asked_by(task, made_for).parts["one"]
    assert (found.prefix, found.answer_tokens, found.sources) == ("old: ", 9, ("c",))
    one, two = QuestionAnswering(stride_tokens=8, answer_tokens=4), QuestionAnswering(stride_tokens=16, answer_tokens=5)
    assert models.asked_by(one, two) == QuestionAnswering(stride_tokens=16, answer_tokens=4)
