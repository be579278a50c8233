"""Few-shot: which rows and pairs it takes, and that pairs and head teach a real model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch

from ftcore.errors import TrainingError
from ftcore.training.methods import few_shot
from ftcore.training.strategies.ddp import Ddp
from tests import jobs

if TYPE_CHECKING:
    from ftcore.training.job import Job
    from tests.conftest import Product


def test_pairs_are_half_alike_and_never_repeat() -> None:
    labels = [0, 0, 0, 1, 1, 1, 1]
    found = few_shot.pairs(labels, 1000, 3)
    alike = sum(labels[one] == labels[other] for one, other in found)
    assert alike * 2 == len(found) == 2 * min(3 + 6, 12)
    assert len(set(found)) == len(found)
    assert few_shot.pairs(labels, 6, 3) == few_shot.pairs(labels, 6, 3)
    assert len(few_shot.pairs(labels, 6, 3)) == 6
    assert few_shot.pairs(labels, 6, 3) != few_shot.pairs(labels, 6, 4)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1], [0]])
def test_one_label_or_single_rows_make_no_pairs(labels: list[int]) -> None:
    with pytest.raises(TrainingError, match="needs two labels, and two rows of one"):
        few_shot.pairs(labels, 100, 1)


def test_the_same_rows_of_each_label_are_taken_each_time(product: Product) -> None:
    config = few_shot.FewShot(rows_per_label=5)
    table = product.rows(range(60))
    taken = config.rows(product.context("train"), table)
    assert Counter(taken["label"].to_pylist()) == {"negative": 5, "positive": 5}
    assert config.rows(product.context("train"), table).equals(taken)
    backwards = table.take(list(range(table.num_rows))[::-1])
    again = config.rows(product.context("train"), backwards)
    assert set(again["row_id"].to_pylist()) == set(taken["row_id"].to_pylist())


def test_it_learns_from_pairs_what_the_head_then_reads(training_job: Callable[..., Job]) -> None:
    job = training_job()
    config = few_shot.FewShot(pairs=1000, learning_rate=1e-2)
    config.apply(job.trained.model, job.trained.tokenizer)
    before = {name: p.detach().clone() for name, p in job.trained.model.named_parameters()}
    curve: list[Any] = []
    figures = config.fit(jobs.changed(job, track=curve.extend), Ddp())
    assert figures["steps"] == len(curve) == 63
    losses = [point.metrics["loss"] for point in curve]
    assert sum(losses[-4:]) < 0.7 * sum(losses[:4])
    assert figures["validation_loss"] < 0.3
    assert any(
        not torch.equal(p, before[name]) for name, p in job.trained.model.named_parameters() if "encoder" in name
    )
    job.trained.model.eval()
    batch = job.data.collate([job.data.rows["validation"][n] for n in range(16)])
    labels = batch.pop("labels")
    with torch.inference_mode():
        assert (job.trained.model(**batch).logits.argmax(-1) == labels).all()


def test_a_label_that_no_row_has_is_next_to_impossible() -> None:
    import numpy as np
    import torch

    vectors = np.array([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.1]])
    for labels in ([0, 0, 2, 2], [0, 1, 3, 3]):
        head = torch.nn.Linear(2, 4)
        few_shot._fit_head(head, vectors, labels)
        shares = head(torch.tensor(vectors, dtype=torch.float32)).softmax(-1).detach().numpy()
        unseen = [number for number in range(4) if number not in labels]
        assert shares[:, unseen].max() < 0.001
        assert np.isfinite(np.log(shares)).all()
