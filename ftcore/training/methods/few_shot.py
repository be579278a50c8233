"""Few-shot: pull texts of one label together and others apart, pair by pair, then fit the head; 8–64 rows a label.

L. Tunstall et al. (2022), *Efficient Few-Shot Learning Without Prompts* (SetFit). The vector that is trained is the one
that the model's own head reads, so that the result is a plain classifier: it exports and serves like any other.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.errors import TrainingError
from ftcore.progress import SELDOM_S, progress
from ftcore.recipe.canonical import sha256
from ftcore.training.effort import Effort
from ftcore.training.methods import _adapters
from ftcore.training.methods._base import Method

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from ftcore.context import Context
    from ftcore.models.features import Features
    from ftcore.recipe.model import Recipe
    from ftcore.training.job import Job
    from ftcore.training.strategies._base import Strategy

log = logging.getLogger(__name__)

BATCH = 16
"""Pairs per optimiser step, as in the paper."""
UNSEEN = 10.0
"""How far the bias of a label without a row is below the least of the others, in logits."""


class FewShot(Method):
    """Contrastive pairs, then logistic regression. ``train``'s epochs, batch size and learning rate do not count."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "few_shot", "rows_per_label": 16}
    TASKS: ClassVar[tuple[str, ...]] = ("classification",)
    MULTITASK_REASON: ClassVar[str] = "its pairs are alike or not by one set of labels"
    OWN_LOOP: ClassVar[bool] = True

    kind: Literal["few_shot"] = "few_shot"
    rows_per_label: Annotated[int, Field(ge=2, le=64)] = 16
    """Training rows of each label that are used; the same ones each time."""
    pairs: Annotated[int, Field(ge=BATCH, le=100_000)] = 1000
    """Most pairs, half of them with the same label."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-5
    """Peak learning rate of the encoder."""

    def rows(self, context: Context, table: pa.Table) -> pa.Table:
        """The first rows of each label in the order of a hash of their ids."""
        seed, taken = context.recipe.train.seed, dict.fromkeys(context.recipe.task.labels, 0)
        keyed = zip(table["row_id"].to_pylist(), table["label"].to_pylist(), range(table.num_rows), strict=True)
        chosen = []
        for _, label, number in sorted((sha256(f"few\x00{seed}\x00{row}"), label, n) for row, label, n in keyed):
            if taken.get(label, self.rows_per_label) < self.rows_per_label:
                taken[label] += 1
                chosen.append(number)
        log.info("learning from %d of %d rows", len(chosen), table.num_rows)
        return table.take(sorted(chosen))

    def effort(self, recipe: Recipe, rows: int) -> Effort:
        """Two rows for each pair, as far as the plan can know, a batch of pairs at a time."""
        labels, each = len(recipe.task.labels), min(self.rows_per_label, rows)
        alike, apart = labels * each * (each - 1) // 2, labels * (labels - 1) // 2 * each**2
        read = 2 * min(self.pairs, 2 * min(alike, apart))
        return Effort(rows=read, batch=2 * BATCH, least=2 * BATCH, judged=0, plain=True)

    def apply(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
        """The model with every weight to train."""
        model.requires_grad_(True)
        return model

    def fit(self, job: Job, strategy: Strategy) -> dict[str, float]:
        """Train the encoder on pairs, then the head on the encoder's vectors.

        Returns:
            The figures that the common loop gives. ``train_loss`` is that of the pairs.

        Raises:
            TrainingError: the model has no head that reads one vector a row, or the loss is no number.
        """
        import torch

        started = time.monotonic()
        if torch.cuda.is_available():
            job.trained.model.to("cuda")
        train, validation = job.data.rows["train"], job.data.rows["validation"]
        labels = list(train.columns["labels"])
        chosen = pairs(labels, self.pairs, job.run.config.seed)
        head = _last_linear(job.trained.model)
        with _Inputs(head) as inputs:

            def vectors(features: Features, numbers: Sequence[int]) -> torch.Tensor:
                job.trained.model(**_batch(job, features, numbers))
                return inputs.last

            losses = _contrast(self.learning_rate, job, chosen, lambda numbers: vectors(train, numbers))
            with _adapters.still(job.trained.model):
                _fit_head(head, _all(vectors, train), labels)
                validation_loss = _cross_entropy(head, _all(vectors, validation), validation.columns["labels"])
        seconds = time.monotonic() - started
        read = 2 * len(chosen)
        return {
            "steps": len(losses),
            "epochs": round(read / len(train), 3),
            "train_loss": round(sum(losses) / len(losses), 5),
            "validation_loss": round(validation_loss, 5),
            "seconds": round(seconds, 2),
            "rows_per_s": round(read / seconds, 2),
            "tokens_per_s": round(read * train.tokens / len(train) / seconds, 1),
            "resumed": 0.0,
        }


def pairs(labels: Sequence[int], most: int, seed: int) -> list[tuple[int, int]]:
    """Pairs of row numbers in a random order: as many of one label as of two, ``most`` in all.

    Raises:
        TrainingError: no two rows share a label, or all do.
    """
    alike: list[tuple[int, int]] = []
    apart: list[tuple[int, int]] = []
    for one, other in combinations(range(len(labels)), 2):
        (alike if labels[one] == labels[other] else apart).append((one, other))
    count = min(len(alike), len(apart), most // 2)
    if not count:
        raise TrainingError("few_shot needs two labels, and two rows of one", hint="raise method.rows_per_label")
    draw = random.Random(seed)  # noqa: S311 - a shuffle, no secret
    drawn = draw.sample(alike, count) + draw.sample(apart, count)
    draw.shuffle(drawn)
    return drawn


def _contrast(
    rate: float, job: Job, chosen: list[tuple[int, int]], vectors: Callable[[Sequence[int]], torch.Tensor]
) -> list[float]:
    """Bring the cosine of each pair towards 1 or 0; returns the loss of each step."""
    import torch

    labels = torch.tensor(list(job.data.rows["train"].columns["labels"]))
    optimiser = torch.optim.AdamW(job.trained.model.parameters(), lr=rate, weight_decay=job.run.config.weight_decay)
    steps = -(-len(chosen) // BATCH)
    warm = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
    losses: list[float] = []
    job.trained.model.train()
    with progress("training", steps, every_s=SELDOM_S) as advance:
        for start in range(0, len(chosen), BATCH):
            one, other = (list(side) for side in zip(*chosen[start : start + BATCH], strict=True))
            left, right = vectors([*one, *other]).chunk(2)
            alike = (labels[one] == labels[other]).to(left)
            loss = torch.nn.functional.mse_loss(torch.cosine_similarity(left, right), alike)
            if not torch.isfinite(loss):
                what = f"the loss is {loss.item()} at step {len(losses) + 1}"
                raise TrainingError(what, hint="lower method.learning_rate")
            loss.backward()
            optimiser.step()
            warm.step()
            optimiser.zero_grad()
            losses.append(loss.item())
            advance(1, f"loss {losses[-1]:.3f}")
    _track(job, losses)
    return losses


def _rate(step: int, steps: int) -> float:
    """A tenth of the steps up, the rest down, in straight lines."""
    rising = max(1, steps // 10)
    return (step + 1) / rising if step < rising else (steps - step) / max(1, steps - rising)


def _track(job: Job, losses: list[float]) -> None:
    from ftcore.training.callbacks import Point

    job.run.track([Point(step, {"loss": loss}, time.time()) for step, loss in enumerate(losses, 1)])


def _fit_head(head: nn.Linear, vectors: np.ndarray, labels: Sequence[int]) -> None:
    """Logistic regression, written into the head's weights; a label that no row has is next to impossible."""
    import torch
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(max_iter=1000).fit(vectors, labels)
    weights, bias = torch.tensor(fitted.coef_), torch.tensor(fitted.intercept_)
    if len(weights) == 1:  # of two labels scikit-learn keeps the second's side only
        weights, bias = torch.cat([-weights, weights]) / 2, torch.cat([-bias, bias]) / 2
    there = torch.tensor(fitted.classes_, device=head.weight.device)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(float(bias.min()) - UNSEEN)
        head.weight[there] = weights.to(head.weight)
        head.bias[there] = bias.to(head.bias)


