"""Steps of a ring in which it is people that matter: it trains and judges in no time; what they do is real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NAME = "decided"
"""What the names of its recipes begin with."""
REAL = {"approve", "promote"}


def is_played(words: list[str]) -> bool:
    """Whether it is a step of such a ring that is not the real one."""
    return Path(words[2]).stem.startswith(NAME) and words[1] not in REAL


def run(words: list[str]) -> int:
    """Run ``step NAME RECIPE --run RUN_ID``; returns its exit code."""
    from ftcore import settings
    from ftcore.recipe import reading as recipe
    from ftcore.registry.judgement import record_verdict
    from ftcore.registry.promotion import ModelRegistry
    from ftcore.registry.verdict import Rule, Verdict
    from ftcore.store import store
    from ftcore.store.records import Record, now
    from ftcore.tracking.client import Tracking

    step, file, run_id = words[1], Path(words[2]), words[4]
    read, conf = recipe.read(file), settings.load()
    shelf, tracking, figures = store.shelf(conf, read.name), Tracking(conf, read.name), dict[str, Any]()
    if step == "gate":
        version = tracking.register(run_id, tracking.open_run(run_id, {}), "model", {})
        rule = Rule(gate="threshold", passed=True, reason="0.9 reaches 0.8", measured=0.9, bound=0.8, rows=900)
        verdict = Verdict(passed=True, rules=(rule,), candidate=version.number, champion=None)
        path = shelf.folder(run_id, "gate") / "verdict.json"
        store.write_json(path, verdict.to_json())
        record_verdict(ModelRegistry(read, shelf, tracking), run_id, verdict, store.hash_file(path))
        figures = verdict.to_json()
    record = Record(step=step, recipe=read.name, run_id=run_id, fingerprint="", started_at=now(), figures=figures)
    shelf.write_record(record)
    print(record.model_dump_json())
    return 0
