"""What each of our training kernels is worth: MiniLM with LoRA on movie sentences, with all and with one left out."""

from __future__ import annotations

from statistics import median

from tests.bench import _training
from tests.bench._measure import Result, machine, side
from tests.bench._training import ROWS

ROUNDS = 3
ALL, NONE = "all of them", "none"


def run() -> Result:
    """Real tokens a second with all kernels and with ``train.kernels: torch``; in the note, with each one left out."""
    from ftcore.training.kernels import KERNELS

    speeds: dict[str, list[float]] = {}
    peak = 0
    for _ in range(ROUNDS):  # by turns, so that what else the machine does meets all
        for left_out in (ALL, NONE, *KERNELS):
            speed, used = side(_measure, left_out)
            speeds.setdefault(left_out, []).append(speed)
            peak = max(peak, used) if left_out == ALL else peak
    middle = {left_out: median(found) for left_out, found in speeds.items()}
    shares = ", ".join(f"without {name} {middle[ALL] / middle[name] - 1:+.1%}" for name in KERNELS)
    note = f"train.kernels: torch; medians of {ROUNDS} rounds. A step takes, {shares}; below 5 % it is to be deleted"
    ratio = middle[ALL] / middle[NONE]
    unit = "real tokens/s, more is better"
    return Result("train_kernels", unit, middle[ALL], middle[NONE], ratio, ROWS, peak, machine(), note)


def _measure(left_out: str) -> float:
    from ftcore.training import kernels

    kernels.KERNELS.pop(left_out, None)
    return _training.ours(kernels="torch" if left_out == NONE else "auto").tokens_per_s
