"""Training speed: MiniLM with LoRA on movie sentences, ours beside the stock Trainer padded to the maximum length."""

from __future__ import annotations

from functools import partial

from tests.bench import _training
from tests.bench._measure import Result, by_turns, machine
from tests.bench._training import MAX_LENGTH, ROWS, TEST_ROWS


def run() -> Result:
    """Samples a second of two epochs over the same rows with the same seed, model, method and batch size."""
    return compare("train_classifier", f"stock Trainer padded to {MAX_LENGTH} tokens", grouped=False)


def compare(name: str, what: str, *, grouped: bool) -> Result:
    """Our loop beside the stock Trainer."""
    stock = partial(_training.stock, grouped=grouped)
    ours, baseline, ratio, peak = by_turns(_training.ours, stock, lambda trained: trained.samples_per_s)
    note = (
        f"{what}, medians of three rounds by turns, {baseline.precision}; ours {ours.precision}; "
        f"accuracy on {TEST_ROWS} other rows {ours.interval} ours, {baseline.interval} baseline"
    )
    unit = "samples/s, more is better"
    return Result(name, unit, ours.samples_per_s, baseline.samples_per_s, ratio, ROWS, peak, machine(), note)
