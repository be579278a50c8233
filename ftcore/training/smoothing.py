"""Label smoothing on top of whatever loss a method has.

C. Szegedy et al. (2016), *Rethinking the Inception Architecture for Computer Vision*, section 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftcore.errors import TrainingError
from ftcore.models.features import IGNORED

if TYPE_CHECKING:
    import torch


def smoothed(loss: torch.Tensor, outputs: Any, labels: torch.Tensor | None, share: float, *, shifts: bool) -> Any:
    """``(1 − share) · loss + share · H``, where H is the mean cross-entropy with all answers alike.

    Args:
        loss: mean over rows or tokens.
        outputs: of the model, with ``logits`` ``[rows, answers]`` or ``[rows, tokens, answers]``.
        labels: numbers of the right answers, ``[rows]`` or ``[rows, tokens]``; tokens that are not learnt do not count.
        share: 0 to 1.
        shifts: whether the logits of a token are about the next one.

    Raises:
        TrainingError: the task does not choose among answers.
    """
    logits = outputs.get("logits") if hasattr(outputs, "get") else None
    if labels is None or labels.is_floating_point() or logits is None or logits.dim() != labels.dim() + 1:
        raise TrainingError(
            "label smoothing needs a task that chooses one of several answers", hint="leave train.label_smoothing out"
        )
    if labels.dim() == 2:
        logits = logits[:, -labels.shape[1] :]  # the tokens of a trained prompt come first and have no labels
        if shifts:
            logits, labels = logits[:, :-1], labels[:, 1:]
    each = -logits.float().log_softmax(-1).mean(-1)
    return (1 - share) * loss + share * each[labels != IGNORED].mean()
