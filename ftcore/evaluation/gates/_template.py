"""What a candidate must prove, in one sentence: it is what `ftcore ls` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.evaluation.gates._base import Gate

if TYPE_CHECKING:
    from ftcore.registry.verdict import Evidence, Rule


class Template(Gate):
    """What a recipe says about this gate."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "NAME", "minimum": 0.5}

    kind: Literal["NAME"] = "NAME"
    minimum: Annotated[float, Field(ge=0, le=1)]
    """Say what it bounds and in which unit."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    """With fewer rows the gate is undecided."""

    @property
    def bound(self) -> float:
        """What the measured number is compared with."""
        return self.minimum

    def judge(self, evidence: Evidence) -> Rule:
        """Whether the candidate passes. Judge the flavour that serves, and say *undecided* rather than guess."""
        rows = evidence.on(["test"])
        count = int(rows.sum())
        if few := self.too_few(evidence, rows, "judge accuracy"):
            return self.undecided(few, count)
        measured = evidence.value("accuracy", evidence.candidate[evidence.served][rows])
        reason = f"measured {measured:.3f} on {count:,} rows, {self.bound:g} is required"
        return self.rule(measured >= self.bound, reason, count, measured=measured)
