"""What the champion knew of earlier domains must not be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.evaluation.gates._losses import LossGate
from ftcore.statistics.intervals import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from ftcore.registry.verdict import Evidence, Rule


class Forgetting(LossGate):
    """On no dataset may the candidate lose more than ``max_loss`` against the champion.

    Bounds hold for all datasets, and for the slices of ``slice``, at once.
    """

    ON_FEWER: ClassVar[str] = "on fewer only a large loss is seen"
    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "forgetting", "metric": "accuracy", "max_loss": 0.02}

    kind: Literal["forgetting"] = "forgetting"
    datasets: tuple[str, ...] = ()
    """Names of holdouts, each judged by itself; empty means all of them, and ``evaluate.general_text`` where the metric
    is measured on it: perplexity, and bits a byte for the task ``completion``."""
    max_loss: Annotated[float, Field(ge=0)] = 0.02
    """Largest loss against the champion, in the metric's unit."""

    def parts(self, evidence: Evidence) -> dict[str, np.ndarray]:
        """Datasets that are judged, each a mask ``[rows]``."""
        names = self.datasets or tuple(sorted(set(evidence.dataset) - {"test"}))
        return {name: evidence.on([name]) for name in names}

    def judged(self, datasets: Sequence[str]) -> list[tuple[str, ...]]:
        """Each holdout by itself."""
        return [(name,) for name in self.datasets or datasets if name != "test"]

    def judge(self, evidence: Evidence) -> Rule:
        """Whether every domain keeps what it had, and general text, too, where it was read."""
        if not self.parts(evidence) and "general_text" not in evidence.figures:
            return self.undecided("no evaluate.holdouts has a row that judges, and there is no general_text")
        return super().judge(evidence)

    def elsewhere(self, evidence: Evidence) -> dict[str, Estimate]:
        """The gain against the champion on ``evaluate.general_text``, where all is judged and has the metric."""
        against = (evidence.figures.get("general_text") or {}).get("differences", {}).get("champion", {})
        if self.datasets or self.metric not in against:
            return {}
        rise = Estimate.model_validate(against[self.metric])
        if evidence.sign(self.metric) > 0:
            return {"general_text": rise}
        fall = {"value": -rise.value, "low": -rise.high, "high": -rise.low}
        return {"general_text": rise.model_copy(update=fall)}
