"""What a training takes, from sizes alone: memory, operations, and by the speed of a machine hours, energy and money.

What is kept for the backward pass is counted by ``activations``; where that cannot be, it follows V. Korthikanti et al.
(2022), *Reducing Activation Recomputation in Large Transformer Models*, whose 34 bytes a token, layer and unit of width
are for 16 bits. Operations follow J. Kaplan et al. (2020), *Scaling Laws*.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

RUNTIME_BYTES = {"cpu": 0.65 * 2**30, "cuda": 0.6 * 2**30}
"""The interpreter with its libraries, or the context on the GPU."""
HEAP = {"cpu": 1.5, "cuda": 1.1}
"""Memory taken for what a batch needs, over what it needs. glibc's aligned blocks leave holes that the next of the same
size do not fit into (its bug 14581; 1.2 to 1.8 were measured with torch 2.13); CUDA's allocator rounds up."""
USABLE = 0.9
"""Share of a worker's memory that a plan fills."""
ADAM_BYTES = 8
"""Two float32 moments for each trained weight."""
LOSS_BYTES, JUDGING_BYTES = 12, 10
"""For each token and word of the vocabulary: the loss keeps log-probabilities, and its backward pass makes two
gradients beside them; without one there are the logits, in 16 bits perhaps, in float32, and the log-probabilities."""
JUDGED_BATCHES = 2
"""Rows that are judged at once, in batches of training."""


class Kept(NamedTuple):
    """Bytes kept for the backward pass: ``tokens * by_token + tokens² * by_pair`` of each row, and some once."""

    by_token: float
    by_pair: float = 0
    """Attention that is kept as a matrix, heads and layers together."""
    once: float = 0
    """Made of weights, however many rows there are, such as DoRA's sums of base and update."""


class Held(NamedTuple):
    """What one process of several holds."""

    state: dict[str, float]
    """Bytes that do not depend on the batch, by what they are for."""
    kept: float = 1
    """Share of what its rows' layers keep."""


@dataclass(frozen=True)
class Shape:
    """A model with what is to be trained in it."""

    weights: int
    """All weights."""
    embedding_weights: int
    """Those that are looked up and not multiplied."""
    trainable: int
    """Those that learn."""
    layers: int
    width: int
    outputs: int = 0
    """Numbers given for each token: the vocabulary of a language model, 0 for a classifier."""
    weight_bytes: float = 4
    """Bytes of a weight that is multiplied; four bits count with their scales."""
    checkpointing: bool = False
    """Whether activations are calculated again instead of kept."""
    half: bool = False
    """Whether matrix products are in 16 bits."""
    kept: Kept | None = None
    """What was counted; None takes the formula."""

    @property
    def multiplied(self) -> int:
        """Weights that every token is multiplied with."""
        return self.weights - self.embedding_weights


@dataclass(frozen=True)
class Work:
    """How much is read."""

    tokens: float
    """Of all passes over the training rows."""
    longest: int
    """Tokens of the longest row, or of the longest sequence where rows share one."""
    judged_tokens: float = 0
    """Of all passes over the validation rows."""
    judged_longest: int = 0
    """Tokens of the longest of these."""
    batch_rows: int = 1
    """Rows, or sequences, of an optimiser step in one process."""


def state_bytes(shape: Shape) -> dict[str, float]:
    """Memory that does not depend on the batch: weights, gradients, optimiser.

    Products in 16 bits keep a copy of each float32 weight in 16 bits until the backward pass.
    """
    copies = 2 if shape.half and shape.weight_bytes >= 4 else 0
    weights = shape.multiplied * (shape.weight_bytes + copies) + shape.embedding_weights * 4
    return {"weights": weights, "gradients": shape.trainable * 4.0, "optimiser": shape.trainable * float(ADAM_BYTES)}


def kept_bytes(shape: Shape, length: int) -> float:
    """What the layers keep of one row of ``length`` tokens; with checkpointing, their inputs and one layer's own."""
    formula = shape.layers * shape.width * (34 if shape.half else 66)
    kept = shape.kept or Kept(formula * (4 / 3 if shape.trainable < shape.weights / 2 else 1))  # updates keep inputs
    whole = length * (kept.by_token + length * kept.by_pair)
    return shape.layers * shape.width * 4 * length + whole / shape.layers if shape.checkpointing else whole


def kept_once_bytes(shape: Shape) -> float:
    """What the layers keep whatever the rows; with checkpointing, one layer's own."""
    once = shape.kept.once if shape.kept else 0
    return once / shape.layers if shape.checkpointing else once


def memory_bytes(shape: Shape, work: Work, rows: int, device: str, held: Held | None = None) -> dict[str, float]:
    """Memory of one process by what it is for, with ``rows`` calculated at once, and ``total``, its peak.

    Training and judging take turns, so there is the larger of both. Judging keeps one layer's and has no gradient;
    where a batch is done in parts, it is done in parts of as many tokens.
    """
    state, share = held or Held(state_bytes(shape))
    once = HEAP[device] * share * kept_once_bytes(shape)
    whole = rows >= work.batch_rows
    judged = rows * JUDGED_BATCHES * work.judged_longest if whole else rows * work.longest
    training = {
        "activations": HEAP[device] * share * rows * kept_bytes(shape, work.longest) + once,
        "loss": float(LOSS_BYTES * shape.outputs * rows * work.longest),
    }
    judging = {
        "activations": HEAP[device] * share * judged * kept_bytes(shape, work.longest) / work.longest / shape.layers,
        "loss": float(JUDGING_BYTES * shape.outputs * judged),
    }
    most = max(training, judging, key=lambda found: sum(found.values()))
    found = {**state, **most, "runtime": RUNTIME_BYTES[device]}
    return {**found, "total": sum(found.values())}


def operations(shape: Shape, work: Work) -> float:
    """Floating-point operations: 2 a weight and token forward, 2 back to the activations, 2 to each trained weight.

    With checkpointing the forward pass is done twice.
    """
    forward = 2.0 * shape.multiplied
    learnt = 2.0 * min(shape.trainable, shape.multiplied)
    each = forward * (3 if shape.checkpointing else 2) + learnt
    return work.tokens * each + work.judged_tokens * forward


def rows_at_once(shape: Shape, work: Work, device: str, memory_gib: float, held: Held | None = None) -> int:
    """Most rows of the longest kind that fit: the batch, or a half, a quarter, … of it; 0 where not even one does."""
    rows = work.batch_rows
    while rows:
        if memory_bytes(shape, work, rows, device, held)["total"] <= memory_gib * 2**30 * USABLE:
            return rows
        rows = 0 if rows == 1 else ceil(rows / 2)
    return 0