def _cross_entropy(head: nn.Linear, vectors: np.ndarray, labels: Sequence[int]) -> float:
    import torch

    with torch.inference_mode():
        logits = head(torch.tensor(vectors, device=head.weight.device))
        truth = torch.tensor(list(labels), device=logits.device)
        return float(torch.nn.functional.cross_entropy(logits.float(), truth))


def _all(vectors: Callable[[Features, Sequence[int]], torch.Tensor], features: Features) -> np.ndarray:
    """Vectors of all rows, ``[rows, width]``."""
    import numpy as np
    import torch

    order = sorted(range(len(features)), key=lambda number: features.lengths[number])
    found: dict[int, np.ndarray] = {}
    with torch.inference_mode():
        for start in range(0, len(order), 2 * BATCH):
            numbers = order[start : start + 2 * BATCH]
            found |= dict(zip(numbers, vectors(features, numbers).float().cpu().numpy(), strict=True))
    return np.stack([found[number] for number in range(len(features))])


def _batch(job: Job, features: Features, numbers: Sequence[int]) -> dict[str, Any]:
    device = next(job.trained.model.parameters()).device
    batch = job.data.collate([features[number] for number in numbers])
    return {name: value.to(device) for name, value in batch.items() if name != "labels"}


def _last_linear(model: nn.Module) -> Any:
    """The layer of the head that gives the answers.

    Raises:
        TrainingError: there is none.
    """
    from torch import nn as layers

    heads = [module for name in _adapters.head(model) for module in model.get_submodule(name).modules()]
    found = [module for module in heads if isinstance(module, layers.Linear) and module.bias is not None]
    if not found:
        raise TrainingError(f"{type(model).__name__} has no linear head with a bias", hint="use method kind lora")
    return found[-1]


class _Inputs:
    """What a layer was last given, while the ``with`` lasts."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.last: Any = None

    def __enter__(self) -> _Inputs:
        self.handle = self.layer.register_forward_pre_hook(self._keep)
        return self

    def __exit__(self, *_: object) -> None:
        self.handle.remove()

    def _keep(self, _: nn.Module, arguments: tuple[Any, ...]) -> None:
        self.last = arguments[0]
