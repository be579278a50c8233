"""The train step with preferences: a reward model is registered, and another recipe's rewards name it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftcore.data import snapshot
from ftcore.errors import DataRejectedError, TrainingError
from ftcore.models.outputs import Example
from ftcore.registry import served
from ftcore.serving import model as models
from tests.conftest import Product
from tests.models import COLOURS, THINGS, small

TRAIN = {
    "epochs": 8, "max_length_tokens": 56, "batch_size": 8, "evaluations_per_epoch": 1, "precision": "fp32",
    "learning_rate": 1e-2, "max_truncated": 1, "warmup": 0,
}  # fmt: skip
ADAPTER = {"rank": 4, "alpha": 8, "dropout": 0}


@pytest.fixture
def planned(new_product: Callable[[], Product], tmp_path: Path) -> Callable[..., Product]:
    """A product with a plan and 24 rows, of which the good answer is a colour and the worse one a thing."""
    small("llama", tmp_path / "llama")

    def make(paired: bool = True, **changes: Any) -> Product:
        import pyarrow as pa

        product = new_product()
        source = {"kind": "files", "path": str(tmp_path / "rows.jsonl"), "rejected": "worse"}
        gates = [{"kind": "threshold", "metric": changes.pop("metric"), "minimum": 0}]
        product.change(base=str(tmp_path / "llama"), train=TRAIN, sources=[source], gates=gates, exports=[], **changes)
        every = [(colour, thing) for colour in COLOURS for thing in THINGS]
        made = [
            {
                "row_id": snapshot.row_id("test", f"{n}"),
                "text": f"what colour is the {thing} ?",
                "label": f"a {colour}",
                "rejected": f"a {thing}" if paired else None,
                "source": "test",
                "split": ("validation", "test")[n % 2] if n % 6 < 2 else "train",
            }
            for n, (colour, thing) in enumerate(every)
        ]
        rows = pa.Table.from_pylist(made, schema=snapshot.schema(split=True))
        quarantine = snapshot.schema().append(rows.schema.field("split").with_name("reason")).empty_table()
        snapshot.publish(product.shelf, lambda: [rows], quarantine, {"rows": rows.num_rows})
        product.run("plan")
        return product

    return make


def test_a_reward_model_is_registered_and_rewards_what_another_model_says(planned: Callable[..., Product]) -> None:
    taste = planned(metric="preferred", task={"kind": "preference"}, method={"kind": "reward", "adapter": ADAPTER})
    record = taste.run("train")
    assert record.figures["preferred_after"] >= 0.75
    assert record.figures["validation_loss"] < record.figures["validation_loss_before"]
    version = taste.tracking.versions()[0]
    folder = served.folder(taste.tracking, version, "model")
    assert not [path for path in folder.rglob("*") if path.suffix in {".pkl", ".bin", ".pt", ".pickle"}]
    predict = models.load(taste.recipe, taste.tracking, version, "torch").predict
    scores = np.asarray(predict([Example("what colour is the boat ?", None, "a blue", "a boat")]))
    assert scores[0, 0] > scores[0, 1]
    curve = {metric.step for metric in taste.tracking.client.get_metric_history(record.figures["mlflow_run"], "margin")}
    assert len(curve) == record.figures["steps"]

    taste_weights = int(record.figures["weights"]) - int(record.figures["trainable_weights"])
    reward = {"kind": "registered", "model": f"models:/{taste.name}@candidate"}
    method = {"kind": "ppo", "rewards": [reward], "answer_tokens": 4, "adapter": ADAPTER, "minibatch": 8}
    speaker = planned(metric="perplexity", task={"kind": "chat"}, method=method)
    record = speaker.run("train")
    assert record.reason.startswith("trained version 1 on")
    assert "mean reward" in record.reason
    run = speaker.tracking.client.get_run(record.figures["mlflow_run"])
    assert {"reward", "kl", "clipped", "value_loss"} <= run.data.metrics.keys()
    ratios = record.figures["actual_vs_estimated"]
    assert {"hours", "memory", "tokens_drawn"} <= ratios.keys()
    assert 0 < ratios["tokens_drawn"] <= 1.01, "an answer may end before its longest"
    planned = speaker.context("plan").earlier("plan").figures["estimate"]
    assert planned["memory_bytes"]["other_models"] == 4 * taste_weights
    assert "ftcore.actual_vs_estimated" in speaker.tracking.versions()[0].tags


def test_a_reward_from_a_model_that_is_not_there_or_gives_no_score_is_refused(planned: Callable[..., Product]) -> None:
    other = planned(metric="perplexity", task={"kind": "chat"}, method={"kind": "dpo", "adapter": ADAPTER})
    other.run("train")
    reward = {"kind": "registered", "model": f"models:/{other.name}@candidate"}
    method = {"kind": "grpo", "rewards": [reward], "answer_tokens": 4, "generations": 2}
    speaker = planned(metric="perplexity", task={"kind": "chat"}, method=method)
    with pytest.raises(TrainingError, match="is a model for chat, and gives no score"):
        speaker.run("train")


def test_rows_without_a_worse_answer_are_refused_before_training(planned: Callable[..., Product]) -> None:
    product = planned(paired=False, metric="perplexity", task={"kind": "chat"}, method={"kind": "dpo"})
    with pytest.raises(DataRejectedError, match="has a rejected answer to learn from"):
        product.run("train")
