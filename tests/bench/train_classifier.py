"""Training speed: MiniLM with LoRA on movie sentences, ours next to the stock Trainer padded to the maximum length.

Both calculate in the same precision: where ours is bfloat16, the stock Trainer is measured in float32 and with its own
``bf16=True``, and the faster of both is the baseline. The note has all of them.
"""

from __future__ import annotations

from functools import partial

from tests.bench import _training
from tests.bench._measure import Result, by_turns, machine
from tests.bench._training import MAX_LENGTH, ROWS, TEST_ROWS


def run() -> Result:
    """Samples a second of two epochs over the same rows with the same seed, model, method and batch size."""
    return compare("train_classifier", f"stock Trainer padded to {MAX_LENGTH} tokens", grouped=False)


def compare(name: str, what: str, *, grouped: bool) -> Result:
    """Our loop next to the stock Trainer, each in the precision that this machine is fast in and in float32."""
    from ftcore.training import precision

    numbers = ["fp32"] + (["bf16"] if precision.chosen("auto") == "bf16" else [])
    found = {}
    for one in numbers:
        mine, stock = partial(_training.ours, one), partial(_training.stock, grouped=grouped, numbers=one)
        found[one] = by_turns(mine, stock, lambda trained: trained.samples_per_s)
    best = max(found.values(), key=lambda one: one[1].samples_per_s)
    ours, baseline, peak = max(found.values(), key=lambda one: one[0].samples_per_s)[0], best[1], best[3]
    ratio = ours.samples_per_s / baseline.samples_per_s
    each = "; ".join(
        f"{one}: ours {mine.samples_per_s:.1f}, baseline {theirs.samples_per_s:.1f}, ratio {same:.2f}"
        for one, (mine, theirs, same, _) in found.items()
    )
    note = (
        f"{what}, the fastest of its precisions ({baseline.precision}), ours in {ours.precision}; medians of three "
        f"rounds by turns. In the same precision: {each}. "
        f"Accuracy on {TEST_ROWS} other rows {ours.interval} ours, {baseline.interval} baseline"
    )
    unit = "samples/s, more is better"
    return Result(name, unit, ours.samples_per_s, baseline.samples_per_s, ratio, ROWS, peak, machine(), note)
