"""What ten times the rows cost in time, prepared and validated with all that a recipe does by default."""

from __future__ import annotations

import tempfile
import time

from ftcore.recipe.sections import Prepare
from tests.bench._corpus import context, fresh, keep, make
from tests.bench._measure import Result, machine

ROWS = 1_000_000


def run() -> Result:
    """Seconds for ten times the rows over seconds for the rows; the aim is at most 11, within 2 GiB."""
    seconds, peaks = {}, (0, 0)
    for rows in (ROWS // 10, ROWS):
        with tempfile.TemporaryDirectory() as root:
            fresh(make, rows, root)
            prepared, prepare_peak = fresh(_prepare, root)
            validated, validate_peak = fresh(_validate, root)
        seconds[rows], peaks = (prepared, validated), (prepare_peak, validate_peak)
    few, many = (sum(both) for both in seconds.values())
    prepared, validated = seconds[ROWS]
    note = (
        f"baseline: seconds for {ROWS // 10:,} rows; with near duplicates and personal data prepare takes "
        f"{ROWS / prepared:,.0f} rows/s (peak {peaks[0] / 2**20:,.0f} MiB), validate {ROWS / validated:,.0f} rows/s "
        f"(peak {peaks[1] / 2**20:,.0f} MiB)"
    )
    return Result("data_growth", "s, ratio at most 11", many, few, many / few, ROWS, max(peaks), machine(), note)


def _prepare(root: str) -> float:
    import pyarrow.parquet  # noqa: F401

    from ftcore.data.cleaning.personal import Finder
    from ftcore.steps import prepare

    Finder(("EMAIL_ADDRESS",), (), "").find(["warm@example.org"])  # one process's imports are no cost of rows
    # With workers the few rows would be cleaned by one process and the many by two: nothing to compare.
    given = context(root, Prepare(workers=1))
    clock = time.perf_counter()
    outcome = prepare.run(given)
    seconds = time.perf_counter() - clock
    keep(given, outcome)
    return seconds


def _validate(root: str) -> float:
    import great_expectations  # noqa: F401
    import pandas as pd  # noqa: F401

    from ftcore.data.cleaning.personal import Finder
    from ftcore.steps import validate

    Finder(("EMAIL_ADDRESS",), (), "").find(["warm@example.org"])
    given = context(root, Prepare(workers=1), "validate")
    clock = time.perf_counter()
    validate.run(given)
    return time.perf_counter() - clock
