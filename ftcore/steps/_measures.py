"""What predictions are worth: metrics with intervals, differences, slices, fairness and calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ftcore import calibration
from ftcore.statistics import interval, mcnemar, resample, values

if TYPE_CHECKING:
    import numpy as np

    from ftcore.statistics import Better, Metrics

    Drawn = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
    """Metrics as they are, and in resamples: what ``resample`` gives for one model."""

ECE = ("ece", "ece_adaptive")
LEAST_ROWS = 30
"""Fewest rows of a group that fairness looks at."""


@dataclass(frozen=True)
class Judged:
    """Tallies of models on the same rows, and how to make metrics of them."""

    tallies: Mapping[tuple[str, str], np.ndarray]
    """``[rows, k]`` by role and flavour."""
    metrics: Metrics
    resamples: int
    seed: int
    about: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By metric the rows that it is about, a mask ``[rows]``; all metrics are about all rows where nothing stands."""
    group: np.ndarray | None = None
    """Of each row an id of its group, ``[rows]``: rows of one group are not independent. None: each is its own."""

    def scopes(self, chosen: np.ndarray) -> list[tuple[np.ndarray, tuple[str, ...]]]:
        """Of some rows those that some metrics are about, and the metrics; no name means all of them."""
        found: dict[bytes, list[str]] = {}
        for metric, mask in self.about.items():
            found.setdefault((mask & chosen).tobytes(), []).append(metric)
        masks = {key: self.about[names[0]] & chosen for key, names in found.items()}
        return [(masks[key], tuple(names)) for key, names in found.items()] or [(chosen, ())]

    def on(self, chosen: np.ndarray) -> dict[tuple[str, str], Drawn]:
        """Metrics on some rows, ``[rows]``: as they are, and in the same resamples of them, by role and flavour.

        Each metric is measured on the rows that it is about, so that a resample has as many of them as there are.
        """
        found: dict[tuple[str, str], Drawn] = {name: ({}, {}) for name in self.tallies}
        for rows, names in self.scopes(chosen):
            tables = [table[rows] for table in self.tallies.values()]
            both = resample(self.metrics, tables, self.resamples, self.seed)
            for name, one in zip(found, both, strict=True):
                for into, measured in zip(found[name], one, strict=True):
                    into.update({metric: measured[metric] for metric in names or measured})
        return found

    def counts(self, chosen: np.ndarray) -> dict[str, int]:
        """How many of some rows each metric is about, where not all are about all."""
        return {metric: int((mask & chosen).sum()) for metric, mask in self.about.items()}

    def rows(self, role: str, flavour: str) -> dict[str, np.ndarray]:
        """Metrics of each row by itself, ``[rows]``."""
        return values(self.metrics, self.tallies[role, flavour])

    def scores(self, role: str, flavour: str, better: Mapping[str, Better]) -> np.ndarray:
        """Of each row the first metric that is about it and known of one row, so that higher is better, ``[rows]``."""
        import numpy as np

        by_row = self.rows(role, flavour)
        found = np.full(len(self.tallies[role, flavour]), np.nan)
        left = np.ones(len(found), bool)
        for metric, way in better.items():
            mine = left & self.about.get(metric, left) & ~np.isnan(by_row[metric])
            found[mine] = by_row[metric][mine] * (1 if way == "higher" else -1)
            left &= ~mine
        return found

    def right(self, role: str, flavour: str) -> np.ndarray | None:
        """Which rows were answered right; None for a task whose first metric is no yes or no."""
        import numpy as np

        score = next(iter(self.rows(role, flavour).values()))
        return score > 0.5 if np.isin(score, (0, 1)).all() else None


