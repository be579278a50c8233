"""How a method's work differs from one pass forward and back over every row: what a plan asks a method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

WHOLE = (12.0, 10.0)
"""For each token and word of the vocabulary, bytes that a loss takes with and without a gradient: it keeps
log-probabilities, and its backward pass makes two gradients beside them; without one there are the logits, in 16 bits
perhaps, in float32, and the log-probabilities."""
REWARDED = (20.0, 12.0)
"""The same of each token that was drawn, beside the logits of all: probabilities for the entropy come to it."""
TILE_TOKENS, TILE_WORDS = 4096, 32_768
"""What the tiled loss of TRL looks at at once (trl/kernels/chunked_logprob.py)."""
TILED = {"cpu": (24.0, 16.0), "cuda": (4.0, 4.0)}
"""The same of the tiled loss, by device: a GPU works in place."""


@dataclass(frozen=True)
class Effort:
    """What is done with the rows. A method's ``lengths`` says of which sequences a row consists; else it is one."""

    rows: float | None = None
    """Rows that are worked on in all; None is every training row in each epoch."""
    learnt: float = 1
    """How often each sequence is read forward and back."""
    read: float = 0
    """How often it is read forward only while it trains, as by a reference."""
    judged: float = 1
    """How often a sequence of the validation rows is read where the validation loss is measured; 0 where it is not."""
    measured: int = 0
    """Validation rows that are read, or answered, before and after the training."""
    measured_at_once: int = 0
    """Sequences of these at once, with whole logits."""
    together: int = 1
    """Sequences of a row that are calculated at once."""
    batch: int | None = None
    """Rows of an optimiser step in one process; None leaves it to ``train.batch_size``."""
    learns: int | None = None
    """Most rows that are learnt from at once; None is as many as memory allows."""
    least: int = 1
    """Fewest rows that can be learnt from at once."""
    even: bool = False
    """Whether a batch can be done in equal parts only."""
    drawn: int = 0
    """Most tokens that are drawn for each sequence, one after the other."""
    draws: int | None = None
    """Rows that are answered at once; None is as many as memory allows."""
    copies: int = 0
    """Frozen copies of the whole model that are held beside it."""
    asked: tuple[str, ...] = ()
    """References of other models that are held all the time, and asked about each sequence."""
    teachers: tuple[str, ...] = ()
    """References of other models that read every row once before the training, and are let go of."""
    loss: Literal["whole", "tiled", "rewarded"] = "whole"
    """How a language model's logits come about."""
    plain: bool = False
    """Whether it trains in float32 and keeps all activations, whatever ``train`` says."""


ONE_PASS = Effort()
"""What methods do that say nothing else."""


def equal_part(batch: int, most: int, least: int = 1) -> int:
    """Rows of each of several equal parts of a batch: as many as allowed, but not fewer than the least."""
    parts = [rows for rows in range(min(least, batch), batch + 1) if batch % rows == 0]
    return max((rows for rows in parts if rows <= most), default=parts[0])


def logit_bytes(effort: Effort, shape: tuple[float, float, int], device: str, *, learning: bool) -> float:
    """Bytes of the logits and of what a loss makes of them.

    Args:
        effort: tells the loss, and how many tokens at the end of a sequence it is about.
        shape: sequences, tokens of each, words of the vocabulary.
        device: a GPU works in place.
        learning: whether there is a gradient.
    """
    (sequences, tokens, words), which = shape, 0 if learning else 1
    if effort.loss == "tiled":
        return TILED[device][which] * min(sequences * tokens, TILE_TOKENS) * min(words, TILE_WORDS)
    if effort.loss == "rewarded":
        return sequences * (4 * tokens + REWARDED[which] * min(effort.drawn, tokens)) * words
    return WHOLE[which] * sequences * tokens * words
