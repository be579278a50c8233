"""The served model must be small enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.evaluation.gates._base import Gate

if TYPE_CHECKING:
    from ftcore.registry.verdict import Evidence, Rule


class Size(Gate):
    """Bytes of the weights and graphs of the form that serves."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "size", "max_bytes": 100_000_000}

    kind: Literal["size"] = "size"
    max_bytes: Annotated[int, Field(gt=0)]
    """Most bytes."""

    @property
    def bound(self) -> float:
        """Most bytes."""
        return self.max_bytes

    def judge(self, evidence: Evidence) -> Rule:
        """Whether the served form fits."""
        size = evidence.figures.get("size_bytes", {}).get(evidence.served)
        if size is None:
            return self.undecided(f"the size of {evidence.served} is not known")
        reason = f"{evidence.served} takes {size / 1e6:.1f} MB, {self.max_bytes / 1e6:.1f} MB are allowed"
        return self.rule(size <= self.max_bytes, reason, measured=size)
