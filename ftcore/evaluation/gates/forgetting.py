"""What the champion knew of earlier domains must not be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore.evaluation.gates import _losses
from ftcore.evaluation.gates._undecided import undecided
from ftcore.recipe.kinds import Config as Base
from ftcore.statistics.intervals import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from ftcore.registry.verdict import Evidence, Rule

ON_FEWER = "on fewer only a large loss is seen"
EXAMPLE = {"kind": "forgetting", "metric": "accuracy", "max_loss": 0.02}


class Config(Base):
    """On no dataset may the candidate lose more than ``max_loss`` against the champion.

    Bounds hold for all datasets, and for the slices of ``slice``, at once.
    """

    kind: Literal["forgetting"] = "forgetting"
    metric: str = "accuracy"
    """Name of a metric of the task."""
    datasets: tuple[str, ...] = ()
    """Names of holdouts, each judged by itself; empty means all of them, and ``evaluate.general_text`` where the metric
    is measured on it: perplexity, and bits a byte for the task ``completion``."""
    max_loss: Annotated[float, Field(ge=0)] = 0.02
    """Largest loss against the champion, in the metric's unit."""
    margin: Annotated[float, Field(gt=0)] | None = None
    """Loss beyond ``max_loss`` that the rows must be able to show; a dataset of too few rows for it is undecided. Null:
    as much again as ``max_loss``, and at least 0.05."""
    min_rows: Annotated[int, Field(ge=1)] = 200
    """A smaller dataset fails where it surely loses, and does not leave the gate undecided where little can be told."""
    min_groups: Annotated[int, Field(ge=1)] = 30
    """The same in groups of rows, where rows have groups."""


def parts(config: Config, evidence: Evidence) -> dict[str, np.ndarray]:
    """Datasets that are judged, each a mask ``[rows]``."""
    names = config.datasets or tuple(sorted(set(evidence.dataset) - {"test"}))
    return {name: evidence.on([name]) for name in names}


def judged(config: Config, datasets: Sequence[str]) -> list[tuple[str, ...]]:
    """Each holdout by itself."""
    return [(name,) for name in config.datasets or datasets if name != "test"]


def comparisons(config: Config, evidence: Evidence) -> int:
    """How many datasets are judged."""
    return _losses.comparisons(config, evidence, parts(config, evidence), _general(config, evidence))


def judge(config: Config, evidence: Evidence) -> Rule:
    """Whether every domain keeps what it had, and general text, too, where it was read."""
    chosen = parts(config, evidence)
    if not chosen and "general_text" not in evidence.figures:
        because = "no evaluate.holdouts has a row that judges, and there is no general_text"
        return undecided(config.kind, because, -config.max_loss)
    return _losses.judge(config, evidence, chosen, _general(config, evidence))


def _general(config: Config, evidence: Evidence) -> dict[str, Estimate]:
    """The gain against the champion on ``evaluate.general_text``, where all is judged and the metric was measured."""
    against = (evidence.figures.get("general_text") or {}).get("differences", {}).get("champion", {})
    if config.datasets or config.metric not in against:
        return {}
    rise = Estimate.model_validate(against[config.metric])
    if evidence.sign(config.metric) > 0:
        return {"general_text": rise}
    fall = {"value": -rise.value, "low": -rise.high, "high": -rise.low}
    return {"general_text": rise.model_copy(update=fall)}
