"""What MLflow loads by ``models:/R@champion`` is the form that was judged and serves, with MLflow's own errors."""

from __future__ import annotations

import csv
import py_compile
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ftcore.errors import ChangedArtefactError
from ftcore.models import input_example
from ftcore.recipe import kinds
from ftcore.registry import artefacts, served
from ftcore.serving import model as models
from ftcore.serving import scoring
from ftcore.tracking.client import CHAMPION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Product

TRAIN = {"epochs": 1, "max_length_tokens": 32, "batch_size": 8, "evaluations_per_epoch": 1, "precision": "fp32"}
TEXTS = [
    "a good film",
    "a bad plot was dull",
    "the end of <b>story</b>",
    "write to jane@example.com",
    "🎬 film",
    "x" * 500,
]


@pytest.fixture
def champion(product: Product, tiny: Path) -> Iterator[Product]:
    """A tiny model that was trained, exported and made champion."""
    from mlflow import get_tracking_uri, set_registry_uri, set_tracking_uri

    before = get_tracking_uri()
    set_tracking_uri(product.settings.mlflow_uri)
    set_registry_uri(product.settings.mlflow_uri)
    product.change(base=str(tiny / "model"), method={"kind": "lora", "rank": 2}, train=TRAIN)
    product.publish(range(120))
    for step in ("plan", "train", "export"):
        product.run(step)
    version = product.tracking.versions()[0]
    product.tracking.set_alias(CHAMPION, version)
    product.promise(version)
    yield product
    set_tracking_uri(before)
    set_registry_uri("")  # that of the tracking server again


def test_the_champion_by_mlflow_is_what_scores(champion: Product, tmp_path: Path) -> None:
    _same_answers(champion, tmp_path)
    _no_row_is_shown(champion)
    _bad_input_is_mlflows_own_error(champion)
    _no_code_beside_the_weights_runs(champion, tmp_path)


def _no_code_beside_the_weights_runs(champion: Product, tmp_path: Path) -> None:
    """Last, since the artefact is changed: compiled code beside the weights ran when MLflow loaded them."""
    import mlflow

    version = champion.tracking.versions()[0]
    place = Path(champion.tracking.stored(version.run).artifact_dir) / "onnx-int8"
    assert not [*place.rglob("*.py"), *place.rglob("__pycache__")], "MLflow left none when it loaded the model before"
    assert artefacts.check(champion.tracking, version, ["onnx-int8"], champion.shelf) == artefacts.Checked(
        read=("onnx-int8",)
    )
    source, ran = tmp_path / "evil.py", tmp_path / "ran"
    source.write_text(f"open({str(ran)!r}, 'w')", encoding="utf-8")
    for name in ("tracking_pyfunc", "ftcore", "model"):
        cache = place / "__pycache__" / f"{name}.{sys.implementation.cache_tag}.pyc"
        py_compile.compile(
            str(source), str(cache), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH, doraise=True
        )
    mlflow.pyfunc.load_model(f"models:/{champion.name}@champion")
    assert not ran.exists()
    found = artefacts.check(champion.tracking, version, ["onnx-int8"], champion.shelf)
    assert "in its artefact 'onnx-int8', and" in found.serving[0]
    shutil.rmtree(champion.settings.cache)
    with pytest.raises(ChangedArtefactError, match="onnx-int8"):
        served.folder(champion.tracking, version, "onnx-int8")


def _same_answers(champion: Product, tmp_path: Path) -> None:
    import mlflow
    import pandas as pd

    loaded = mlflow.pyfunc.load_model(f"models:/{champion.name}@champion")
    assert {"python_function", "onnx"} == set(loaded.metadata.flavors)
    texts = TEXTS
    with (tmp_path / "asked.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text",), *((text,) for text in texts)])
    table = scoring.score(champion.recipe, champion.shelf, champion.settings, tmp_path / "asked.csv")
    found = loaded.predict(pd.DataFrame({"text": texts}))
    assert found["answer"].tolist() == [label or "" for label in table["label"].to_pylist()]
    assert found["score"].tolist() == pytest.approx(table["score"].to_pylist(), rel=1e-6)
    version = served.champion(champion.shelf, champion.tracking)
    assert version is not None
    served_by = models.load(champion.recipe, champion.tracking, version, "onnx-int8")
    torch = models.load(champion.recipe, champion.tracking, version, "torch")
    both = [model.predict(texts) for model in (served_by, torch)]
    assert found["score"].tolist() == pytest.approx(both[0].max(-1).tolist(), abs=0.02)
    assert not (both[0] == both[1]).all(), "otherwise nothing tells the export from torch"

    graph = mlflow.onnx.load_model(f"models:/{champion.name}@champion")
    assert {node.name for node in graph.graph.input} >= {"input_ids", "attention_mask"}
    pipe = mlflow.transformers.load_model(f"runs:/{version.run}/model")
    assert pipe("a good film")[0]["label"] in ("negative", "positive")


def _no_row_is_shown(champion: Product) -> None:
    version = champion.tracking.versions()[0]
    rows = {row["text"] for row in champion.rows(range(120)).to_pylist()}
    for artefact in ("model", "onnx-int8", "onnx-fp32"):
        place = served.folder(champion.tracking, version, artefact)
        for file in place.rglob("*.json"):
            text = file.read_text(encoding="utf-8")
            if file.name != "tokenizer.json":
                assert not [row for row in rows if row in text], file
        assert "You have won a prize." in (place / "input_example.json").read_text(encoding="utf-8")


BAD: dict[str, Any] = {
    "no column text": {"txt": ["a"]},
    "None": {"text": ["a good film", None]},
    "NaN": {"text": ["a good film", float("nan")]},
    "a number": {"text": [3]},
    "a number among texts": {"text": ["a good film", 3]},
    "bytes": {"text": [b"a good film"]},
    "a list": {"text": [["a good film"]]},
    "a mapping": {"text": [{"text": "a good film"}]},
    "a flag": {"text": [True]},
    "an odd context": {"text": ["a good film"], "context": [7]},
    "an odd context among good ones": {"text": ["a good film", "b"], "context": ["x", ["y"]]},
}


def _bad_input_is_mlflows_own_error(champion: Product) -> None:
    import mlflow
    import pandas as pd
    from mlflow.exceptions import MlflowException

    loaded = mlflow.pyfunc.load_model(f"models:/{champion.name}@champion")
    for name, columns in BAD.items():
        with pytest.raises(MlflowException, match=r"(?i)schema|missing inputs|incompatible input") as error:
            loaded.predict(pd.DataFrame(columns))
        assert error.value.error_code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INTERNAL_ERROR"), name
    assert len(loaded.predict(pd.DataFrame({"text": pd.Series([], dtype=str)}))) == 0
    good = loaded.predict(pd.DataFrame({"text": ["a good film"], "context": [None]}))
    assert good["answer"][0] in ("negative", "positive")


@pytest.mark.parametrize("kind", kinds.kinds("tasks"))
def test_the_example_of_every_task_is_one_that_it_takes(kind: str) -> None:
    from ftcore.serving import cleaned

    task = kinds.kind_class("tasks", kind).model_validate(kinds.kind_class("tasks", kind).EXAMPLE)
    made = input_example.example(task)
    assert all(isinstance(value, str) for value in made.values())
    card = {"recipe": "r", "task": task.model_dump(mode="json"), "personal_data": {"entities": {}}}
    _, refused = cleaned.examples(card, [made])
    assert refused == {}
