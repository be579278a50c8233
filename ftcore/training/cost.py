"""What a training takes, from sizes alone: memory, operations, and by the speed of a machine hours, energy and money.

Activations follow V. Korthikanti et al. (2022), *Reducing Activation Recomputation in Large Transformer Models*, whose
34 bytes a token, layer and unit of width are for 16 bits; operations follow J. Kaplan et al. (2020), *Scaling Laws*.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

RUNTIME_BYTES = {"cpu": 0.8 * 2**30, "cuda": 0.6 * 2**30}
"""The interpreter with its libraries, or the context on the GPU."""
USABLE = 0.9
"""Share of a worker's memory that a plan fills."""
ADAM_BYTES = 8
"""Two float32 moments for each trained weight."""


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
    """Tokens of the longest row."""
    judged_tokens: float = 0
    """Of all passes over the validation rows."""


def state_bytes(shape: Shape) -> dict[str, float]:
    """Memory that does not depend on the batch: weights, gradients, optimiser."""
    weights = shape.multiplied * shape.weight_bytes + shape.embedding_weights * 4
    return {"weights": weights, "gradients": shape.trainable * 4.0, "optimiser": shape.trainable * float(ADAM_BYTES)}


def activation_bytes(shape: Shape, tokens: float) -> float:
    """Memory of what is kept for the backward pass of ``tokens`` tokens at once, padding included.

    Attention is not kept as a matrix (scaled dot-product attention); float32 takes twice the 34 bytes. Updates with
    dropout keep their own input, which is about a third more.
    """
    per_layer = shape.width * (34 if shape.half else 66) * (4 / 3 if shape.trainable < shape.weights / 2 else 1)
    layers = shape.layers * shape.width * 4 + per_layer if shape.checkpointing else shape.layers * per_layer
    return tokens * (layers + 3 * 4 * shape.outputs)


def memory_bytes(shape: Shape, tokens: float, device: str) -> dict[str, float]:
    """Memory by what it is for, and their sum as ``total``."""
    found = {**state_bytes(shape), "activations": activation_bytes(shape, tokens), "runtime": RUNTIME_BYTES[device]}
    return {**found, "total": sum(found.values())}


def operations(shape: Shape, work: Work) -> float:
    """Floating-point operations: 2 a weight and token forward, 2 back to the activations, 2 to each trained weight.

    With checkpointing the forward pass is done twice.
    """
    forward = 2.0 * shape.multiplied
    learnt = 2.0 * min(shape.trainable, shape.multiplied)
    each = forward * (3 if shape.checkpointing else 2) + learnt
    return work.tokens * each + work.judged_tokens * forward


def rows_at_once(shape: Shape, work: Work, batch_rows: int, device: str, memory_gib: float) -> int:
    """Most rows of the longest kind that fit: the batch, or a half, a quarter, … of it; 0 where not even one does."""
    rows = batch_rows
    while rows:
        if memory_bytes(shape, rows * work.longest, device)["total"] <= memory_gib * 2**30 * USABLE:
            return rows
        rows = 0 if rows == 1 else ceil(rows / 2)
    return 0
