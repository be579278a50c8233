"""What predictions are worth: metrics with intervals, differences, slices, fairness and calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ftcore.evaluation import slices as _slices
from ftcore.registry.verdict import right
from ftcore.statistics import calibration
from ftcore.statistics.intervals import USUAL, Estimate, mcnemar, resample, values
from ftcore.statistics.simultaneous import bounds, clusters, effect

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from ftcore.recipe.model import Recipe
    from ftcore.statistics.intervals import Better, Drawn, Metrics

ECE = ("ece", "ece_adaptive")
OF_SEVERAL = ("f1", "precision", "recall")
"""Metrics that tell labels apart: on rows of one label they follow from accuracy, or from nothing."""
ONE_LABEL = "every row has the same label"
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
    labels: np.ndarray | None = None
    """True label of each row, ``[rows]``, where each row has one."""

    @classmethod
    def of(cls, recipe: Recipe, rows: pa.Table, tallies: Mapping[tuple[str, str], np.ndarray]) -> Judged:
        """Tallies of models on a recipe's rows, with all that the rows tell.

        Args:
            recipe: whose task, seed and resamples count.
            rows: test rows, with ``label`` and all that groups and metrics stand on.
            tallies: ``[rows, k]`` by role and flavour.
        """
        import numpy as np

        return cls(
            tallies,
            recipe.task.metrics,
            recipe.evaluate.resamples,
            recipe.train.seed,
            recipe.task.about(rows),
            _slices.clusters(rows),
            np.array(rows["label"].to_pylist()) if recipe.task.kind == "classification" else None,
        )

    def scopes(self, chosen: np.ndarray) -> list[tuple[np.ndarray, tuple[str, ...]]]:
        """Of some rows those that some metrics are about, and the metrics; no name means all of them."""
        found: dict[bytes, list[str]] = {}
        for metric, mask in self.about.items():
            found.setdefault((mask & chosen).tobytes(), []).append(metric)
        masks = {key: self.about[names[0]] & chosen for key, names in found.items()}
        return [(masks[key], tuple(names)) for key, names in found.items()] or [(chosen, ())]

    def on(self, name: tuple[str, str], chosen: np.ndarray) -> dict[str, Drawn]:
        """Metrics of one model on some rows, a mask ``[rows]``: as they are and in resamples of their groups.

        Each metric is measured on the rows that it is about, so that a resample has as many of them as there are. The
        draws depend on the model and the rows alone, so that one quantity has one interval, in every table and gate.
        """
        return self._drawn([self.tallies[name]], chosen)[0]

    def apart(self, reference: tuple[str, str], current: tuple[str, str], chosen: np.ndarray) -> dict[str, Drawn]:
        """How much higher each metric is for one model than for another on the same rows, paired."""
        before, after = self._drawn([self.tallies[reference], self.tallies[current]], chosen)
        return {metric: one - before[metric] for metric, one in after.items()}

    def told(self, drawn: Mapping[str, Drawn], chosen: np.ndarray) -> dict[str, Any]:
        """Estimates as they are written; null with the reason where the rows leave a metric without a meaning."""
        import numpy as np

        found = {name: one.estimate().model_dump() for name, one in drawn.items()}
        if self.labels is not None and len(np.unique(self.labels[chosen])) == 1:
            nothing = {"value": None, "low": None, "high": None, "undefined": ONE_LABEL}
            found |= {name: found[name] | nothing for name in OF_SEVERAL if name in found}
        return found

    def _drawn(self, tallies: Sequence[np.ndarray], chosen: np.ndarray) -> list[dict[str, Drawn]]:
        found: list[dict[str, Drawn]] = [{} for _ in tallies]
        for rows, names in self.scopes(chosen):
            group = None if self.group is None else self.group[rows]
            several = resample(self.metrics, [table[rows] for table in tallies], self.resamples, self.seed, group)
            for one, measured in zip(found, several, strict=True):
                one.update({metric: measured[metric] for metric in names or measured})
        return found

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
        return right(self.rows(role, flavour))


def by_part(judged: Judged, parts: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """``metrics`` by role, flavour and part; ``differences``, candidate less champion, and ``mcnemar`` by flavour."""
    found: dict[str, Any] = {"metrics": {}, "differences": {}, "mcnemar": {}}
    for part, chosen in parts.items():
        for role, flavour in judged.tallies:
            _put(found["metrics"], (role, flavour, part), judged.told(judged.on((role, flavour), chosen), chosen))
            if role == "candidate" and ("champion", flavour) in judged.tallies:
                apart = judged.apart(("champion", flavour), (role, flavour), chosen)
                _put(found["differences"], (flavour, part), judged.told(apart, chosen))
                if (test := _mcnemar(judged, flavour, chosen)) is not None:
                    _put(found["mcnemar"], (flavour, part), test)
    return found


def by_slice(judged: Judged, served: str, slices: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Of what serves, by slice: ``rows``, ``candidate`` and, where there is one, ``champion`` and ``difference``."""
    roles = [role for role in ("candidate", "champion") if (role, served) in judged.tallies]
    found: dict[str, Any] = {}
    for name, chosen in slices.items():
        found[name] = {"rows": int(chosen.sum())}
        found[name] |= {role: judged.told(judged.on((role, served), chosen), chosen) for role in roles}
        if "champion" in roles:
            apart = judged.apart(("champion", served), ("candidate", served), chosen)
            found[name]["difference"] = judged.told(apart, chosen)
    return found


