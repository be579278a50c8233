"""Training speed beside what the machine's matrix products allow, both measured in one process.

LoRA keeps the weights frozen, so a token costs 4 floating-point operations for each weight of a linear layer: 2 forward
and 2 backward to the layer's input; only the adapters pay 2 more. Embeddings are looked up, not multiplied. Attention's
own products (about 2 % at these lengths), normalisation, dropout and the optimiser are not counted: they are overhead.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from tests.bench import _training
from tests.bench._measure import Result, machine, side
from tests.bench._training import ROWS, Trained

TOKENS = 1024
"""Rows of the measured products: about the tokens of a batch."""


class Share(NamedTuple):
    """What a training made of the machine."""

    trained: Trained
    allowed: float
    """Tokens a second if there were products and nothing else."""
    flop: float
    """Of a token."""


def run() -> Result:
    """Real tokens a second, beside the measured rate of matrix products over the operations of a token."""
    (ours, allowed, flop), peak = side(_measure, "auto")
    note = f"{_told(ours, allowed, flop)}, {flop / 1e6:.1f} MFLOP a token; 1.0 would be products and nothing else"
    if ours.precision != "fp32":
        other, _ = side(_measure, "fp32")
        note += f". In fp32 {other.trained.tokens_per_s:,.0f} of {_told(*other)}: {_share(other):.1%}"
    ratio = ours.tokens_per_s / allowed
    unit = "real tokens/s, more is better"
    return Result("train_roofline", unit, ours.tokens_per_s, allowed, ratio, ROWS, peak, machine(), note)


def _told(ours: Trained, allowed: float, flop: float) -> str:
    return f"{allowed:,.0f} that {allowed * flop / 1e9:.0f} GFLOP/s of {ours.precision} allow in the layers' shapes"


def _share(found: Share) -> float:
    return found.trained.tokens_per_s / found.allowed


def _measure(numbers: str) -> Share:
    import torch

    from ftcore.training import precision

    model = _training._parts()[2]
    layers = [m for m in model.modules() if type(m) is torch.nn.Linear]
    frozen = [m.weight for m in layers if not m.weight.requires_grad]
    learnt = [m.weight for m in layers if m.weight.requires_grad]
    flop = float(4 * sum(w.numel() for w in frozen) + 6 * sum(w.numel() for w in learnt))
    kind = torch.bfloat16 if precision.chosen(numbers) == "bf16" else torch.float32
    before = _seconds(frozen, kind)
    ours = _training.ours(numbers)
    seconds = min(before, _seconds(frozen, kind))
    rate = 4 * sum(w.numel() for w in frozen) * TOKENS / seconds
    return Share(ours, rate / flop, flop)


def _seconds(weights: list, kind: object) -> float:  # type: ignore[type-arg]
    """The best of several times that forward and backward products of all layers take, and nothing between them."""
    import torch

    pairs = [(torch.randn(TOKENS, w.shape[1]).to(kind), w.detach().to(kind)) for w in weights]
    best = float("inf")
    for _ in range(8):
        clock = time.perf_counter()
        for values, weight in pairs:
            (values @ weight.T) @ weight
        best = min(best, time.perf_counter() - clock)
    return best
