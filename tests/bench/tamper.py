"""How many of two hundred random changes by somebody else's hand are found, in a real ring of a tiny model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench._measure import Result, machine

CHANGES = int(os.environ.get("FTCORE_TAMPER_CHANGES", "200"))


def run() -> Result:
    """Share of the changes of what evidence claims that were found; the baseline is 1, all of them."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        env = {**os.environ, "FTCORE_TAMPER_CHANGES": str(CHANGES), "FTCORE_TAMPER_REPORT": str(report)}
        words = ["-m", "pytest", "-q", "-p", "no:xdist", "tests/unit/test_tamper.py"]
        done = subprocess.run([sys.executable, *words], env=env, check=False, capture_output=True, text=True)
        if not report.exists():
            sys.exit(done.stdout[-4000:])
        figures = json.loads(report.read_text(encoding="utf-8"))
    claimed = figures["changes"] - figures["idle"]
    note = (
        f"all of them; {figures['changes']} changes, {figures['found']} found, {figures['idle']} of nothing that "
        f"evidence claims, {len(figures['missed'])} missed {figures['missed'][:5]}; {len(figures['unnamed'])} times "
        f"the first thing said was about something else {figures['unnamed'][:5]}; {len(figures['alarms'])} false "
        f"alarms in "
        f"{figures['changes'] + 1} looks at the ring as nobody touched it"
    )
    share = figures["found"] / claimed if claimed else 0.0
    return Result("tamper", "share found, more is better", share, 1.0, share, figures["changes"], 0, machine(), note)
