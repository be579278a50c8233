"""A million rows normalised, without exact duplicates, split, written and validated, next to pandas and polars."""

from __future__ import annotations

import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.bench._corpus import EXACT_ONLY, context, fresh, keep, make
from tests.bench._measure import Result, machine

ROWS = 1_000_000


def run() -> Result:
    """Rows a second; the peak is ours, workers included."""
    with tempfile.TemporaryDirectory() as root:
        truth, _ = fresh(make, ROWS, root)
        (ours, removed, kept), peak = fresh(_ours, root)
        (baseline, _), pandas_peak = fresh(_pandas, root)
        polars = fresh(_polars, root) if find_spec("polars") else None
        validated, validate_peak = fresh(_validate, root)
    found = sum(one not in kept or other not in kept for one, other in truth["exact"])
    note = (
        f"plain pandas (peak {pandas_peak / 2**20:,.0f} MiB); {_compared(polars, ours)}; "
        f"of {len(truth['exact']):,} exact duplicates planted "
        f"{found / len(truth['exact']):.2%} found, {removed:,} rows dropped, each because its text is there; "
        f"validate and publish {ROWS / validated:,.0f} rows/s, "
        f"peak {validate_peak / 2**20:,.0f} MiB"
    )
    return Result(
        "data_prepare",
        "rows/s, more is better",
        ROWS / ours,
        ROWS / baseline,
        baseline / ours,
        ROWS,
        peak,
        machine(),
        note,
    )


def _compared(polars: tuple[float, int] | None, ours: float) -> str:
    """Rows a second of polars, and ours over them."""
    if polars is None:
        return "polars is not installed (pip install polars)"
    seconds, peak = polars
    return (
        f"polars with the same cleaning on all cores {ROWS / seconds:,.0f} rows/s (peak {peak / 2**20:,.0f} MiB "
        f"without its workers), ours {seconds / ours:.2f} times as fast"
    )


def _ours(root: str) -> tuple[float, int, set[str]]:
    import ftfy  # noqa: F401 - the pipeline imports what a step needs before its clock starts, too
    import pyarrow.parquet  # noqa: F401

    from ftcore.steps import prepare
    from ftcore.store import parts

    given = context(root, EXACT_ONLY)
    clock = time.perf_counter()
    outcome = prepare.run(given)
    seconds = time.perf_counter() - clock
    keep(given, outcome)
    kept = {row for table in parts.read(given.folder / "rows", ["row_id"]) for row in table["row_id"].to_pylist()}
    return seconds, outcome.figures["duplicates"], kept


def _pandas(root: str) -> tuple[float, int]:
    import ftfy
    import pandas as pd

    from ftcore.data.snapshot import text_key
    from ftcore.data.split import SplitKeys, assign_split

    clock = time.perf_counter()
    frame = pd.concat(
        [pd.read_parquet(p) for p in sorted(Path(root, "bench/runs/bench/ingest/rows").glob("*.parquet"))]
    )
    frame["text"] = frame["text"].map(lambda text: " ".join(ftfy.fix_text(text).split()))
    frame["key"] = frame["text"].map(text_key)
    frame = frame.sort_values(["observed_at", "row_id"])
    groups = frame.groupby("key")
    frame = frame[groups["label"].transform("nunique") == 1].drop_duplicates("key").copy()
    keys = SplitKeys(b"bench").of([None] * len(frame), frame["text"])
    frame["split"] = [assign_split(key, EXACT_ONLY) for key in keys]
    for split, rows in frame.sort_values("row_id").groupby("split"):
        rows.drop(columns="key").to_parquet(Path(root) / f"{split}.parquet")
    return time.perf_counter() - clock, len(frame)


def _cleaned(texts: list[str]) -> list[tuple[str, str, str]]:
    """Text, key of duplicates and split of each: what needs Python, done by workers."""
    import ftfy

    from ftcore.data.snapshot import text_key
    from ftcore.data.split import SplitKeys, assign_split

    found = [" ".join(ftfy.fix_text(text).split()) for text in texts]
    keys = SplitKeys(b"bench").of([None] * len(found), found)
    return [(text, text_key(text), assign_split(key, EXACT_ONLY)) for text, key in zip(found, keys, strict=True)]


def _polars(root: str) -> float:
    from concurrent.futures import ProcessPoolExecutor

    import ftfy  # noqa: F401
    import polars as pl

    clock = time.perf_counter()
    frame = pl.read_parquet(str(Path(root, "bench/runs/bench/ingest/rows/*.parquet")))
    texts = frame["text"].to_list()
    pieces = [texts[start : start + 20_000] for start in range(0, len(texts), 20_000)]
    with ProcessPoolExecutor() as pool:
        made = [row for piece in pool.map(_cleaned, pieces) for row in piece]
    columns = dict(zip(("text", "key", "split"), map(list, zip(*made, strict=True)), strict=True))
    frame = frame.with_columns(**{name: pl.Series(values) for name, values in columns.items()})
    frame = frame.sort("observed_at", "row_id").filter(pl.col("label").n_unique().over("key") == 1)
    frame = frame.unique("key", keep="first", maintain_order=True).sort("row_id")
    for (split,), rows in frame.partition_by("split", as_dict=True).items():
        rows.drop("key").write_parquet(Path(root) / f"{split}.polars.parquet")
    return time.perf_counter() - clock


def _validate(root: str) -> float:
    import great_expectations  # noqa: F401
    import pandas as pd  # noqa: F401

    from ftcore.steps import validate

    given: Any = context(root, EXACT_ONLY, "validate")
    clock = time.perf_counter()
    validate.run(given)
    return time.perf_counter() - clock
