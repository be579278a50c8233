"""The ledger as a file: CSV for a spreadsheet, JSON for a program."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ftcore.registry.verdict import rules_of

COLUMNS = ("recipe", "n", "at", "kind", "run_id", "decision", "version", "by", "reason")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Beginnings that a spreadsheet would calculate."""


def as_csv(lines: Sequence[Mapping[str, Any]]) -> str:
    """One row for each line; what has no column is in ``more``, as JSON."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\r\n")
    writer.writerow([*COLUMNS, "more"])
    for line in lines:
        more = {key: value for key, value in line.items() if key not in COLUMNS}
        told = {**line, "reason": "; ".join(rules_of(line))}
        row = [*(told.get(name, "") for name in COLUMNS), json.dumps(more, ensure_ascii=False, default=str)]
        writer.writerow([_safe(value) for value in row])
    return sink.getvalue()


def as_json(lines: Sequence[Mapping[str, Any]]) -> str:
    """The lines as the ledger has them, each with its ``recipe``."""
    return json.dumps(list(lines), indent=2, ensure_ascii=False, default=str) + "\n"


def _safe(value: Any) -> Any:
    """A cell of one line that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    text = "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in value)
    return f"'{text}" if value.startswith(FORMULA) else text
