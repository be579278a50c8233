"""A step that is killed at any moment can be run again; two runs of one recipe never mix."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from ftcore import settings
from ftcore.data import snapshot
from ftcore.pipeline import RING
from ftcore.recipe import reading
from ftcore.store import store
from ftcore.store.store import read_json
from ftcore.tracking.client import Tracking
from tests import forks
from tests.integration.conftest import write_recipe

KILLS = 2
"""Times that each step is killed before it may finish."""
LONGEST_S = {"validate": 3.0, "train": 3.0, "export": 2.0, "evaluate": 2.0}
"""A kill comes before that; half a second in all other steps, as long as they take."""


def _start(*words: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ftcore", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **env},
    )


def _run(out: Path, *words: str) -> int | None:
    """Run a command to its end; its exit code."""
    process = forks.start(forks.ftcore, *words, out=out)
    process.join(120)
    return process.exitcode


@pytest.mark.timeout(600)
def test_every_step_survives_kill_9(home: Path, tiny: Path, tmp_path: Path) -> None:
    """Processes that have imported what they need beforehand, so that every kill falls into a step's work."""
    small = write_recipe(
        home, base=str(tiny / "model")
    )  # what is killed is the steps; how good a model is, others test
    chosen, out = random.Random(5), tmp_path / "out"
    steps = [step for chain in ("data", "finetune") for step in RING[chain]]
    killed = Counter[str]()
    for step in steps:
        words = ("step", step, str(small), "--run", "r1", "--json")
        for _ in range(KILLS):
            process = forks.start(forks.ftcore, *words, out=out)
            process.join(chosen.uniform(0.05, LONGEST_S.get(step, 0.5)))
            if process.is_alive():
                os.killpg(process.pid, signal.SIGKILL)
                killed[step] += 1
            process.join()
        done = forks.start(forks.ftcore, *words, out=out)
        done.join(120)
        assert done.exitcode == 0, f"{step}: {out.with_name('out.err').read_text()}"
        assert json.loads(out.read_text())["proceed"], out.read_text()

    conf = settings.load()
    shelf = store.shelf(conf, "small")
    versions = Tracking(conf, "small").versions()
    assert sum(killed.values()) >= len(steps), f"too few kills to prove anything: {killed}"
    assert [version.number for version in versions] == [1], "one version, however often train was killed"
    assert Counter(line["kind"] for line in shelf.ledger()) == {"plan": 1, "gate": 1, "approve": 1, "promote": 1}
    champion = Tracking(conf, "small").alias("champion")
    assert champion is not None
    assert champion.number == 1
    assert snapshot.current(shelf) == champion.snapshot
    assert snapshot.read(shelf, champion.snapshot).num_rows > 300
    left = list(Path(conf.store_root).rglob("*.tmp"))
    assert all(path.name.startswith(".") for path in left), "half-written files are never under a real name"


def test_the_second_run_of_a_recipe_waits_or_is_refused(small: Path) -> None:
    conf = settings.load()
    shelf = store.shelf(conf, reading.read(small).name)
    with shelf.lock("run", 0):
        refused = _start("run", str(small), "--only", "data", FTCORE_LOCK_TIMEOUT_S="0.5")
        _, log = refused.communicate(timeout=60)
        assert refused.returncode == 75, log
        assert "another process is at work on run of small" in log
        waiting = _start("run", str(small), "--only", "data", "--run", "second", FTCORE_LOCK_TIMEOUT_S="60")
        deadline = time.monotonic() + 30
        while "waiting up to" not in (line := waiting.stderr.readline()):
            assert time.monotonic() < deadline, line
        assert snapshot.current(shelf) is None, "it has done nothing yet"
    waiting.communicate(timeout=120)
    assert waiting.returncode == 0
    assert snapshot.current(shelf) is not None


def test_rejected_data_leave_the_store_as_it_was(small: Path, tmp_path: Path) -> None:
    assert _run(tmp_path / "good", "run", str(small), "--only", "data", "--run", "good") == 0
    conf = settings.load()
    shelf = store.shelf(conf, "small")
    before = read_json(shelf.root / "snapshots" / "current.json")
    bad = small.with_name("bad.csv")
    bad.write_text(
        "text,label\n" + "".join(f"sentence number {i},{'maybe' if i % 2 else 'positive'}\n" for i in range(400))
    )
    small.write_text(small.read_text().replace("max_rows: 560", "max_rows: 560\n- kind: files\n  path: bad.csv"))
    code = _run(tmp_path / "bad", "run", str(small), "--run", "bad")
    log = (tmp_path / "bad.err").read_text()
    assert code == 3, log
    assert "the data of small is rejected" in log
    assert "is none of task.labels" in log or "maybe" in log, log
    assert "report:" in log
    assert read_json(shelf.root / "snapshots" / "current.json") == before
    assert shelf.ledger() == [], "nothing was planned, nothing trained"
