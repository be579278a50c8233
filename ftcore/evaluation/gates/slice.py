"""No group of rows may become worse than the champion left it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore.evaluation.gates import _losses
from ftcore.evaluation.gates._undecided import undecided
from ftcore.recipe.kinds import Config as Base

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from ftcore.registry.verdict import Evidence, Rule

DEFAULT = ("source", "language", "length")
ON_FEWER = "on fewer no slice is large enough, and only a large loss is seen"
EXAMPLE = {"kind": "slice", "metric": "accuracy", "max_loss": 0.05}


class Config(Base):
    """No slice that the recipe's ``evaluate.slices`` makes may lose more than ``max_loss``.

    Bounds hold for all slices, and for the datasets of ``forgetting``, at once.
    """

    kind: Literal["slice"] = "slice"
    metric: str = "accuracy"
    """Name of a metric of the task."""
    max_loss: Annotated[float, Field(ge=0)] = 0.05
    """Largest loss against the champion, in the metric's unit."""
    margin: Annotated[float, Field(gt=0)] | None = None
    """Loss beyond ``max_loss`` that the rows must be able to show; a slice of too few rows for it is undecided. Null:
    as much again as ``max_loss``, and at least 0.05."""
    min_rows: Annotated[int, Field(ge=1)] = 200
    """A smaller slice fails where it surely loses, and does not leave the gate undecided where nothing can be told."""
    min_groups: Annotated[int, Field(ge=1)] = 30
    """The same in groups of rows, where rows have groups."""
    by: tuple[Literal["source", "label", "language", "length"], ...] = ()
    """Which of ``evaluate.slices`` to look at; empty means all but ``label``, where accuracy is recall, which moves
    when a model says one label more often."""


def parts(config: Config, evidence: Evidence) -> dict[str, np.ndarray]:
    """Slices that are judged, each a mask ``[rows]``."""
    columns = config.by or DEFAULT
    return {name: rows for name, rows in evidence.slices.items() if name.partition("=")[0] in columns}


def judged(config: Config, datasets: Sequence[str]) -> list[tuple[str, ...]]:
    """Slices are of all rows."""
    return [tuple(datasets)]


def comparisons(config: Config, evidence: Evidence) -> int:
    """How many slices are judged."""
    return _losses.comparisons(config, evidence, parts(config, evidence))


def judge(config: Config, evidence: Evidence) -> Rule:
    """Whether every slice keeps what it had; the reason names what was looked at, and what was not."""
    chosen = parts(config, evidence)
    if chosen:
        rule = _losses.judge(config, evidence, chosen)
    else:
        rule = undecided(config.kind, f"there is no slice by {', '.join(config.by or DEFAULT)}", -config.max_loss)
    if not (others := [name for name in evidence.slices if name not in chosen]):
        return rule
    why = f"`by` names {', '.join(config.by)}" if config.by else "labels only where `by` names them"
    return rule.model_copy(update={"reason": f"{rule.reason}. Not looked at: {_losses.named(others)} ({why})"})
