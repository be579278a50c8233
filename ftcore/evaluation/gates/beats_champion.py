"""The candidate must be better than the champion on the same rows, and not by chance.

Every candidate that is judged against one champion is another look at the same test rows, and has another chance to be
better by luck. The error rate therefore holds over all looks together, by alpha spending: a row that ``m`` earlier
verdicts judged on offers ``6 / (π² (m + 1)²)`` of the allowed error, which sums to 1 over all looks there may ever be
(Euler's sum of 1 / k²); a look spends the mean of what its rows offer. By Bonferroni's inequality the chance that any
look at the same rows promotes a candidate that is no better is at most ``1 - confidence``, in whatever way the looks
depend on one another. New rows offer anew: with rows that change, at most ``1 - confidence`` is spent for each time
that all rows were replaced.

Sources: D. Foster and R. Stine (2008), *α-investing: a procedure for sequential control of expected false discoveries*
(alpha spending over a stream of tests); A. Blum and M. Hardt (2015), *The Ladder* (why a holdout may be used again as
long as only the verdict goes back into training: before a promotion there is one history of verdicts, all of them no).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ftcore.evaluation.gates._base import Gate, sure
from ftcore.recipe import sealed
from ftcore.statistics.intervals import difference

if TYPE_CHECKING:
    import numpy as np

    from ftcore.registry.verdict import Evidence, Rule


class BeatsChampion(Gate):
    """A paired bootstrap of the difference; its one-sided lower bound must lie above ``minimum_gain``.

    The error rate holds over all looks at the same rows against one champion.
    """

    FINAL: ClassVar[bool] = True
    """Whether the gate is judged on the sealed rows of the test split, where the recipe seals some."""
    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "beats_champion", "metric": "accuracy", "datasets": ["test"]}

    kind: Literal["beats_champion"] = "beats_champion"
    metric: str = "accuracy"
    """Name of a metric of the task; for one that is better when lower, a fall is a gain."""
    datasets: tuple[str, ...] = ("test",)
    """Datasets whose rows are judged together: ``test`` and names of holdouts."""
    minimum_gain: Annotated[float, Field(ge=0)] = 0.0
    """Smallest true gain that is worth a promotion, in the metric's unit."""
    non_inferior: Annotated[float, Field(gt=0)] | None = None
    """Instead of a gain: largest true loss that is still as good as the champion, in the metric's unit."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """That no candidate without a true gain is promoted, over all looks at the same rows against one champion."""
    min_rows: Annotated[int, Field(ge=1)] = 200
    """With fewer rows the gate is undecided, unless it surely fails; on sealed rows even then."""
    min_groups: Annotated[int, Field(ge=1)] = 30
    """With fewer groups of rows the gate is undecided, where rows have groups."""

    @model_validator(mode="after")
    def _asks_for_one_thing(self) -> BeatsChampion:
        if self.non_inferior is not None and self.minimum_gain:
            raise ValueError("minimum_gain asks for a gain, non_inferior allows a loss: give one of them")
        return self

    @property
    def bound(self) -> float:
        """What the lower bound of the gain must lie above."""
        return self.minimum_gain if self.non_inferior is None else -self.non_inferior

    def judge(self, evidence: Evidence) -> Rule:
        """Whether the candidate is better; a first model has nobody to beat."""
        rows = evidence.on(self.datasets, self.metric)
        count, groups = int(rows.sum()), evidence.groups(rows)
        if evidence.champion is None:
            return self.rule(True, "there is no champion to beat yet", count, groups, bound=None)
        few = self.wanting(evidence)
        if few and (evidence.sealed or not count):  # sealed rows are not looked at in vain
            return self.undecided(few, count, groups)

        both = [evidence.champion[evidence.served][rows], evidence.candidate[evidence.served][rows]]
        # Turned round, a fall of a metric that is better when lower is a gain.
        low, high = both if evidence.sign(self.metric) > 0 else both[::-1]
        look = spend(self.confidence, None if evidence.looks is None else evidence.looks[rows])
        alpha = look["alpha"]
        drawing = (evidence.resamples, evidence.seed, 1 - alpha, evidence.of(rows))
        gain = difference(evidence.metrics, self.metric, low, high, *drawing)
        where = f"on {gain.size}, paired, of {sealed.PART if evidence.sealed else ', '.join(self.datasets)}"
        if not gain.defined:
            because = few or f"{evidence.title(self.metric)} is not defined {where}"
            return self.undecided(because, count, groups)
        if few and (gain.high >= self.bound or not sure(count, groups)):
            numbers = f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
            because = (
                f"{few}; {numbers} in {evidence.title(self.metric)} {where}, more than {self.bound:+g} is required"
            )
            return self.undecided(because, count, groups, gain)
        passed = gain.low > self.bound
        word = (
            ("beats" if passed else "does not surely beat")
            if self.non_inferior is None
            else ("is as good as" if passed else "may be worse than")
        )
        reason = (
            f"{word} the champion in {evidence.title(self.metric)} by {gain.value:+.3f} "
            f"(at least {gain.low:+.3f} with {(1 - alpha) * 100:.4g} % confidence) {where}; "
            f"look {look['look']:.3g} at these rows spends {alpha:.2%} of the {1 - self.confidence:.2%} error allowed "
            f"over all looks, {look['alpha_spent']:.2%} so far (alpha spending by 1/k²)"
        )
        return self.rule(passed, reason, count, groups, gain, **look)

    def wanting(self, evidence: Evidence) -> str:
        """Why the rows are too few for a comparison, and how many are needed; empty where they are enough."""
        rows = evidence.on(self.datasets, self.metric)
        purpose = "compare with the champion"
        if not evidence.sealed:
            return self.too_few(evidence, rows, purpose)
        because = self.too_few(evidence, rows, purpose, sealed.PART)
        return f"{because}: raise evaluate.sealed, or add rows" if because else ""


def spend(confidence: float, earlier: np.ndarray | None) -> dict[str, float]:
    """What a look at some rows may spend of the allowed error.

    Args:
        confidence: over all looks together.
        earlier: verdicts that judged on each row before, ``[rows]``; None where there were none.

    Returns:
        ``look``, its number, 1 where all rows are new; ``alpha``, the chance of a false promotion in this look, and
        ``alpha_spent``, the same of all looks so far, this one among them.
    """
    import numpy as np

    counts = np.zeros(1, int) if earlier is None else np.asarray(earlier, int)
    offers = 6 / math.pi**2 / np.arange(1, counts.max() + 2) ** 2.0
    allowed = 1 - confidence
    return {
        "look": 1 + float(counts.mean()),
        "alpha": allowed * float(offers[counts].mean()),
        "alpha_spent": allowed * float(offers.cumsum()[counts].mean()),
    }
