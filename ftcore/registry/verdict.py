"""What gates judge on, and what they say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from ftcore.statistics.intervals import values

if TYPE_CHECKING:
    import numpy as np

    from ftcore.statistics.intervals import Better, Metrics

TORCH = "torch"
"""Flavour of the model as it was trained; the others are the names of its exports."""


@dataclass(frozen=True)
class Evidence:
    """Candidate and champion on the same rows."""

    dataset: np.ndarray
    """Name of the dataset that each row belongs to: ``test`` or a holdout's name."""
    candidate: dict[str, np.ndarray]
    """Tallies of the predictions by flavour, each ``[rows, k]``; the first flavour is the one that serves."""
    champion: dict[str, np.ndarray] | None
    """The same for the champion; None where there is none."""
    metrics: Metrics
    """The task's metrics of sums of tallies."""
    better: Mapping[str, Better]
    """Which way each metric improves."""
    resamples: int
    seed: int
    baselines: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Tallies of models that cost nothing, such as ``majority``; none for a task without labels."""
    slices: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Groups of rows by name, such as ``source=feedback``, each a mask ``[rows]``."""
    about: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By metric the rows that it is about, a mask ``[rows]``; without an entry all."""
    confidence: np.ndarray | None = None
    """Probability of the served candidate's answers, 0 to 1, ``[rows]``; None for answers without one."""
    group: np.ndarray | None = None
    """Of each row an id of its group, ``[rows]``: rows of one group are not independent. None: each is its own."""
    looks: np.ndarray | None = None
    """Earlier verdicts against this champion that judged on each row or its group, ``[rows]``; None: none."""
    sealed: bool = False
    """Whether the rows are the sealed part of the test split."""
    comparisons: int | None = None
    """Comparisons that the gates about losses, fairness and calibration make together; None for a gate by itself."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """``evaluation.json``: what was measured in addition to the metrics, such as latency."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """Metrics as people read them, with the class that they are about; without an entry as they are called."""

    @property
    def served(self) -> str:
        """Flavour that serves."""
        return next(iter(self.candidate))

    @property
    def right(self) -> np.ndarray | None:
        """Which rows the served candidate answers right, ``[rows]``; None where the first metric is no yes or no."""
        return right(values(self.metrics, self.candidate[self.served]))

    def value(self, metric: str, tallies: np.ndarray) -> float:
        """A metric of some rows' tallies ``[rows, k]``; NaN where it is not defined."""
        return float(values(self.metrics, tallies.sum(0)[None])[metric][0])

    def title(self, metric: str) -> str:
        """A metric as people read it, such as ``f1 (of spam)``."""
        return self.titles.get(metric, metric)

    def sign(self, metric: str) -> int:
        """1 for a metric that is better when higher, else -1."""
        return 1 if self.better[metric] == "higher" else -1

    def of(self, rows: np.ndarray) -> np.ndarray | None:
        """Groups of some rows, a mask ``[rows]``; None where each row is a group of its own."""
        return None if self.group is None else self.group[rows]

    def groups(self, rows: np.ndarray) -> int:
        """How many groups some rows belong to, a mask ``[rows]``."""
        import numpy as np

        return int(rows.sum()) if self.group is None else len(np.unique(self.group[rows]))

    def on(self, datasets: Sequence[str], metric: str = "") -> np.ndarray:
        """Which rows belong to some datasets and are what a metric is about, as a mask ``[rows]``.

        Raises:
            ValueError: a dataset was not evaluated.
        """
        import numpy as np

        known = set(self.dataset)
        if unknown := sorted(set(datasets) - known):
            raise ValueError(f"no dataset {', '.join(unknown)}; evaluated: {', '.join(sorted(known))}")
        chosen: np.ndarray = np.isin(self.dataset, list(datasets))
        return chosen & self.about[metric] if metric in self.about else chosen


