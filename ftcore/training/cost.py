"""What a training takes, from sizes alone: memory, operations, and by the speed of a machine hours, energy and money.

What is kept for the backward pass is counted by ``activations``; where that cannot be, it follows V. Korthikanti et al.
(2022), *Reducing Activation Recomputation in Large Transformer Models*, whose 34 bytes a token, layer and unit of width
are for 16 bits. Operations follow J. Kaplan et al. (2020), *Scaling Laws*. What else a method does is its ``effort``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from ftcore.training.effort import ONE_PASS, Effort, equal_part, logit_bytes

RUNTIME_BYTES = {"cpu": 0.65 * 2**30, "cuda": 0.6 * 2**30}
"""The interpreter with its libraries, or the context on the GPU."""
HEAP = {"cpu": 1.5, "cuda": 1.1}
"""Memory taken for what a batch needs, over what it needs. glibc's aligned blocks leave holes that the next of the same
size do not fit into (its bug 14581; 1.2 to 1.8 were measured with torch 2.13); CUDA's allocator rounds up."""
KERNEL_BYTES, KERNEL_CACHE_BYTES = 24 * 2**20, 740 * 2**20
"""Of the kernels that oneDNN compiles and keeps for each length of a batch, and the most that its cache of 1,024
kernels holds: bfloat16 on a CPU alone. Measured with BERT models, full and LoRA, torch 2.13 and oneDNN 3.12; a real
training has some 30 lengths, which took 600 MiB where the weights took 110."""
KERNEL_S = 0.2
"""Seconds to compile them for one length."""
START_S = 8.0
"""Seconds that a training takes before its first step and behind its last, such as to load the model and to save it."""
USABLE = 0.9
"""Share of a worker's memory that a plan fills."""
ADAM_BYTES = 8
"""Two float32 moments for each trained weight."""
JUDGED_BATCHES = 2
"""Rows that are judged at once, in batches of training."""
DRAWING_BYTES = 16
"""For each sequence and word of the vocabulary while a token is drawn: logits, in float32, scaled, probabilities."""
ARITHMETIC_INTENSITY = {"cpu": 28, "cuda": 125}
"""Sequences that could be read on in the time in which the weights are fetched from memory, once for each token drawn.
On a CPU as measured with a model of 135M weights; on a GPU 600 TFLOP/s by 4.8 TB/s, as if nothing else took time."""


class ActivationMemory(NamedTuple):
    """Bytes kept for the backward pass: ``tokens * by_token + tokens² * by_pair`` of each row, and some once."""

    by_token: float
    by_pair: float = 0
    """Attention that is kept as a matrix, heads and layers together."""
    once: float = 0
    """Made of weights, however many rows there are, such as DoRA's sums of base and update."""


class ProcessMemory(NamedTuple):
    """What one process of several holds."""

    state: dict[str, float]
    """Bytes that do not depend on the batch, by what they are for."""
    kept: float = 1
    """Share of what its rows' layers keep."""


@dataclass(frozen=True)
class ModelShape:
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
    lean: bool = False
    """Whether weights that do not learn are held in 16 bits alone, as on a GPU."""
    kept: ActivationMemory | None = None
    """What was counted; None takes the formula."""
    cache_bytes: float = 0
    """What a token leaves behind in all layers, for those that are drawn after it."""

    @property
    def multiplied(self) -> int:
        """Weights that every token is multiplied with."""
        return self.weights - self.embedding_weights


class AuxiliaryModel(NamedTuple):
    """Another model that reads what the trained one reads."""

    shape: ModelShape
    tokens: float
    """That it reads in all."""
    sequences: int
    """That it reads at once."""
    stays: bool
    """Whether it is held while the other one trains."""


@dataclass(frozen=True)
class Work:
    """How much is read."""

    tokens: float
    """Read forward and back, in all passes over the training rows."""
    longest: int
    """Tokens of the longest row, or of the longest sequence where rows share one."""
    judged_tokens: float = 0
    """Of all passes over the validation rows."""
    judged_longest: int = 0
    """Tokens of the longest of these."""
    batch_rows: int = 1
    """Rows, or sequences, of an optimiser step in one process."""
    read_tokens: float = 0
    """Read forward only, of the training rows: by a reference, and what comes before the tokens that are drawn."""
    drawn_tokens: float = 0
    """Drawn one after the other, at most."""
    effort: Effort = ONE_PASS
    """What the method does with a batch."""
    beside: tuple[AuxiliaryModel, ...] = ()
    """Other models."""
    lengths: int = 0
    """Different lengths of batches, training and validation together."""


def state_bytes(shape: ModelShape) -> dict[str, float]:
    """Memory that does not depend on the batch: weights, gradients, optimiser.

    Products in 16 bits keep a copy of each float32 weight in 16 bits until the backward pass.
    """
    copies = 2 if shape.half and shape.weight_bytes >= 4 else 0
    frozen = max(0, shape.multiplied - shape.trainable) if shape.lean and copies else 0
    weights = (shape.multiplied - frozen) * (shape.weight_bytes + copies) + frozen * copies
    weights += shape.embedding_weights * 4
    return {"weights": weights, "gradients": shape.trainable * 4.0, "optimiser": shape.trainable * float(ADAM_BYTES)}


def kept_bytes(shape: ModelShape, length: int) -> float:
    """What the layers keep of one row of ``length`` tokens; with checkpointing, their inputs and one layer's own."""
    formula = shape.layers * shape.width * (34 if shape.half else 66)
    kept = shape.kept or ActivationMemory(
        formula * (4 / 3 if shape.trainable < shape.weights / 2 else 1)
    )  # updates keep inputs
    whole = length * (kept.by_token + length * kept.by_pair)
    return shape.layers * shape.width * 4 * length + whole / shape.layers if shape.checkpointing else whole


