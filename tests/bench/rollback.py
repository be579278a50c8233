"""How long ``ftcore models rollback`` takes, from the shell to the end, against a real MLflow server."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench._measure import Result, machine
from tests.bench._registry import judged, registry

TIMES = 5
SIZE = 23_000_000
"""Bytes of what serves: those of MiniLM in int8. A rollback reads and hashes them."""
BY_HAND = "from mlflow import MlflowClient; import os; \
MlflowClient(os.environ['FTCORE_TRACKING_URI']).set_registered_model_alias('bench', 'champion', '1')"


def run() -> Result:
    """Median of several rollbacks; the baseline moves the alias and does nothing else."""
    taken: dict[str, list[float]] = {"ours": [], "baseline": []}
    with tempfile.TemporaryDirectory() as folder, registry(Path(folder)) as registrar:
        for number in (1, 2):
            judged(registrar, number, os.urandom(SIZE))
            registrar.promote(number, "bench", "first", override=True)
        rollback = ["-m", "ftcore", "models", "rollback", "bench", "--reason", "measured"]
        for _ in range(TIMES):
            for name, words in {"ours": rollback, "baseline": ["-c", BY_HAND]}.items():
                clock = time.perf_counter()
                subprocess.run([sys.executable, *words], check=True, capture_output=True)
                taken[name].append(time.perf_counter() - clock)
            champion = registrar.tracking.alias("champion")
            assert champion is not None
            assert champion.number == 1, "version 1 is back"
            assert registrar.held(), "the loop is held"
            registrar.release("bench")
            registrar.promote(2, "bench", "again", override=True)
    ours, baseline = (statistics.median(taken[name]) for name in ("ours", "baseline"))
    note = (
        f"a Python that moves the alias by MLflow's client; slowest rollback {max(taken['ours']):.1f} s, 10 s allowed"
    )
    return Result("rollback", "s, less is better", ours, baseline, ours / baseline, TIMES, 0, machine(), note)
