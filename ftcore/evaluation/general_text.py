"""What a training did to the language model itself: base model, champion and candidate on texts of no domain."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ftcore.statistics.intervals import resample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from ftcore.statistics.intervals import Drawn


def compared(
    texts: Sequence[str], likely: Mapping[str, np.ndarray], resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Metrics of each model, and how much higher the candidate's are than those of the others, paired by text.

    Args:
        texts: what the models read.
        likely: of each model and text ``-log p`` in nats, tokens, tokens hit, ``[texts, 3]``; one is ``candidate``.
        resamples: bootstrap resamples over texts.
        seed: of the resampling.

    Returns:
        ``metrics.ROLE.METRIC`` and ``differences.ROLE.METRIC``, each an estimate.
    """
    import numpy as np

    size = np.array([len(text.encode()) for text in texts], float)
    tallies = [np.column_stack([one[:, :2], size]) for one in likely.values()]
    drawn = dict(zip(likely, resample(_metrics, tallies, resamples, seed), strict=True))
    return {
        "metrics": {role: {name: _plain(one) for name, one in measured.items()} for role, measured in drawn.items()},
        "differences": {
            role: {name: _plain(drawn["candidate"][name] - one) for name, one in measured.items()}
            for role, measured in drawn.items()
            if role != "candidate"
        },
    }


def _plain(one: Drawn) -> dict[str, Any]:
    return one.estimate().model_dump(mode="json")


def _metrics(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Loss of a token in nats, perplexity, and bits a byte, which compares models with other vocabularies, too."""
    import numpy as np

    loss = sums[..., 0] / np.where(sums[..., 1] > 0, sums[..., 1], np.nan)
    return {
        "loss": loss,
        "perplexity": np.exp(loss),
        "bits_per_byte": sums[..., 0] / math.log(2) / np.where(sums[..., 2] > 0, sums[..., 2], np.nan),
    }
