"""Training speed beside the stock Trainer at its best on a CPU: dynamic padding, batches grouped by length."""

from __future__ import annotations

from tests.bench._measure import Result
from tests.bench.train_classifier import compare


def run() -> Result:
    """Samples a second of two epochs over the same rows with the same seed, model, method and batch size."""
    return compare("train_classifier_grouped", "stock Trainer with dynamic padding, grouped by length", grouped=True)
