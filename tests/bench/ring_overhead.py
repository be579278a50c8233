"""How much of the ring's wall time is not the steps' own work: under Airflow, and run by ``ftcore run`` without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ftcore import settings
from tests.bench._measure import Result, machine


def run() -> Result:
    """Share of the wall time outside the steps' own work: scheduling, process starts, imports."""
    conf = settings.load()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "cache").symlink_to(conf.cache.resolve(), target_is_directory=True)
        env = {**os.environ, "FTCORE_HOME": str(home)}
        clock = time.perf_counter()
        records = json.loads(_ftcore(env, "run", "sentiment", "--json"))
        wall_s = time.perf_counter() - clock
        baseline = 1 - sum(record["work_s"] for record in records) / wall_s
        summary = json.loads(_ftcore(env, "demo", "--json"))
    note = f"ftcore run without Airflow; the ring took {summary['time']['ring_wall_s']:.0f} s"
    ours, rows = summary["time"]["outside_share"], summary["snapshots"][1]["rows"]
    unit = "share of wall time, less is better"
    return Result("ring_overhead", unit, ours, baseline, ours / baseline, rows, summary["peak_bytes"], machine(), note)


def _ftcore(env: dict[str, str], *words: str) -> str:
    command = [sys.executable, "-m", "ftcore", *words]
    return subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
