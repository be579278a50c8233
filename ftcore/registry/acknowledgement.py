"""Going on although something is lost for good: a signed line that lists every break there is, by whom and why.

Each break is known by the hash of its place and of what is there now, so that another one in its place is found again.
What is signed stays as it is: a line that is lost is not written anew, and a forged one counts no more than before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError, TransientError
from ftcore.registry import integrity, intents, repairs
from ftcore.registry.intents import HEAD_TAG
from ftcore.registry.login import HINT
from ftcore.registry.promotion import LOCK, ModelRegistry, by_hand
from ftcore.registry.rights import named
from ftcore.store import appending, ledger
from ftcore.store.ledger import HEADS, Audit, Break
from ftcore.store.records import now
from ftcore.store.slots import ACKNOWLEDGE
from ftcore.tracking import registered
from ftcore.tracking.client import CHAMPION

if TYPE_CHECKING:
    from ftcore.registry.login import Person

TRIES = 5
"""How often somebody else's line may take the number meanwhile."""


def acknowledge(registrar: ModelRegistry, person: Person, reason: str) -> dict[str, Any]:
    """Put back what what is signed tells, and acknowledge every other break of ledger, records and registry.

    Killed in between it leaves all or nothing: the line's number is written first and at once.

    Args:
        registrar: of the recipe.
        person: who decides; where the recipe asks for approvals it needs a login.
        reason: why nothing can be restored.

    Returns:
        The ledger's line; its ``breaks`` are what was acknowledged.

    Raises:
        FtcoreError: no person is named or logged in, there is nothing to acknowledge, or this machine has not the
            platform's key.
        TransientError: MLflow does not answer, or others are writing all the time.
        BusyError: a change of the registry is being made right now.
    """
    named(person.name, reason)
    if registrar.recipe.approval.required and not person.logged_in:
        raise FtcoreError("the recipe asks for approvals, and to go on despite a break needs a login", hint=HINT)
    shelf, tracking = registrar.shelf, registrar.tracking
    with shelf.lock(LOCK, tracking.settings.lock_timeout_s):
        for _ in range(TRIES):
            audit, found = _open(registrar)
            known = audit.newest
            if known is None:
                hint = f"ftcore keys trust KEY, where it is the platform's; ftcore ledger {shelf.name} --check names it"
                raise FtcoreError(f"the ledger of {shelf.name} has no line of a key that is trusted here", hint=hint)
            run_id = by_hand()
            line = {"at": now().isoformat(), "kind": ACKNOWLEDGE, "run_id": run_id, "decision": "acknowledged"}
            line |= _told(found, person, reason)
            if appending.resume(shelf.chain, f"{ACKNOWLEDGE}--{run_id}.json", line, audit.chained, known):
                intents.witness(shelf, tracking)
                return shelf.line(ACKNOWLEDGE, run_id) or line
    raise TransientError(f"others write into the ledger of {shelf.name} all the time", hint="run it again")


def _told(found: Sequence[Break], person: Person, reason: str) -> dict[str, Any]:
    """What the line says. A break of what is kept of the newest line ends with this one, and gets no digest."""
    breaks = [
        {"n": one.n, "line": one.line, "what": one.what} | ({} if one.line == HEADS else {"digest": one.digest})
        for one in found
    ]
    count = f"{len(found):,} break{'' if len(found) == 1 else 's'}"
    told = {"reason": f"{count} acknowledged, the first: {found[0].what}; {reason}", "by": person.name, "why": reason}
    return told | ({"witness": person.witness} if person.logged_in else {}) | {"breaks": breaks}


def _open(registrar: ModelRegistry) -> tuple[Audit, list[Break]]:
    """The ledger, and the breaks that are left once everything was put back that can be.

    Raises:
        FtcoreError: there is none.
    """
    shelf, tracking = registrar.shelf, registrar.tracking
    name = shelf.name
    while True:
        audit = ledger.audit(shelf, registered.model(tracking).tags.get(f"ftcore.{HEAD_TAG}"))
        half_done = next(intents.pending(shelf), None) is not None  # what is half done agrees with nothing yet
        found = ledger.unacknowledged(audit.breaks if half_done else integrity.check(shelf, tracking))
        known = repairs.Repairs(shelf, tracking)
        do = next((repair.do for one in found if (repair := known.of(one)) and repair.do), None)
        if do is None:
            break
        do()
    left = [one for one in found if one.line != CHAMPION]
    if not left:
        doctor = f"ftcore doctor {name} --fix"
        hint = f"{doctor} puts the champion's alias right" if found else f"{doctor} finishes it" if half_done else ""
        what = "a change is half done, and the ledger's chain holds" if half_done else "nothing is to acknowledge"
        raise FtcoreError(f"{name}: {found[0] if found else what}", hint=hint)
    return audit, left
