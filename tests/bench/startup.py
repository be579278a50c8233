"""How long ``ftcore --help`` takes beside a Python that does nothing."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from tests.bench._measure import Result, machine

TIMES = 15


def run() -> Result:
    """Median of several starts of each, in turn."""
    taken: dict[str, list[float]] = {"ours": [], "baseline": []}
    commands = {"ours": ["-m", "ftcore", "--help"], "baseline": ["-c", "pass"]}
    for number in range(TIMES + 1):
        for name, words in commands.items():
            clock = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True)
            if number:  # the first one reads from disk
                taken[name].append(time.perf_counter() - clock)
    ours, baseline = (statistics.median(taken[name]) for name in ("ours", "baseline"))
    return Result(
        "startup", "s, less is better", ours, baseline, ours / baseline, TIMES, 0, machine(), "python -c pass"
    )
