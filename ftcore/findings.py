"""What doctor finds, and how it is mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftcore.ledger import Acknowledgement


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    what: str
    """One sentence."""
    hint: str
    """What mending does, or what a person has to do."""
    mend: Callable[[], object] | None = None
    """Mends it; None where only a person can."""
    fault: bool = True
    """False for what is only in progress, such as a step that is running, and for what was acknowledged."""
    acknowledged: Acknowledgement | None = None
    """Who goes on although it does not hold."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        found = {"what": self.what, "hint": self.hint, "mendable": self.mend is not None, "fault": self.fault}
        return found | {"acknowledged": asdict(self.acknowledged) if self.acknowledged else None}
