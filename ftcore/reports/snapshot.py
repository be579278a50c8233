"""The page of a snapshot: what came in, what was left out and why, what the data look like, and the verdict.

It holds examples of rows, never a value of personal data: whatever the recipe keeps in the texts is masked here, too.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot
from ftcore.data.cleaning.personal import cleaner
from ftcore.data.conversations import turns as conversation
from ftcore.data.tally import tally
from ftcore.recipe.sections import PersonalData
from ftcore.reports import rendering
from ftcore.reports._words import ACTIONS, ENTITIES, FAULT, FILTERED, LEFT_OUT, PERIODS, REVIEW, VERDICTS
from ftcore.store import layout

if TYPE_CHECKING:
    import jinja2
    import pyarrow as pa

    from ftcore.recipe.model import Recipe
    from ftcore.store.store import RecipeStore

FILE = "report.html"
SHOWN = 3
"""Examples for each reason."""
SHOWN_CHARACTERS = 180
SHOWN_REASONS = 12
SHOWN_LABELS = 60
"""Labels whose rows are listed by split."""
COLOURS = 8
"""Labels with a colour of their own; the rest share one."""
OTHERS = "all others"
UNKNOWN: dict[str, Any] = {
    "read": {},
    "rejections": [],
    "warnings": [],
    "checks": [],
    "change": None,
    "data_docs": "",
    "data_docs_as_a_whole": "",
    "git_commit": "",
    "recipe_sha256": "",
    "versions": {},
    "label_error_model": "",
    "previous": None,
    "labels_by_split": {},
    "label_rule": "",
}
"""What a manifest may lack that was written by an earlier version."""
Examples = dict[str, list[dict[str, Any]]]


def writer(
    recipe: Recipe, quarantine: pa.Table, review: pa.Table | None, before: dict[str, Any] | None
) -> Callable[[dict[str, Any]], bytes]:
    """What makes the page of a manifest.

    Args:
        recipe: names the product.
        quarantine: the rows left out, with ``reason``.
        review: rows to look at, with ``kind``, ``like_text``, ``score`` and ``detail``; None where there are none.
        before: manifest of the snapshot before; None for the first one.
    """
    return lambda manifest: page(manifest, _examples(manifest, quarantine, review), before, recipe.description)


def published(shelf: RecipeStore, recipe: Recipe, identity: str) -> bytes:
    """The page of a published snapshot: the one that was sealed with it, or, where it is older, one made now.

    Raises:
        DataRejectedError: there is no such snapshot, or it was changed.
    """
    manifest = snapshot.manifest(shelf, identity)
    if FILE in manifest["files"]:
        return snapshot.file(shelf, identity, FILE)
    if "shape" not in manifest:
        manifest["shape"] = tally(
            snapshot.batches(shelf, identity), labelled=manifest.get("target", "label") == "label"
        ).shape
    quarantine, review = (
        _table(snapshot.file(shelf, identity, name)) if name in manifest["files"] else None
        for name in ("quarantine.parquet", "review.parquet")
    )
    previous = str(manifest.get("previous") or "")
    known = previous and (snapshot.folder(shelf, previous) / "manifest.json").exists()
    before = snapshot.manifest(shelf, previous) if known else None
    return page(manifest, _examples(manifest, quarantine, review), before, recipe.description)


def page(manifest: dict[str, Any], examples: Examples, before: dict[str, Any] | None, description: str = "") -> bytes:
    """A self-contained HTML page, UTF-8.

    Args:
        manifest: of the snapshot, or of the draft that was rejected: then it has ``rejections`` and no ``snapshot``.
        examples: masked, by reason or kind of review.
        before: manifest of the snapshot before.
        description: of the recipe.
    """
    manifest = UNKNOWN | manifest
    view = {
        "manifest": manifest,
        "description": description,
        "identity": manifest.get("snapshot"),
        "created": datetime.fromisoformat(manifest.get("published_at") or manifest["created_at"]),
        "up": "../" * (4 if manifest.get("publication") else 2 if "snapshot" in manifest else 3),
        "left_out": _left_out(manifest, examples),
        "labels": _parts(manifest),
        "by_label": _by_label(manifest["labels_by_split"]),
        "lengths": _heights(manifest["shape"]["lengths"], before),
        "days": _days(manifest["shape"]["days"]),
        "period": PERIODS[len(manifest["shape"]["days"][0][0])] if manifest["shape"]["days"] else "",
        "compared": _compared(manifest, before),
        "before": before,
        "checks": _checks(manifest["checks"]),
        "personal": _personal(manifest),
        "reviews": _reviews(manifest, examples),
    }
    return _template().render(view).encode()


@cache
def _template() -> jinja2.Template:
    environment = rendering.pages()
    environment.filters |= {
        "n": lambda value: f"{value:,}",
        "rows": lambda value: "1 row" if value == 1 else f"{value:,} rows",
        "percent": lambda value: f"{value:.1%}",
        "points": lambda value: f"{value * 100:+.1f} points",
        "signed": lambda value: f"{value:+,}" if value else "0",
        "moment": lambda value: f"{value.day} {value:%B %Y, %H:%M} UTC",
    }
    return environment.get_template("snapshot.html.jinja")


def _table(data: bytes) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.read_table(io.BytesIO(data))


def _examples(manifest: dict[str, Any], quarantine: pa.Table | None, review: pa.Table | None) -> Examples:
    """A few rows by reason and by kind of review, masked."""
    import pyarrow.compute as pc

    found: Examples = {}
    for table, column in ((quarantine, "reason"), (review, "kind")):
        if table is not None:
            for value in pc.unique(table[column].drop_null()).to_pylist():
                found[layout.RENAMED.get(value, value)] = (
                    table.filter(pc.equal(table[column], value)).slice(0, SHOWN).to_pylist()
                )
    settings = PersonalData.model_validate(manifest["settings"]["prepare"]["personal_data"])
    everything = PersonalData(
        entities=dict.fromkeys(settings.actions, "mask"), phone_regions=settings.phone_regions, model=settings.model
    )
    mask = cleaner(everything, {}, manifest["recipe"])
    rows = [row for some in found.values() for row in some]
    for name in ("text", "context", "like_text", "label", "detail"):
        cleaned, _ = mask.clean([conversation.readable(str(row.get(name) or "")) for row in rows])
        for row, text in zip(rows, cleaned, strict=True):
            row[name] = _short(text)
    return found


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _left_out(manifest: dict[str, Any], examples: Examples) -> list[dict[str, Any]]:
    """What was left out, the most first, so that with the rows that stayed it adds up to the rows that came in."""
    found = []
    for name, (what, why, kind) in LEFT_OUT.items():
        if count := manifest.get(name, 0):
            found.append({"what": what, "why": why, "fault": False, "rows": count, "examples": examples.get(kind, [])})
    found.sort(key=lambda one: -one["rows"])
    reasons = sorted(manifest["quarantine_reasons"].items(), key=lambda one: -one[1])
    for reason, count in reasons[:SHOWN_REASONS]:
        fault = reason not in manifest.get("filtered", {})
        found.append(
            {
                "what": f"Set aside: {reason}",
                "why": FAULT if fault else FILTERED,
                "fault": fault,
                "rows": count,
                "examples": examples.get(reason, []),
            }
        )
    if rest := sum(count for _, count in reasons[SHOWN_REASONS:]):
        found.append({"what": "Set aside for other reasons", "why": FAULT, "fault": True, "rows": rest, "examples": []})
    return found


def _parts(manifest: dict[str, Any]) -> dict[str, Any]:
    """Shares of the labels by split, the commonest labels first; without labels each split's share of the rows."""
    balance: dict[str, dict[str, int]] = manifest["shape"]["balance"]
    if not balance:
        total = manifest["rows"] or 1
        splits = [
            {"name": split, "rows": rows, "shares": [("rows", rows / total)]}
            for split, rows in manifest["splits"].items()
        ]
        return {"names": ["rows"], "splits": splits, "labelled": False}
    totals: Counter[str] = Counter()
    for counts in balance.values():
        totals.update(counts)
    names = sorted(totals, key=lambda label: (-totals[label], label))
    names = names if len(names) <= COLOURS else [*names[: COLOURS - 1], OTHERS]
    splits = []
    for split in (one for one in snapshot.SPLITS if one in balance):
        rows = sum(balance[split].values())
        shown = {name: balance[split].get(name, 0) for name in names if name != OTHERS}
        if OTHERS in names:
            shown[OTHERS] = rows - sum(shown.values())
        splits.append({"name": split, "rows": rows, "shares": [(name, count / rows) for name, count in shown.items()]})
    return {"names": names, "splits": splits, "labelled": True}


