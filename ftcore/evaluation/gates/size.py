"""The served model must be small enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore.evaluation.gates._undecided import undecided
from ftcore.recipe.kinds import Config as Base
from ftcore.registry.verdict import Rule

if TYPE_CHECKING:
    from ftcore.registry.verdict import Evidence

EXAMPLE = {"kind": "size", "max_bytes": 100_000_000}


class Config(Base):
    """Bytes of the weights and graphs of the form that serves."""

    kind: Literal["size"] = "size"
    max_bytes: Annotated[int, Field(gt=0)]
    """Most bytes."""


def judge(config: Config, evidence: Evidence) -> Rule:
    """Whether the served form fits."""
    size = evidence.figures.get("size_bytes", {}).get(evidence.served)
    if size is None:
        return undecided(config.kind, f"the size of {evidence.served} is not known", config.max_bytes)
    reason = f"{evidence.served} takes {size / 1e6:.1f} MB, {config.max_bytes / 1e6:.1f} MB are allowed"
    passed = size <= config.max_bytes
    return Rule(gate=config.kind, passed=passed, reason=reason, measured=size, bound=config.max_bytes)
