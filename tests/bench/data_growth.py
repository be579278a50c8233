"""What ten times the rows cost in time, with all that a recipe does by default."""

from __future__ import annotations

import tempfile
import time

from ftcore.sections import Prepare
from tests.bench._corpus import context, fresh, make
from tests.bench._measure import Result, machine

ROWS = 500_000


def run() -> Result:
    """Seconds for ten times the rows over seconds for the rows; the aim is at most 11."""
    seconds = {}
    peak = 0
    for rows in (ROWS // 10, ROWS):
        with tempfile.TemporaryDirectory() as root:
            fresh(make, rows, root)
            seconds[rows], peak = fresh(_ours, root)
    (few, few_cpu), (many, many_cpu) = seconds.values()
    note = (
        f"baseline: seconds for {ROWS // 10:,} rows; {ROWS / many:,.0f} rows/s with near duplicates and personal data; "
        f"processor time {many_cpu / few_cpu:.2f} times, which other work on the machine does not touch"
    )
    return Result("data_growth", "s, ratio at most 11", many, few, many / few, ROWS, peak, machine(), note)


def _ours(root: str) -> tuple[float, float]:
    import pyarrow.parquet  # noqa: F401

    from ftcore.cleaning.personal import Finder
    from ftcore.steps import prepare

    Finder(("EMAIL_ADDRESS",), (), "").find(["warm@example.org"])  # one process's imports are no cost of rows
    # With workers the few rows would be cleaned by one process and the many by two: nothing to compare.
    given = context(root, Prepare(workers=1))
    clock, processor = time.perf_counter(), time.process_time()
    prepare.run(given)
    return time.perf_counter() - clock, time.process_time() - processor
