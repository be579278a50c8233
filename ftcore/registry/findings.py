"""What doctor finds, and how it is mended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError

if TYPE_CHECKING:
    from ftcore.store.ledger import Acknowledgement

ODD = "restore from a backup what was changed there, and find out who changed it"


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


def each(what: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a look finds; one that cannot be ended is a finding itself, and hides no other.

    Raises:
        TransientError: MLflow does not answer, so that nothing can be said.
    """
    try:
        yield from look()
    except FtcoreError as error:
        if error.retryable:
            raise
        yield Finding(f"{what} cannot be examined: {error.args[0]}", error.hint or ODD)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        yield Finding(f"{what} cannot be examined: {type(error).__name__}: {error}", ODD)
