"""What must hold of a snapshot as a whole, as Great Expectations' own words: volume, shares, age, personal data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ftcore.data import labels
from ftcore.data.snapshot import label_shares

if TYPE_CHECKING:
    from ftcore.data.tally import DatasetSummary
    from ftcore.recipe.model import Recipe
    from ftcore.recipe.sections import Validation

SHOWN_REASONS = 12
"""Reasons for the quarantine that a message names, the commonest first."""
SEVERITY = {"reject": "critical", "quarantine": "warning", "warn": "info"}
"""Great Expectations' word for each of ours."""


@dataclass(frozen=True)
class SnapshotFacts:
    """What is known of the rows that would be published."""

    tally: DatasetSummary
    before: dict[str, Any] | None
    """Manifest of the snapshot before; None for the first one, which has nothing to differ from."""
    faults: Counter[str]
    """Rows set aside by reason, those apart that the recipe's own filters left out."""
    at: datetime
    """The time now."""
    came_in: int = 0
    """Rows before duplicates were removed, those apart that the recipe's own filters left out."""
    trained: bool = True
    """Whether the snapshot is to be trained on; that of a period is not."""


def suite(recipe: Recipe, whole: SnapshotFacts) -> dict[str, Any]:
    """The expectations of the rows that would be published, for ``run_suite``."""
    limits = recipe.validation
    wanted = [
        *_volume(limits, whole),
        *_labels(recipe, whole),
        *_shares(recipe, whole),
        *_age(limits, whole),
        *_personal(recipe),
    ]
    return {"name": f"{recipe.suite}_as_a_whole", "expectations": wanted}


def _expectation(kind: str, kwargs: dict[str, Any], on_failure: str, description: str, reason: str) -> dict[str, Any]:
    return {
        "type": f"expect_{kind}",
        "kwargs": kwargs,
        "meta": {"on_failure": on_failure, "reason": reason},
        "description": description,
        "severity": SEVERITY[on_failure],
    }


def _volume(limits: Validation, whole: SnapshotFacts) -> list[dict[str, Any]]:
    rows, before = whole.tally.rows, whole.before
    words = ", ".join(f"{count:,} × {reason}" for reason, count in whole.faults.most_common(SHOWN_REASONS))
    if len(whole.faults) > SHOWN_REASONS:
        words += f", and {len(whole.faults) - SHOWN_REASONS:,} other reasons"
    wanted = [
        _expectation(
            "table_quarantine_to_be_small",
            {
                "quarantined": whole.faults.total(),
                "came_in": whole.came_in,
                "max_share": limits.max_quarantined,
                "words": words,
            },
            "reject",
            f"At most {limits.max_quarantined:.1%} of the rows that came in are set aside for faults of the data.",
            "{why}",
        ),
        _expectation(
            "table_row_count_to_be_between",
            {"min_value": limits.min_rows},
            "reject",
            f"At least {limits.min_rows:,} rows are left.",
            "{observed} rows are left, at least {min_value} are needed (validation.min_rows)",
        ),
    ]
    if before and before["rows"] and limits.change.fewer_rows is not None:
        wanted.append(
            _expectation(
                "table_row_count_to_be_between",
                {"min_value": -int(-before["rows"] * (1 - limits.change.fewer_rows) // 1)},
                limits.change.on_failure,
                f"No more than {limits.change.fewer_rows:.1%} of the {before['rows']:,} rows of snapshot "
                f"{before['snapshot']} are gone.",
                f"{{observed}} rows, {1 - rows / before['rows']:.1%} fewer than the {before['rows']:,} of snapshot "
                f"{before['snapshot']}, {limits.change.fewer_rows:.1%} fewer are allowed",
            )
        )
    return wanted


def _labels(recipe: Recipe, whole: SnapshotFacts) -> list[dict[str, Any]]:
    """That there is something to learn, and every label in every split."""
    by_label = labels.table(recipe.task, whole.tally.by_label)
    limits, found = recipe.validation, []
    if whole.trained and whole.tally.rows >= limits.min_rows:
        why = labels.unlearnable(recipe.task, by_label, whole.tally.by_part)
        found.append(
            _expectation(
                "table_splits_to_be_learnable",
                {"why": "; ".join(why)},
                "reject",
                "Each split has rows, and the train split something to learn.",
                "{why}: add rows, or change prepare.validation, prepare.test or group",
            )
        )
    if by_label:
        found.append(
            _expectation(
                "table_splits_to_be_learnable",
                {"why": labels.warning(by_label)},
                limits.on_rare_label,
                "Every label has rows in every split.",
                "{why}",
            )
        )
    return found


def _shares(recipe: Recipe, whole: SnapshotFacts) -> list[dict[str, Any]]:
    change, before = recipe.validation.change, whole.before
    if change.label_share is None or not before or not before["labels"]:
        return []
    return [
        _expectation(
            "column_value_shares_to_be_near",
            {
                "column": "label",
                "shares": label_shares(before["labels"]),
                "max_change": change.label_share,
                "origin": f"snapshot {before['snapshot']}",
            },
            change.on_failure,
            f"No label's share moved by more than {change.label_share:.1%} of the rows since snapshot "
            f"{before['snapshot']}.",
            "{why}",
        )
    ]


def _age(limits: Validation, whole: SnapshotFacts) -> list[dict[str, Any]]:
    if limits.max_age_days is None:
        return []
    newest = whole.tally.newest
    reason = "no row says when it was observed, so the age of the data is not known"
    if newest:
        age = (whole.at - newest).total_seconds() / 86_400
        reason = f"the newest row is {age:.1f} days old, {limits.max_age_days:g} are allowed"
    oldest = whole.at - timedelta(days=limits.max_age_days)
    return [
        _expectation(
            "column_max_to_be_between",
            {"column": "observed_at", "min_value": oldest.isoformat()},
            limits.on_stale,
            f"The newest row is at most {limits.max_age_days:g} days old.",
            reason,
        )
    ]


def _personal(recipe: Recipe) -> list[dict[str, Any]]:
    config = recipe.prepare.personal_data
    written = recipe.task.TARGET == "text"
    columns = ["text", "context", *(("label", "rejected") if written else ())]
    removed = [name for name, action in config.actions.items() if action != "keep"]
    if not recipe.validation.personal_data or not removed:
        return []
    looked_for = {
        "columns": columns,
        "entities": removed,
        "phone_regions": list(config.phone_regions),
        "model": config.model,
        "code": config.code,
    }
    return [
        _expectation(
            "table_to_hold_no_personal_data",
            looked_for,
            "reject",
            "No text holds personal data that the recipe removes (names and places apart).",
            "{why}",
        )
    ]