def _by_label(by_split: dict[str, dict[str, int]]) -> dict[str, Any]:
    """Rows of each label in each split, the rarest first, as they need a look; the commonest are only counted."""
    ranked = sorted(by_split.items(), key=lambda one: (min(one[1].values()), sum(one[1].values())))
    return {"rows": ranked[:SHOWN_LABELS], "more": max(0, len(ranked) - SHOWN_LABELS), "splits": snapshot.SPLITS}


def _heights(bars: list[list[int]], before: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Bars of the lengths, as shares of the rows, beside the shares in the snapshot before."""
    rows = sum(count for *_, count in bars) or 1
    old = {low: count for low, _, count in (before or {}).get("shape", {}).get("lengths", [])}
    old_rows = sum(old.values())
    shares = [(count / rows, old.get(low, 0) / old_rows if old_rows else None) for low, _, count in bars]
    highest = max((max(now, then or 0) for now, then in shares), default=1) or 1
    return [
        {
            "low": low,
            "high": below - 1,
            "rows": count,
            "height": now / highest,
            "mark": None if then is None else then / highest,
        }
        for (low, below, count), (now, then) in zip(bars, shares, strict=True)
    ]


def _days(periods: list[list[Any]]) -> list[dict[str, Any]]:
    highest = max((count for _, count in periods), default=1)
    return [{"name": name, "rows": count, "height": count / highest} for name, count in periods]


def _compared(manifest: dict[str, Any], before: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Figures of the snapshot before and of this one."""
    if before is None:
        return []
    lines = [{"what": "Rows", "before": before["rows"], "now": manifest["rows"], "share": False}]
    lines += [
        {"what": f"Rows in {name}", "before": before["splits"][name], "now": manifest["splits"][name], "share": False}
        for name in snapshot.SPLITS
    ]
    lines += [
        {"what": f"Rows from {name}", "before": before["sources"].get(name, 0), "now": now, "share": False}
        for name, now in _both(manifest["sources"], before["sources"])
    ]
    old, new = snapshot.label_shares(before["labels"]), snapshot.label_shares(manifest["labels"])
    return lines + [
        {"what": f"Share of label {name}", "before": old.get(name, 0.0), "now": now, "share": True}
        for name, now in _both(new, old)[:COLOURS]
    ]


def _both(new: dict[str, Any], old: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(str(name), new.get(name, 0)) for name in sorted({*new, *old}, key=str)]


def _checks(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Checks with their outcome in words, what went wrong first."""
    worded = [one | {"outcome": VERDICTS[one["on_failure"]][bool(one["met"])]} for one in checks]
    return sorted(worded, key=lambda one: (one["met"], ("reject", "quarantine", "warn").index(one["on_failure"])))


def _personal(manifest: dict[str, Any]) -> dict[str, Any]:
    counts: dict[str, int] = manifest.get("personal_data", {})
    actions = PersonalData.model_validate(manifest["settings"]["prepare"]["personal_data"]).actions
    found = [
        {
            "what": ENTITIES.get(name, name.replace("_", " ").lower()),
            "count": count,
            "action": ACTIONS[actions.get(name, "mask")],
        }
        for name, count in sorted(counts.items(), key=lambda one: -one[1])
    ]
    nothing = [ENTITIES.get(name, name) for name in manifest["removed_entities"] if name not in counts]
    return {"found": found, "nothing": nothing, "total": sum(counts.values())}


def _reviews(manifest: dict[str, Any], examples: Examples) -> list[dict[str, Any]]:
    """What is only listed; lengths that the recipe filters were set aside and are counted there."""
    filtered = {"length_outliers"} if manifest["settings"]["prepare"]["length_outliers"] is not None else set()
    return [
        {"what": what, "why": why, "rows": manifest[name], "examples": examples.get(kind, [])}
        for name, (what, why, kind) in REVIEW.items()
        if manifest.get(name) and name not in filtered
    ]