def by_part(judged: Judged, parts: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """``metrics`` by role, flavour and part; ``differences``, candidate less champion, and ``mcnemar`` by flavour."""
    found: dict[str, Any] = {"metrics": {}, "differences": {}, "mcnemar": {}}
    for part, chosen in parts.items():
        drawn, count, counts = judged.on(chosen), int(chosen.sum()), judged.counts(chosen)
        for (role, flavour), both in drawn.items():
            _put(found["metrics"], (role, flavour, part), _estimates(both, count, counts))
            if role == "candidate" and ("champion", flavour) in drawn:
                gain = differences(both, drawn["champion", flavour], count, counts)
                _put(found["differences"], (flavour, part), gain)
                if (test := _mcnemar(judged, flavour, chosen)) is not None:
                    _put(found["mcnemar"], (flavour, part), test)
    return found


def by_slice(judged: Judged, served: str, slices: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Of what serves, by slice: ``rows``, ``candidate`` and, where there is one, ``champion`` and ``difference``."""
    roles = [role for role in ("candidate", "champion") if (role, served) in judged.tallies]
    of_served = replace(judged, tallies={(role, served): judged.tallies[role, served] for role in roles})
    found: dict[str, Any] = {}
    for name, chosen in slices.items():
        drawn, count, counts = of_served.on(chosen), int(chosen.sum()), judged.counts(chosen)
        found[name] = {"rows": count} | {role: _estimates(drawn[role, served], count, counts) for role in roles}
        if "champion" in roles:
            both = drawn["candidate", served], drawn["champion", served]
            found[name]["difference"] = differences(*both, count, counts)
    return found


def fairness(judged: Judged, served: str, groups: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """How far apart the candidate's metrics of groups are, by column and metric.

    Returns:
        By column ``groups`` (their rows), and by metric ``difference`` (largest less smallest, with its interval),
        ``ratio`` (smallest over largest) and ``by_group``. Groups of fewer than 30 rows are left out; a column with
        fewer than two groups is, too.
    """
    import numpy as np

    found: dict[str, Any] = {}
    everything = np.ones(len(judged.tallies["candidate", served]), bool)
    for column, names in groups.items():
        for rows, metrics in judged.scopes(everything):
            counts = dict(zip(*np.unique(names[rows].astype(str), return_counts=True), strict=True))
            large = {str(name): int(count) for name, count in counts.items() if count >= LEAST_ROWS}
            if len(large) >= 2:
                one = found.setdefault(column, {"groups": {}, "metrics": {}})
                for name, count in large.items():
                    one["groups"][name] = one["groups"].get(name, 0) + count
                tallies = judged.tallies["candidate", served][rows]
                one["metrics"] |= _apart(judged, tallies, names[rows].astype(str), list(large), metrics)
    return found


def _apart(
    judged: Judged, tallies: np.ndarray, names: np.ndarray, large: list[str], metrics: tuple[str, ...]
) -> dict[str, Any]:
    """How far apart some metrics of some groups are: see ``fairness``."""
    import numpy as np

    chosen = np.isin(names, large)
    drawn = {  # each by draws of its own: with the same ones, equal groups would never differ by chance
        name: resample(judged.metrics, [tallies[names == name]], judged.resamples, judged.seed + place)
        for place, name in enumerate(large)
    }
    frame = _frame(judged, tallies[chosen], names[chosen])
    found: dict[str, Any] = {}
    for metric in metrics or frame.by_group.columns:
        several = np.stack([resampled[metric] for ((_, resampled),) in drawn.values()])
        spread, rows = float(frame.difference()[metric]), int(chosen.sum())
        found[metric] = {
            "difference": interval(np.array(spread), several.max(0) - several.min(0), rows).model_dump(),
            "ratio": _finite(frame.ratio()[metric]),
            "by_group": {str(name): _finite(value) for name, value in frame.by_group[metric].items()},
        }
    return found


def calibrated(confidences: Mapping[tuple[str, str], np.ndarray], judged: Judged, chosen: np.ndarray) -> dict[str, Any]:
    """Calibration on some rows by role and flavour: ``ece``, ``ece_adaptive`` with intervals, ``bins`` for a plot."""
    right = {name: good for name in confidences if (good := judged.right(*name)) is not None}
    pairs = {name: (confidences[name][chosen], good[chosen]) for name, good in right.items()}
    edges = {name: {k: calibration.edges(sure, adaptive=k != "ece") for k in ECE} for name, (sure, _) in pairs.items()}
    tables = [calibration.tallies(*pairs[name], edges[name][k]) for name in pairs for k in ECE]
    if not tables:
        return {}
    # All in the same resamples: where nearly every row differs, drawing is what takes time.
    drawn = iter(resample(lambda sums: {"ece": calibration.error(sums)}, tables, judged.resamples, judged.seed))
    found: dict[str, Any] = {}
    for name, (sure, good) in pairs.items():
        measured = {k: _estimates(next(drawn), len(sure))["ece"] for k in ECE}
        _put(found, name, {**measured, "bins": calibration.reliability(sure, good, edges[name]["ece"])})
    return found


def differences(after: Drawn, before: Drawn, rows: int, counts: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Each metric of one model less that of another on the same rows, with its interval; see ``Judged.counts``."""
    (there, drawn), (there_before, drawn_before) = after, before
    gains = {name: value - there_before[name] for name, value in there.items()}
    return _estimates((gains, {name: value - drawn_before[name] for name, value in drawn.items()}), rows, counts)


def _frame(judged: Judged, tallies: np.ndarray, names: np.ndarray) -> Any:
    """A MetricFrame of fairlearn's over row numbers, so that any task's metrics fit it."""
    import numpy as np
    from fairlearn.metrics import MetricFrame

    def measure(metric: str) -> Any:
        return lambda rows, _: float(values(judged.metrics, tallies[np.asarray(rows, int)].sum(0))[metric])

    numbers = np.arange(len(tallies))
    metrics = {name: measure(name) for name in values(judged.metrics, tallies[0])}
    return MetricFrame(metrics=metrics, y_true=numbers, y_pred=numbers, sensitive_features=names)


def _estimates(drawn: Drawn, rows: int, counts: Mapping[str, int] | None = None) -> dict[str, Any]:
    (there, resampled), known = drawn, counts or {}
    return {name: interval(value, resampled[name], known.get(name, rows)).model_dump() for name, value in there.items()}


def _mcnemar(judged: Judged, flavour: str, chosen: np.ndarray) -> dict[str, Any] | None:
    before, after = judged.right("champion", flavour), judged.right("candidate", flavour)
    if before is None or after is None:
        return None
    before, after = before[chosen], after[chosen]
    return {
        "only_candidate_right": int((after & ~before).sum()),
        "only_champion_right": int((before & ~after).sum()),
        "p_value": mcnemar(before, after),
    }


def _finite(value: Any) -> float | None:
    import math

    return float(value) if math.isfinite(value) else None


def _put(into: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        into = into.setdefault(name, {})
    into[path[-1]] = value
