"""Earlier outputs are used again only where the model would be given the very same."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from ftcore.evaluation import predictions
from ftcore.models import outputs
from ftcore.serving import model as models
from ftcore.store import store
from ftcore.tracking.client import Version

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Product

ROW: dict[str, Any] = {
    "row_id": "r1", "text": "Who pays?", "context": "a system prompt", "label": "You.",
    "rejected": "Me.", "source": "a",
}  # fmt: skip
CHAT = {"exports": [], "task": {"kind": "chat"}, "gates": [{"kind": "threshold", "metric": "perplexity", "maximum": 9}]}


def rows(*made: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([ROW | one for one in made])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[outputs.Text]:
    """What a version is asked; it says how long each answer is."""
    seen: list[outputs.Text] = []

    def predict(texts: Any) -> np.ndarray:
        seen.extend(texts)
        return np.array([[len(one.answer or "")] * 3 for one in outputs.examples(texts)], np.float32)

    def load(*_: Any) -> models.Model:
        return models.Model(1, "torch", (), predict)

    monkeypatch.setattr(models, "load", load)
    return seen


@pytest.fixture
def predict(product: Product) -> Callable[..., list[list[float]]]:
    product.change(**CHAT)

    def run(some: pa.Table, earlier: pa.Table) -> list[list[float]]:
        made, _ = predictions.predict(product.context("evaluate"), None, Version(1, ""), some, earlier)  # type: ignore[arg-type]
        return made["torch"].to_pylist()

    return run


def earlier(product: Product, some: pa.Table) -> pa.Table:
    inputs = predictions.digests(predictions.given(product.recipe, some))
    made = outputs.column(np.array([[7, 7, 7]] * some.num_rows, np.float32))
    return pa.table({"row_id": some["row_id"], predictions.INPUT: inputs, "torch": made})


def test_a_likelihood_of_an_old_answer_is_not_one_of_the_corrected(
    product: Product, predict: Callable[..., list[list[float]]], asked: list[outputs.Text]
) -> None:
    before = rows({}, {"row_id": "r2"})
    now = rows({"label": "A wholly new, corrected answer"}, {"row_id": "r2"})
    assert predict(now, earlier(product, before)) == [[30, 30, 30], [7, 7, 7]]
    assert [one.answer for one in outputs.examples(asked)] == ["A wholly new, corrected answer"]


@pytest.mark.parametrize("column", ["text", "context", "label", "rejected"])
def test_every_column_that_is_given_counts(product: Product, column: str) -> None:
    product.change(**CHAT)

    def digest(some: pa.Table) -> str:
        return predictions.digests(predictions.given(product.recipe, some))[0]

    assert digest(rows({})) == digest(rows({}, {"row_id": "r2", "text": "other"})), "other rows make no difference"
    assert digest(rows({column: "changed"})) != digest(rows({}))


def test_a_label_that_is_to_be_guessed_is_not_given(product: Product) -> None:
    inputs = [predictions.digests(predictions.given(product.recipe, rows({"label": one}))) for one in ("a", "b")]
    assert inputs[0] == inputs[1]


def test_outputs_that_do_not_tell_what_was_given_are_not_used(
    product: Product, predict: Callable[..., list[list[float]]], asked: list[outputs.Text], tmp_path: Path
) -> None:
    """Evaluations of earlier versions have no digests; other settings, other files or a changed limit make others."""
    some, folder = rows({}), tmp_path / "evaluation"
    version = product.register("r1")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "ftcore.json").write_text('{"max_length_tokens": 32}')
    product.tracking.log_folder(version.run, tmp_path / "model", "model")

    def log(table: pa.Table, figures: dict[str, Any]) -> pa.Table:
        folder.mkdir(exist_ok=True)
        store.write_table(folder / "predictions.parquet", table)
        store.write_json(folder / "evaluation.json", figures)
        product.tracking.log_folder(version.run, folder, "evaluation")
        return predictions.known(product.tracking, version, product.recipe)

    told = earlier(product, some)
    settings = {predictions.SETTINGS: predictions.settings(product.tracking, version, product.recipe)}
    assert predict(some, log(told, settings)) == [[7, 7, 7]]
    assert not asked
    for table, figures in ((told.drop_columns([predictions.INPUT]), settings), (told, {})):
        assert predict(some, log(table, figures)) == [[4, 4, 4]]
    log(told, settings)
    product.change(task={"kind": "chat", "system": "Answer in rhymes."})
    assert predict(some, predictions.known(product.tracking, version, product.recipe)) == [[4, 4, 4]]
    product.change(**CHAT)
    assert predict(some, predictions.known(product.tracking, version, product.recipe)) == [[7, 7, 7]]
    (tmp_path / "model" / "ftcore.json").write_text('{"max_length_tokens": 64}')
    product.tracking.log_folder(version.run, tmp_path / "model", "model")
    assert predict(some, predictions.known(product.tracking, version, product.recipe)) == [[4, 4, 4]]
