"""Near duplicates, ours beside ``datasets`` with datasketch in a loop, and how many of the planted are found."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from ftcore.recipe.sections import Prepare
from tests.bench._corpus import EXACT_ONLY, NOTHING, context, fresh, make
from tests.bench._measure import Result, machine

ROWS, BASELINE_ROWS = 1_000_000, 20_000


def run() -> Result:
    """Rows a second through exact and near dedup; the baseline on fewer rows, which favours it."""
    with tempfile.TemporaryDirectory() as root:
        truth, _ = fresh(make, ROWS, root)
        (seconds, figures, kept), peak = fresh(_ours, root)
        (exact, _, _), _ = fresh(_ours, root, EXACT_ONLY)
        baseline, _ = fresh(_datasketch, root)
    found = sum(1 for one, other in truth["near"] if one not in kept or other not in kept)
    removed = figures["near_duplicates"] + figures["leaked"]
    note = (
        f"datasets + datasketch on {BASELINE_ROWS:,} rows; near dedup adds {seconds - exact:.0f} s to {exact:.0f} s; "
        f"recall {found / len(truth['near']):.2%} of {len(truth['near']):,} pairs planted with Jaccard >= .8, "
        f"{removed:,} rows removed of which {figures['leaked']:,} would have leaked; every removal was verified"
    )
    ours = ROWS / seconds
    return Result("near_dedup", "rows/s, more is better", ours, baseline, ours / baseline, ROWS, peak, machine(), note)


def _ours(root: str, prepare: Prepare | None = None) -> tuple[float, dict[str, Any], set[str]]:
    import ftfy  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import rensa  # noqa: F401

    from ftcore.steps import prepare as step
    from ftcore.store import parts

    given = context(root, prepare or Prepare(personal_data=NOTHING))
    clock = time.perf_counter()
    outcome = step.run(given)
    seconds = time.perf_counter() - clock
    kept = {row for table in parts.read(given.folder / "rows", ["row_id"]) for row in table["row_id"].to_pylist()}
    return seconds, outcome.figures, kept


def _datasketch(root: str) -> float:
    import datasets
    from datasketch import MinHash, MinHashLSH

    from ftcore.data.cleaning.near import PERMUTATIONS, shingles
    from ftcore.data.snapshot import text_key

    files = sorted(map(str, Path(root, "bench/runs/bench/ingest/rows").glob("*.parquet")))
    datasets.disable_progress_bars()
    rows = datasets.load_dataset("parquet", data_files=files[0], cache_dir=f"{root}/hf", split="train")
    rows = rows.select(range(BASELINE_ROWS))
    clock = time.perf_counter()
    index, kept = MinHashLSH(threshold=0.8, num_perm=PERMUTATIONS), []
    for number, row in enumerate(rows):
        signature = MinHash(num_perm=PERMUTATIONS)
        signature.update_batch(shingles(text_key(row["text"]).encode()))
        if not index.query(signature):
            index.insert(str(number), signature)
            kept.append(number)
    rows.select(kept)
    return BASELINE_ROWS / (time.perf_counter() - clock)
