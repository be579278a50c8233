"""Class weights and balanced sampling: rare labels are learnt, in whole batches and in parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from ftcore.models.features import Features
from ftcore.training import balance, batches, loop
from ftcore.training.callbacks import Point
from ftcore.training.job import Job
from tests import jobs

Make = Callable[..., Job]
BALANCED = [{"class_weights": "balanced"}, {"sampling": "balanced"}]
LABELS = ("often", "seldom")


def skewed(tiny: Path, *, several: bool = False) -> Features:
    """64 rows of which 6 are ``seldom``, all with a word that 10 rows of ``often`` have as well."""
    tokenizer = AutoTokenizer.from_pretrained(tiny / "model")
    good, bad, film = tokenizer.convert_tokens_to_ids(["good", "bad", "film"])
    ids = [[2, *[film] * (2 if n % 4 == 0 else 1 + n % 5), good if n % 4 == 0 else bad, 3] for n in range(64)]
    labels: list[Any] = [int(n % 4 == 0 and n // 4 % 8 in (1, 4, 6)) for n in range(64)]
    assert sum(labels) == 6
    if several:
        labels = [[1.0 - label, float(label)] for label in labels]
    return Features({"input_ids": ids, "labels": labels}, [f"row-{n}" for n in range(64)])


def made(job: Make, tiny: Path, config: dict[str, Any], *, several: bool = False) -> Job:
    rows = skewed(tiny, several=several)
    settings = {"epochs": 10, "learning_rate": 3e-2 if several else 1e-2, **config}
    wanted = settings.get("class_weights", "none")
    weights = balance.class_weights(rows, wanted, LABELS)
    judging = balance.judging_weights(rows, settings.get("sampling", "natural"), LABELS) if weights is None else weights
    found = job(
        config=settings, rows={"train": rows, "validation": rows}, class_weights=weights, judging_weights=judging
    )
    if several:
        kind = "multi_label_classification"
        model = AutoModelForSequenceClassification.from_pretrained(tiny / "model", problem_type=kind)
        found = jobs.changed(found, model=model)
    return found


def recall(job: Job) -> float:
    """Share of the rows with the rare label for which it is the likeliest, or likelier than not."""
    rows = [job.data.rows["train"][number] for number in range(64)]
    batch = job.data.collate(rows)
    truth = torch.tensor(np.asarray(job.data.rows["train"].columns["labels"]).reshape(64, -1)[:, -1] == 1)
    with torch.no_grad():
        logits = job.trained.model.eval()(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    chosen = logits[:, 1] > 0 if batch["labels"].dim() == 2 else logits.argmax(-1) == 1
    return float(chosen[truth].float().mean())


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("config", BALANCED, ids=str)
def test_a_rare_label_is_learnt(job: Make, tiny: Path, config: dict[str, Any], several: bool) -> None:
    plain = made(job, tiny, {}, several=several)
    loop.fit(plain)
    assert recall(plain) == 0, "without balance the frequent label is predicted for all"
    fair = made(job, tiny, config, several=several)
    loop.fit(jobs.changed(fair, folder=fair.run.folder / "fair"))
    assert recall(fair) == 1


def test_balanced_weights_are_scikit_learns(tiny: Path) -> None:
    from sklearn.utils.class_weight import compute_class_weight

    rows = skewed(tiny)
    wanted = compute_class_weight("balanced", classes=np.array([0, 1]), y=np.array(rows.columns["labels"]))
    found = balance.class_weights(rows, "balanced", LABELS)
    assert found is not None
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)
    assert float(found[torch.tensor(rows.columns["labels"])].mean()) == pytest.approx(1)


def test_given_weights_keep_their_ratio_and_a_mean_of_one(tiny: Path) -> None:
    rows = skewed(tiny)
    found = balance.class_weights(rows, {"seldom": 4.0}, LABELS)
    assert found is not None
    assert float(found[1] / found[0]) == pytest.approx(4)
    assert float(found[torch.tensor(rows.columns["labels"])].mean()) == pytest.approx(1)
    assert balance.class_weights(rows, "none", LABELS) is None


def test_a_label_without_rows_has_a_finite_weight() -> None:
    one = Features({"input_ids": [[1], [1]], "labels": [0, 0]}, ["a", "b"])
    several = Features({"input_ids": [[1], [1]], "labels": [[1.0, 0.0]] * 2}, ["a", "b"])
    for rows in (one, several):
        found = balance.class_weights(rows, "balanced", LABELS)
        assert found is not None
        assert bool(found.isfinite().all())
        assert bool((found > 0).all())


@pytest.mark.parametrize("more", [{}, {"label_smoothing": 0.1}], ids=str)
@pytest.mark.parametrize("several", [False, True])
def test_parts_of_a_batch_have_the_gradient_of_the_whole(
    job: Make, tiny: Path, several: bool, more: dict[str, Any]
) -> None:
    if several and more:
        pytest.skip("check refuses label smoothing of several labels")
    curves: list[list[float]] = [[], []]
    for curve, budget in zip(curves, (None, 16), strict=True):
        config = {"class_weights": {"seldom": 9.0}, "epochs": 1, "micro_batch_tokens": budget, **more}
        one = made(job, tiny, config, several=several)
        for module in one.trained.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0

        def track(points: list[Point], curve: list[float] = curve) -> None:
            curve += [
                point.metrics[name] for point in points for name in ("loss", "eval_loss") if name in point.metrics
            ]

        loop.fit(jobs.changed(one, track=track, folder=one.run.folder / str(budget)))
    assert len(curves[0]) > 8
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)


def test_an_epoch_has_of_each_label_its_share(tiny: Path) -> None:
    rows = skewed(tiny)
    for sampling, share in (("balanced", 0.5), ("square_root", 6**0.5 / (6**0.5 + 58**0.5))):
        order = batches.ordered(rows, 8, 3, balance.groups(rows, sampling))  # type: ignore[arg-type]
        seen: Counter[int] = Counter()
        for epoch in range(4):
            order.epoch = epoch
            drawn = list(order)
            assert len(drawn) == len(order) == 64
            assert sum(rows.columns["labels"][number] for number in drawn) == round(share * 64)
            assert list(order) == drawn, "an epoch's order is a function of its number"
            seen.update(drawn)
        assert len(seen) > 56, "of a frequent label another part is drawn in each epoch"
    assert balance.groups(rows, "natural") is None