def kept_once_bytes(shape: ModelShape) -> float:
    """What the layers keep whatever the rows; with checkpointing, one layer's own."""
    once = shape.kept.once if shape.kept else 0
    return once / shape.layers if shape.checkpointing else once


def memory_bytes(
    shape: ModelShape, work: Work, rows: int, device: str, held: ProcessMemory | None = None
) -> dict[str, float]:
    """Memory of one process by what it is for, with ``rows`` calculated at once, and ``total``, its peak.

    Learning, judging, drawing and what other models read take turns, so there is the largest of them. What has no
    gradient keeps one layer's; where a batch is done in parts, it is done in parts of as many tokens.
    """
    state, share = held or ProcessMemory(state_bytes(shape))
    state = state | {"reference": work.effort.copies * shape.weights * 4.0} if work.effort.copies else state
    stays = sum(_weight_bytes(other.shape) for other in work.beside if other.stays)
    state = state | {"other_models": stays} if stays else state
    turns = _eval_batches(shape, work, rows, device, HEAP[device] * share)
    dearest = max(turns, key=_sum)
    kernels = min(work.lengths * KERNEL_BYTES, KERNEL_CACHE_BYTES) if compiles(shape, device) else 0
    found = {**state, **dearest, **({"kernels": float(kernels)} if kernels else {}), "runtime": RUNTIME_BYTES[device]}
    return {**found, "total": sum(found.values())}


def compiles(shape: ModelShape, device: str) -> bool:
    """Whether kernels are compiled and kept for each length of a batch."""
    return device == "cpu" and shape.half


def start_s(shape: ModelShape, work: Work, device: str) -> float:
    """Seconds that do not depend on how many tokens are read: start, end, and kernels for each length of a batch."""
    return START_S + (KERNEL_S * work.lengths if compiles(shape, device) else 0)


def _eval_batches(shape: ModelShape, work: Work, rows: int, device: str, heap: float) -> list[dict[str, float]]:
    """What each of the things takes that are done in turn."""
    effort, whole = work.effort, rows >= work.batch_rows

    def read(sequences: int, longest: int, how: Effort, *, learning: bool = False) -> dict[str, float]:
        layers = kept_bytes(shape, work.longest) * longest / work.longest / (1 if learning else shape.layers)
        logits = logit_bytes(how, (sequences, longest, shape.outputs), device, learning=learning)
        once = kept_once_bytes(shape) if learning else 0
        return {"activations": heap * (sequences * layers + once), "loss": logits}

    learnt = min(rows, effort.learns or rows) * effort.together
    turns = [read(learnt, work.longest, effort, learning=True)]
    if effort.judged:
        judged, longest = (JUDGED_BATCHES * rows, work.judged_longest) if whole else (rows, work.longest)
        turns.append(read(judged * effort.together, longest, effort))
    measured = effort.measured_at_once if whole else min(1, effort.measured_at_once)
    if effort.drawn:
        sequences = max((effort.draws or rows) * effort.together, measured)
        drawing = read(sequences, max(1, work.longest - effort.drawn), ONE_PASS)
        cache = HEAP[device] * sequences * work.longest * shape.cache_bytes
        turns.append({**drawing, "cache": cache, "loss": float(DRAWING_BYTES * sequences * shape.outputs)})
    elif measured:
        turns.append(read(measured, work.judged_longest, ONE_PASS))
    for other in work.beside:
        layer = kept_bytes(other.shape, work.longest) / other.shape.layers
        weights = {} if other.stays else {"other_models": _weight_bytes(other.shape)}
        turns.append({"activations": HEAP[device] * other.sequences * layer, **weights})
    return turns


def _sum(parts: dict[str, float]) -> float:
    return sum(parts.values())


def _weight_bytes(shape: ModelShape) -> float:
    return shape.weights * 4.0


def operations(shape: ModelShape, work: Work) -> float:
    """Floating-point operations: 2 a weight and token forward, 2 back to the activations, 2 to each trained weight.

    With checkpointing the forward pass is done twice.
    """
    forward = 2.0 * shape.multiplied
    learnt = 2.0 * min(shape.trainable, shape.multiplied)
    each = forward * (3 if shape.checkpointing else 2) + learnt
    others = sum(2.0 * other.shape.multiplied * other.tokens for other in work.beside)
    return work.tokens * each + (work.judged_tokens + work.read_tokens + work.drawn_tokens) * forward + others


def waiting(shape: ModelShape, work: Work, rows: int, device: str) -> float:
    """Operations that a machine could have done while it waited for the weights, once for each token of few sequences.

    Where one token is drawn after the other, all weights are read from memory for each (N. Shazeer 2019, *Fast
    Transformer Decoding*).
    """
    sequences = max(1, (work.effort.draws or rows) * work.effort.together)
    return work.drawn_tokens * 2.0 * shape.multiplied * ARITHMETIC_INTENSITY[device] / sequences


def rows_at_once(
    shape: ModelShape, work: Work, device: str, memory_gib: float, held: ProcessMemory | None = None
) -> int:
    """Most rows of the longest kind that fit: the batch, or a half, a quarter, … of it; 0 where not even one does.

    Of a batch that is done in equal parts only, it is one of these.
    """
    rows, effort = work.batch_rows, work.effort
    while rows:
        if memory_bytes(shape, work, rows, device, held)["total"] <= memory_gib * 2**30 * USABLE:
            return rows
        fewer = max(ceil(rows / 2), effort.least)
        fewer = equal_part(work.batch_rows, fewer, effort.least) if effort.even else fewer
        rows = fewer if fewer < rows else 0
    return 0
