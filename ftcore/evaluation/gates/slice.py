"""No group of rows may become worse than the champion left it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ftcore.evaluation.gates._losses import LossGate, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from ftcore.registry.verdict import Evidence, Rule

DEFAULT = ("source", "language", "length")


class Slice(LossGate):
    """No slice that the recipe's ``evaluate.slices`` makes may lose more than ``max_loss``.

    Bounds hold for all slices, and for the datasets of ``forgetting``, at once.
    """

    ON_FEWER: ClassVar[str] = "on fewer no slice is large enough, and only a large loss is seen"
    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "slice", "metric": "accuracy", "max_loss": 0.05}

    kind: Literal["slice"] = "slice"
    by: tuple[Literal["source", "label", "language", "length"], ...] = ()
    """Which of ``evaluate.slices`` to look at; empty means all but ``label``, where accuracy is recall, which moves
    when a model says one label more often."""

    def parts(self, evidence: Evidence) -> dict[str, np.ndarray]:
        """Slices that are judged, each a mask ``[rows]``."""
        columns = self.by or DEFAULT
        return {name: rows for name, rows in evidence.slices.items() if name.partition("=")[0] in columns}

    def judged(self, datasets: Sequence[str]) -> list[tuple[str, ...]]:
        """Slices are of all rows."""
        return [tuple(datasets)]

    def judge(self, evidence: Evidence) -> Rule:
        """Whether every slice keeps what it had; the reason names what was looked at, and what was not."""
        chosen = self.parts(evidence)
        if chosen:
            rule = super().judge(evidence)
        else:
            rule = self.undecided(f"there is no slice by {', '.join(self.by or DEFAULT)}")
        if not (others := [name for name in evidence.slices if name not in chosen]):
            return rule
        why = f"`by` names {', '.join(self.by)}" if self.by else "labels only where `by` names them"
        return rule.model_copy(update={"reason": f"{rule.reason}. Not looked at: {listed(others)} ({why})"})
