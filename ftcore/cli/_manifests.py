"""Manifests and differences of snapshots as people read them in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ftcore.cli._shared import console
from ftcore.store.times import moment

SHOWN = 20
"""Most labels, sources and reasons that are listed; JSON has all."""
LEFT_OUT = {
    "duplicates": "exact duplicates",
    "near_duplicates": "near duplicates",
    "leaked": "like a row of another split",
    "dropped_for_personal_data": "dropped for personal data",
    "quarantined": "quarantined",
    "suppressed": "of forgotten subjects",
}
REVIEW = {
    "doubtful_labels": "doubtful labels",
    "near_duplicate_label_conflicts": "near duplicate with another label",
    "length_outliers": "of unusual length",
    "reused_ids": "reused ids",
}


def show(manifest: Mapping[str, Any], current: str | None) -> None:
    """Print a manifest: rows read, rows left out with the reasons, rows per split.

    Args:
        manifest: of a snapshot; one of an earlier version lacks some figures.
        current: id of the recipe's current snapshot.
    """
    identity = str(manifest.get("snapshot", ""))
    came = f" of {manifest['rows_in']:,} that came in" if "rows_in" in manifest else ""
    filtered = {f"{name} (where)": count for name, count in (manifest.get("filtered_by_where") or {}).items()}
    lines = [
        ("snapshot", f"{identity}{', current' if identity == current else ''}"),
        ("published", f"{moment(manifest.get('created_at', ''))} by run {manifest.get('run_id', 'unknown')}"),
        ("rows", f"{manifest['rows']:,}{came}"),
        ("splits", _counts(manifest.get("splits", {}))),
        ("newest row", manifest.get("newest")),
        ("left out", _named(LEFT_OUT, manifest)),
        ("filtered", _counts(filtered)),
        ("quarantined", "\n".join(_most(_ranked(manifest.get("quarantine_reasons", {})), "{1:,} × {0}"))),
        ("to look at", _named(REVIEW, manifest)),
        ("sources", "\n".join(_most(_ranked(manifest.get("sources", {})), "{0} {1:,}"))),
        ("labels", "\n".join(_most(_labels(manifest), "{0} {1:,}{2}"))),
        ("personal data", _counts(manifest.get("personal_data", {}))),
        ("looked for", ", ".join(manifest.get("removed_entities", ()))),
        ("warnings", "\n".join(manifest.get("warnings", ()))),
        ("checks not met", "\n".join(one["what"] for one in manifest.get("checks", ()) if not one["met"])),
        ("files", f"{len(manifest.get('files', {})):,}, each with its hash in the manifest (--json)"),
    ]
    _print(lines)


def difference(found: Mapping[str, Any]) -> None:
    """Print what ``snapshot.diff`` found."""
    counts = {name: found[name] for name in ("kept", "added", "removed", "changed", "moved")}
    shares = [(label, *two) for label, two in found["labels"].items() if two[0] != two[1]]
    shares.sort(key=lambda one: -abs(one[2] - one[1]))
    lines = [
        ("from", found["before"]),
        ("to", found["after"]),
        *((name, f"{count:,} rows") for name, count in counts.items()),
        ("", "! rows must never move to another split" if found["moved"] else ""),
        ("label shares", "\n".join(_most(shares, "{0} {1:.1%} → {2:.1%}")) or "the same"),
        *((f"{name}, e.g.", ", ".join(ids)) for name, ids in found["examples"].items() if ids),
    ]
    _print(lines)


def _print(lines: Iterable[tuple[str, Any]]) -> None:
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in lines:
        if value:
            table.add_row(name, str(value))
    console(markup=False).print(table)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _named(names: Mapping[str, str], manifest: Mapping[str, Any]) -> str:
    found = {words: manifest.get(name) for name, words in names.items()}
    sums = {words: sum(one.values()) if isinstance(one, Mapping) else one for words, one in found.items()}
    return ", ".join(f"{count:,} {words}" for words, count in sums.items() if count)


def _ranked(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def _labels(manifest: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Labels with their rows, by split where the manifest knows it; the commonest first."""
    by_split: Mapping[str, Mapping[str, int]] = manifest.get("labels_by_split") or {}
    if not by_split:
        return [(name, count, "") for name, count in _ranked(manifest.get("labels", {}))]
    found = [(label, sum(rows.values()), f" ({_counts(rows)})") for label, rows in by_split.items()]
    return sorted(found, key=lambda one: (-one[1], one[0]))


def _most(rows: Sequence[tuple[Any, ...]], form: str) -> list[str]:
    shown = [form.format(*one) for one in rows[:SHOWN]]
    return [*shown, f"and {len(rows) - SHOWN:,} more"] if len(rows) > SHOWN else shown