def fairness(judged: Judged, served: str, groups: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """How far apart the candidate's metrics of groups are, by column and metric.

    Returns:
        By column ``groups`` (their rows), and by metric ``difference`` (largest less smallest, with an interval that
        holds for all pairs of groups at once), ``ratio`` (smallest over largest) and ``by_group``. Groups of fewer than
        30 rows are left out; a column with fewer than two groups is, too.
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
                masks = {name: rows & (names.astype(str) == name) for name in large}
                one["metrics"] |= _apart(judged, judged.tallies["candidate", served], masks, metrics)
    return found


def _apart(
    judged: Judged, tallies: np.ndarray, masks: Mapping[str, np.ndarray], metrics: tuple[str, ...]
) -> dict[str, Any]:
    """How far apart some metrics of some groups are: see ``fairness``."""
    import numpy as np

    numbers = clusters(judged.group, len(tallies))
    chosen = np.logical_or.reduce(list(masks.values()))
    names = np.select(list(masks.values()), list(masks), default="")
    frame = _frame(judged, tallies[chosen], names[chosen])
    found: dict[str, Any] = {}
    for metric in metrics or frame.by_group.columns:
        effects = {name: effect(judged.metrics, metric, [tallies], mask, numbers) for name, mask in masks.items()}
        pairs = {f"{a} and {b}": effects[a].minus(effects[b]) for a, b in combinations(effects, 2)}
        held = bounds({n: p for n, p in pairs.items() if p.defined}, 1 - USUAL, judged.seed, two_sided=True)
        ends = [(max(one.low, -one.high, 0.0), max(one.high, -one.low)) for one in held.values()]
        low, high = np.max(ends, 0) if len(ends) == len(pairs) else (np.nan, np.nan)
        spread = Estimate(
            value=float(frame.difference()[metric]),
            low=low,
            high=high,
            rows=int(chosen.sum()),
            groups=len(np.unique(numbers[chosen])),
            level=USUAL,
        )
        found[metric] = {
            "difference": spread.model_dump(),
            "ratio": _finite(frame.ratio()[metric]),
            "by_group": {str(name): _finite(value) for name, value in frame.by_group[metric].items()},
        }
    return found


def calibrated(confidences: Mapping[tuple[str, str], np.ndarray], judged: Judged, chosen: np.ndarray) -> dict[str, Any]:
    """Calibration on some rows by role and flavour: ``ece``, ``ece_adaptive`` with intervals, ``bins`` for a plot."""
    group = None if judged.group is None else judged.group[chosen]
    found: dict[str, Any] = {}
    for name, confidence in confidences.items():
        if (right := judged.right(*name)) is None:
            continue
        sure, good = confidence[chosen], right[chosen]
        edges = {kind: calibration.edges(sure, adaptive=kind != "ece") for kind in ECE}
        measured = {
            kind: calibration.estimate(calibration.tallies(sure, good, edges[kind]), judged.seed, group) for kind in ECE
        }
        bins = calibration.reliability(sure, good, edges["ece"])
        _put(found, name, {**{kind: one.model_dump() for kind, one in measured.items()}, "bins": bins})
    return found


def _frame(judged: Judged, tallies: np.ndarray, names: np.ndarray) -> Any:
    """A MetricFrame of fairlearn's over row numbers, so that any task's metrics fit it."""
    import numpy as np
    from fairlearn.metrics import MetricFrame

    def measure(metric: str) -> Any:
        return lambda rows, _: float(values(judged.metrics, tallies[np.asarray(rows, int)].sum(0))[metric])

    numbers = np.arange(len(tallies))
    metrics = {name: measure(name) for name in values(judged.metrics, tallies[0])}
    return MetricFrame(metrics=metrics, y_true=numbers, y_pred=numbers, sensitive_features=names)


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