def right(by_row: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Which rows are answered right by the metrics of each row by itself; None where the first is no yes or no."""
    import numpy as np

    score = next(iter(by_row.values()))
    return score > 0.5 if np.isin(score, (0, 1)).all() else None


EXCLUDED = {
    "row": "a compared model was trained or validated on the row",
    "text": "a compared model was trained or validated on the same text",
    "group": "a compared model was trained or validated on rows of the same group",
    "near_duplicate": "a compared model was trained or validated on a near-duplicate text",
    "test_split": "the test split has the same row or text",
}
"""Why a row does not judge, the first that applies, by its name in ``evaluation.json``."""


BRIEF = 160
"""Characters of a gate's reason in a list of them."""


def brief(reason: str, length: int = BRIEF) -> str:
    """The first clause of a reason, short enough for a list."""
    ends = (mark.start() for mark in re.finditer(r"(?<=.)[;.] ", reason))
    first = next((found for end in ends if _is_closed(found := reason[:end])), reason)
    return first if len(first) <= length else f"{first[: length - 1].rsplit(' ', 1)[0]} …"


def _is_closed(text: str) -> bool:
    """Whether each bracket is closed: an interval has a semicolon of its own."""
    return all(text.count(opens) == text.count(closes) for opens, closes in ("()", "[]"))


def rules_of(line: Mapping[str, Any]) -> list[str]:
    """The reason of a line of the ledger, one entry a rule where it is a gate's; a person's reason is one."""
    reason = str(line.get("reason") or "")
    return reason.splitlines() if line.get("kind") == "gate" else [reason]


class Rule(BaseModel):
    """What one gate says: a row of the verdict's table."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    gate: str
    """Kind of the gate."""
    passed: bool | None
    """True, False, or None: undecided, for want of rows or of a measurement."""
    reason: str
    """For people, with the numbers: what was found first, then what was looked at and what was not."""
    measured: float | None = None
    """The number that was compared, in the gate's unit; a gain or a loss is candidate less champion."""
    bound: float | None = None
    """What it was compared with."""
    low: float | None = None
    """Lower end of the measured number's interval."""
    high: float | None = None
    """Upper end of the measured number's interval."""
    level: float | None = None
    """Level of that interval, as a two-sided one, 0 to 1; of several parts judged together it holds for all at once.
    None where there is no interval, or where an earlier version did not say it."""
    rows: int = 0
    """Rows it was measured on; 0 where rows do not matter."""
    groups: int | None = None
    """Groups of these rows, which are what intervals resample; None where groups do not matter."""
    look: float | None = None
    """Which look at these rows against this champion it was: 1 for rows that no earlier verdict judged on."""
    alpha: float | None = None
    """Chance of a wrong decision that this rule spent: of promoting a candidate that is no better in this look, or of
    refusing one that did not become worse, as this rule's part of what all such rules may spend together."""
    alpha_spent: float | None = None
    """The same of all looks so far, this one among them; by all looks together it is at most 1 - ``confidence``."""

    @property
    def line(self) -> str:
        """The gate and the first clause of its reason."""
        return f"{self.gate}: {brief(self.reason)}"


class Verdict(BaseModel):
    """All rules together."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    passed: bool
    """Whether the candidate may go on: every rule passed, or was undecided where the recipe asks a person then."""
    asks: bool = False
    """Whether a person must say something about a rule that is undecided."""
    rules: tuple[Rule, ...]
    candidate: int
    """Version that was judged."""
    champion: int | None
    """Version that it was compared with."""
    excluded: dict[str, dict[str, int]] = {}
    """Rows that do not judge, by dataset and reason, since a compared model was trained or validated on them."""
    not_known: tuple[str, ...] = ()
    """Models behind the compared ones whose training rows are not known any more, so that none could be left out."""
    never_predicted: dict[str, int] = {}
    """Labels that the candidate predicts for no row, each with the rows that have it."""
    stand_ins: dict[str, str] = {}
    """Forms to which the champion was never exported, each with the one whose outputs were compared instead."""
    lost_looks: tuple[str, ...] = ()
    """Earlier looks against the champion whose rows are not known any more: each counted for all rows."""
    undecided: tuple[str, ...] = ()
    """Gates that could not tell, for want of rows or of a measurement."""
    decided_by: Literal["gates", "on_undecided"] = "gates"
    """What made the outcome of the rules: ``gates``, or where none failed and some were undecided the recipe's setting
    ``on_undecided``."""
    on_undecided: Literal["fail", "ask"] = "fail"
    """That setting: ``fail`` makes undecided gates a failure, ``ask`` lets the candidate go on to the people who
    approve."""

    @classmethod
    def of(cls, rules: Sequence[Rule], on_undecided: Literal["fail", "ask"], **facts: Any) -> Verdict:
        """All rules together, with what the recipe makes of undecided ones."""
        said = {rule.passed for rule in rules}
        by_setting = None in said and False not in said
        asks = on_undecided == "ask" and by_setting
        return cls(
            passed=said <= {True} or asks,
            asks=asks,
            rules=tuple(rules),
            undecided=tuple(rule.gate for rule in rules if rule.passed is None),
            decided_by="on_undecided" if by_setting else "gates",
            on_undecided=on_undecided,
            **facts,
        )

    @property
    def word(self) -> str:
        """``passed``, ``asks`` or ``failed``."""
        return "asks" if self.asks else "passed" if self.passed else "failed"

    @property
    def reason(self) -> str:
        """The rules that did not pass, or all of them where all did, a line each; and the setting, where it decided."""
        shown = [rule for rule in self.rules if not rule.passed] or self.rules
        decided = decision(self.to_json())
        return "\n".join([rule.line for rule in shown] + ([decided] if decided else []))

    def to_json(self) -> dict[str, Any]:
        """The verdict as ``verdict.json`` and the gate's record hold it.

        ``passed``, ``asks``, ``candidate``, ``champion`` (null for a first model), and ``rules``: a list of ``gate``,
        ``passed`` (null where undecided), ``reason``, ``measured``, ``bound``, ``low``, ``high`` (each a number or
        null) and ``rows``; ``undecided``, ``decided_by``, ``on_undecided`` and ``lost_looks``; further ``excluded``,
        ``not_known`` and ``never_predicted``, see ``evaluation.json``.
        """
        return self.model_dump(mode="json")


def decision(verdict: Mapping[str, Any]) -> str:
    """What decided where gates were undecided, in words; empty where the gates decided.

    Args:
        verdict: as ``verdict.json`` holds it; one of an earlier version does not say.
    """
    if verdict.get("decided_by") != "on_undecided":
        return ""
    setting = f"the recipe's setting on_undecided: {verdict.get('on_undecided')}"
    outcome = "passes the candidate on to the people who approve" if verdict.get("asks") else "fails the candidate"
    return f"no gate failed; undecided: {', '.join(verdict.get('undecided', ()))}; {setting} {outcome}"


def outcome(verdict: Mapping[str, Any]) -> str:
    """The verdict in a few words, and the setting where it decided.

    Args:
        verdict: as ``verdict.json`` holds it.
    """
    if verdict.get("asks"):
        return "Undecided, up to the people who approve (on_undecided: ask)"
    if verdict.get("decided_by") == "on_undecided":
        return "Not passed: undecided (on_undecided: fail)"
    return "Passed" if verdict.get("passed") else "Not passed"


def notes(verdict: Mapping[str, Any]) -> list[str]:
    """What a verdict tells of how it came about and of the rows behind it, a sentence each, for people.

    Args:
        verdict: as ``verdict.json`` holds it.
    """
    found = [f"{decided[0].upper()}{decided[1:]}."] if (decided := decision(verdict)) else []
    found += [
        f"Left out of the evaluation: {excluded(name, reasons)}."
        for name, reasons in verdict.get("excluded", {}).items()
    ]
    if lost := verdict.get("lost_looks"):
        found.append(
            f"The rows of earlier looks against this champion are not known any more ({', '.join(lost)}): each counts "
            "as a look at all rows."
        )
    if models := verdict.get("not_known"):
        found.append(
            f"The training rows of {', '.join(models)} are not known any more: rows that they were trained on may be "
            "among those that judge."
        )
    found += [
        f"The champion was never exported as {flavour}: its outputs as {form} are compared."
        for flavour, form in verdict.get("stand_ins", {}).items()
    ]
    labels = [f"{label} ({rows:,} rows)" for label, rows in verdict.get("never_predicted", {}).items()]
    return found + ([f"Labels that the candidate never predicts: {', '.join(labels)}."] if labels else [])


def excluded(dataset: str, reasons: Mapping[str, int]) -> str:
    """How many rows of a dataset do not judge, and why."""
    why = "; ".join(f"{EXCLUDED.get(reason, reason)} ({count:,})" for reason, count in reasons.items())
    return f"{sum(reasons.values()):,} rows of {dataset}: {why}"
