"""Jobs of a test: made of their parts by name, and changed in one of them."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ftcore.recipe.training_sections import Train
from ftcore.training.job import Data, Job, Run, Trained

PARTS = {"trained": Trained, "data": Data, "run": Run}


def made(model: Any, tokenizer: Any, rows: Any, collate: Any, config: Train, folder: Path, **more: Any) -> Job:
    """A job of these, and of further fields of its parts."""
    first = Job(
        trained=Trained(model=model, tokenizer=tokenizer),
        data=Data(rows=rows, collate=collate),
        run=Run(config=config, folder=folder),
    )
    return changed(first, **more)


def changed(job: Job, **given: Any) -> Job:
    """The same with other fields, each wherever it is."""
    for part, kind in PARTS.items():
        own = {field.name for field in fields(kind)} & given.keys()
        job = replace(job, **{part: replace(getattr(job, part), **{name: given.pop(name) for name in own})})
    assert not given, given
    return job
