"""The train step: what a run leaves in MLflow, what is refused, and that it goes on where it was stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ftcore.errors import DataRejectedError, MissingExtraError, TrainingError
from ftcore.registry import served
from ftcore.steps import train
from ftcore.store.store import hash_file
from ftcore.tracking import training_run
from tests.conftest import Product

TRAIN = {"epochs": 1, "max_length_tokens": 32, "batch_size": 8, "evaluations_per_epoch": 1, "precision": "fp32"}


@pytest.fixture
def ready(product: Product, tiny: Path) -> Callable[..., Product]:
    """A product with a published snapshot and a plan, whose base model is tiny."""

    def make(rows: int = 160, **changes: Any) -> Product:
        recipe = {"base": str(tiny / "model"), "method": {"kind": "lora", "rank": 2}, "train": TRAIN}
        product.change(**{**recipe, **changes})
        product.publish(range(rows))
        product.run("plan")
        return product

    return make


def test_a_run_in_mlflow_says_all_about_a_training(
    ready: Callable[..., Product], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_run, "SAMPLE_S", 0.05)
    product = ready()
    record = product.run("train")
    client, run = product.tracking.client, record.figures["mlflow_run"]
    found = client.get_run(run)
    steps = record.figures["steps"]
    for name in ("loss", "learning_rate", "grad_norm", "tokens_per_s"):
        assert [m.step for m in client.get_metric_history(run, name)][:steps] == list(range(1, steps + 1)), name
    assert "eval_loss" in found.data.metrics
    assert found.data.params["train.seed"] == "17"
    assert found.data.tags["env.torch"]
    assert found.data.tags["ftcore.snapshot"] == record.inputs["snapshot"]
    assert [entry.dataset.digest for entry in found.inputs.dataset_inputs] == [record.inputs["snapshot"]]
    logged = yaml.safe_load(product.tracking.artifact(run, "recipe.yaml", tmp_path).read_text(encoding="utf-8"))
    assert logged == product.recipe.resolved()
    assert any(name.startswith("system/") for name in found.data.metrics)


def test_the_model_loads_with_mlflow_and_answers_raw_text(ready: Callable[..., Product]) -> None:
    import mlflow
    import pandas as pd

    from ftcore.serving import model as models

    product = ready()
    product.run("train")
    version = product.tracking.versions()[0]
    folder = served.folder(product.tracking, version, "model")
    assert not [path for path in folder.rglob("*") if path.suffix in {".pkl", ".bin", ".pt", ".pickle"}]
    loaded = mlflow.pyfunc.load_model(str(folder))
    texts = ["a good film", "a bad plot was dull"]
    answers = loaded.predict(pd.DataFrame({"text": texts}))
    expected = models.load(product.recipe, product.tracking, version, "torch").predict(texts)
    assert answers["score"].tolist() == pytest.approx(expected.max(-1).tolist())
    assert [str(column) for column in loaded.metadata.signature.inputs.input_names()] == ["text", "context"]
    assert loaded.input_example["text"].tolist()[0]


def test_the_same_seed_gives_the_same_weights(ready: Callable[..., Product]) -> None:
    product = ready()
    digests = []
    for run in ("r1", "r2"):
        product.run("plan", run, train="always")
        product.run("train", run)
        digests.append(
            hash_file(served.folder(product.tracking, product.tracking.versions()[0], "model") / "model.safetensors")
        )
    assert len(product.tracking.versions()) == 2
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"base": "package://nowhere/model"}, MissingExtraError, "is not installed"),
        ({"train": {**TRAIN, "max_length_tokens": 65}}, TrainingError, "the base model reads 64 tokens at most"),
        ({"train": {**TRAIN, "max_length_tokens": 8}}, DataRejectedError, "are longer than 8 tokens, 20% may be"),
        ({"task": {"kind": "classification", "labels": ["negative", "mixed"]}}, DataRejectedError, "'positive'"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    ready: Callable[..., Product], changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        ready(**changes).run("train")


def test_a_base_model_with_code_of_its_own_is_refused(
    ready: Callable[..., Product], tiny: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "odd"
    shutil.copytree(tiny / "model", odd)
    config = json.loads((odd / "config.json").read_text(encoding="utf-8"))
    config |= {"model_type": "surely_none", "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}}
    (odd / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(TrainingError, match=r"cannot be loaded[\s\S]*code"):
        ready(base=str(odd)).run("train")


def test_a_tokenizer_without_padding_is_refused_or_pads_with_its_end(
    ready: Callable[..., Product], tiny: Path, tmp_path: Path
) -> None:
    from transformers import BertTokenizerFast

    from ftcore.models import loading

    bare = tmp_path / "bare"
    shutil.copytree(tiny / "model", bare)
    tokenizer = BertTokenizerFast.from_pretrained(bare)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(bare)
    with pytest.raises(TrainingError, match="no token for padding and none for the end"):
        ready(base=str(bare)).run("train")
    tokenizer.eos_token = "[SEP]"
    tokenizer.save_pretrained(bare)
    assert loading.tokenizer(bare).pad_token == "[SEP]"


def test_a_tokenizer_of_another_model_is_refused(ready: Callable[..., Product], tiny: Path, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModel

    shutil.copytree(tiny / "model", tmp_path / "mixed")
    few = AutoConfig.from_pretrained(tiny / "model", vocab_size=8)
    AutoModel.from_config(few).save_pretrained(tmp_path / "mixed")
    product = ready(base=str(tmp_path / "mixed"))
    with pytest.raises(TrainingError, match=r"gives token \d+, and the model next to it has 8"):
        product.run("train")


def test_a_training_that_made_nothing_better_says_so() -> None:
    assert train._told({"validation_loss": 0.3, "validation_loss_before": 0.7}) == "validation loss 0.300"
    assert "no better than the 0.700 before" in train._told({"validation_loss": 24.0, "validation_loss_before": 0.7})
