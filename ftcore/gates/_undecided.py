"""How a gate says that it cannot tell."""

from __future__ import annotations

from ftcore.verdict import Rule


def undecided(gate: str, because: str, bound: float | None = None, rows: int = 0) -> Rule:
    """A rule that neither passed nor failed; the recipe says whether that fails or asks a person."""
    return Rule(gate=gate, passed=None, reason=f"undecided: {because}", bound=bound, rows=rows)
