"""Training speed: MiniLM with LoRA on movie sentences, ours beside the stock Trainer padded to the maximum length."""

from __future__ import annotations

from functools import partial

from tests.bench import _training
from tests.bench._measure import Result, machine, side
from tests.bench._training import MAX_LENGTH, ROWS, TEST_ROWS


def run() -> Result:
    """Samples a second of one epoch over the same rows with the same seed, model, method and batch size."""
    return compare("train_classifier", f"stock Trainer padded to {MAX_LENGTH} tokens", grouped=False)


def compare(name: str, what: str, *, grouped: bool) -> Result:
    """Our loop beside the stock Trainer."""
    ours, peak = side(_training.ours)
    baseline, _ = side(partial(_training.stock, grouped=grouped))
    note = (
        f"{what}, {baseline.precision}; ours {ours.precision}; accuracy on {TEST_ROWS} other rows "
        f"{ours.accuracy:.3f} ours, {baseline.accuracy:.3f} baseline"
    )
    ratio = ours.samples_per_s / baseline.samples_per_s
    unit = "samples/s, more is better"
    return Result(name, unit, ours.samples_per_s, baseline.samples_per_s, ratio, ROWS, peak, machine(), note)
