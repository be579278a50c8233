"""Rare labels that count as much as frequent ones: class weights in the loss, or rows drawn by their label.

Weights of ``balanced`` are those of scikit-learn, ``rows / (labels · rows with the label)`` (G. King and L. Zeng 2001,
*Logistic Regression in Rare Events Data*). Their mean over the training rows is 1: the learning rate keeps its meaning,
and a batch that is done in parts has the gradient of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from ftcore.models.features import Features

Weights = Literal["none", "balanced"] | Mapping[str, float]
Sampling = Literal["natural", "square_root", "balanced"]
MOST = 100.0
"""Largest weight of the rows that have a label against those that have not, where a row may have several."""
POWER = {"natural": 1.0, "square_root": 0.5, "balanced": 0.0}
"""A label's share of the drawn rows goes with its rows to this power."""


def class_weights(rows: Features, wanted: Weights, labels: Sequence[str]) -> torch.Tensor | None:
    """Weight of each label in the loss, ``[labels]``; None where all count alike.

    Args:
        rows: encoded training rows, with the number of a label each, or a one or a zero for each label.
        wanted: of the recipe.
        labels: in the order of the model's outputs.
    """
    if wanted == "none" or not len(rows):
        return None
    given = torch.tensor(rows.columns["labels"])
    several = given.dim() == 2
    counts = given.sum(0) if several else given.bincount(minlength=len(labels)).double()
    if isinstance(wanted, Mapping):
        weights = torch.tensor([float(wanted.get(label, 1.0)) for label in labels])
    elif several:
        return ((len(given) - counts) / counts.clamp_min(1)).clamp(1 / MOST, MOST).float()
    else:
        weights = len(given) / (len(labels) * counts.clamp_min(1))
    return (weights if several else weights * len(given) / (weights * counts).sum()).float()


def judging_weights(rows: Features, sampling: Sampling, labels: Sequence[str]) -> torch.Tensor | None:
    """Weights by which the validation loss counts labels as often as training draws them; None where it does anyway."""
    if sampling == "natural" or not len(rows) or isinstance(rows.columns["labels"][0], Sequence):
        return None
    counts = torch.tensor(rows.columns["labels"]).bincount(minlength=len(labels)).double()
    shares = torch.where(counts > 0, counts.clamp_min(1) ** POWER[sampling], 0)
    return (shares / shares.sum() / (counts.clamp_min(1) / counts.sum())).float()


def weighted(outputs: Any, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The mean loss of a batch with class weights.

    Args:
        outputs: of the model, with ``logits`` ``[rows, labels]``.
        labels: ``[rows]``, or ones and zeros ``[rows, labels]``, whose ones are weighted.
        weights: ``[labels]``.
    """
    logits, weights = outputs["logits"].float(), weights.to(labels.device)
    if labels.dim() == 2:
        return functional.binary_cross_entropy_with_logits(logits, labels.float(), pos_weight=weights)
    return (functional.cross_entropy(logits, labels, reduction="none") * weights[labels]).mean()


def groups(rows: Features, sampling: Sampling) -> tuple[list[list[int]], list[float]] | None:
    """Row numbers by label, and the share of the drawn rows that each label gets; None where every row is read once.

    A row with several labels counts as one of its rarest.
    """
    if sampling == "natural":
        return None
    given = torch.tensor(rows.columns["labels"])
    if given.dim() == 2:
        rarity = torch.where(given > 0, given.sum(0), torch.inf)
        own = torch.where(given.any(1), rarity.argmin(1), -1).tolist()
    else:
        own = given.tolist()
    found: dict[int, list[int]] = {}
    for number, label in enumerate(own):
        found.setdefault(label, []).append(number)
    shares = [len(numbers) ** POWER[sampling] for numbers in found.values()]
    return list(found.values()), [share / sum(shares) for share in shares]
