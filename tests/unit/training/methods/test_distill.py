"""Distillation: the loss is Hinton's, only a batch that brings a teacher is judged by it, and opinions get through."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional

from ftcore.errors import TrainingError
from ftcore.models.features import Features
from ftcore.training import loop
from ftcore.training.methods import distill
from tests import jobs

if TYPE_CHECKING:
    from ftcore.training.job import Job
    from tests.conftest import Product


def test_the_loss_is_that_of_the_paper() -> None:
    torch.manual_seed(1)
    logits, teacher, labels = torch.randn(5, 3), torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    config = distill.Distill(temperature=3, weight=0.4)
    mean = functional.cross_entropy(logits, labels)
    found = config.loss(SimpleNamespace(logits=logits, loss=mean), teacher.softmax(-1))
    p, q = (teacher / 3).softmax(-1), (logits / 3).softmax(-1)
    expected = 0.6 * mean + 0.4 * 9 * (p * (p / q).log()).sum(-1).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_student_that_agrees_pays_for_the_label_only() -> None:
    logits = torch.tensor([[2.0, -1.0]])
    own = SimpleNamespace(logits=logits, loss=torch.tensor(0.5))
    assert distill.Distill(weight=0.5).loss(own, logits.softmax(-1)).item() == pytest.approx(0.25, abs=1e-5)


def test_the_student_learns_what_the_teacher_says_against_the_labels(training_job: Callable[..., Job]) -> None:
    job = training_job(epochs=6)
    said = {
        split: Features(
            {**rows.columns, "teacher": [[0.95, 0.05] if label else [0.05, 0.95] for label in rows.columns["labels"]]},
            rows.row_ids,
        )
        for split, rows in job.data.rows.items()
    }
    config = distill.Distill(weight=1.0)
    config.apply(job.trained.model, job.trained.tokenizer)
    figures = loop.fit(jobs.changed(job, rows=said))
    assert figures["validation_loss"] < 0.5
    job.trained.model.eval()
    batch = job.data.collate([job.data.rows["validation"][n] for n in range(16)])
    labels = batch.pop("labels")
    with torch.inference_mode():
        assert (job.trained.model(**batch).logits.argmax(-1) == 1 - labels).all(), (
            "the teacher called everything by its opposite"
        )


def test_without_a_champion_nobody_teaches(product: Product) -> None:
    product.publish(range(20))
    product.run("plan")
    with pytest.raises(TrainingError, match="has no champion to teach"):
        distill.Distill().teacher_reference(product.context("train"))
    assert (
        distill.Distill(teacher="models:/other@champion").teacher_reference(product.context("train"))
        == "models:/other@champion"
    )


def test_the_champion_that_the_plan_saw_teaches(product: Product) -> None:
    identity = product.publish(range(20))
    first = product.crown("first", identity)
    product.run("plan", train="always")
    product.crown("second", identity)
    assert distill.Distill().teacher_reference(product.context("train")) == f"models:/{product.name}/{first.number}"
