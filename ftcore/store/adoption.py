"""Lines and records from before the ledger was a chain: they count where nothing was signed yet, or a person says so.

A machine that makes the platform's key at this very moment adopts what is there: it is an old store that goes on. Where
the key is there already, a store without a chain may as well be one whose chain somebody took away.
"""

from __future__ import annotations

from typing import Any

from ftcore.errors import FtcoreError
from ftcore.recipe.canonical import sha256
from ftcore.store.chain import Chain
from ftcore.store.files import create_bytes, names_in, read_many
from ftcore.store.records import now
from ftcore.store.slots import Slot, number

ADOPTED = "ledger--adopted.json"
"""The line that lists the lines from before there was a chain."""


def begin(chain: Chain) -> Slot | None:
    """Make the platform's key, and adopt what is older than it; None where nothing is.

    Raises:
        FtcoreError: there is a key already, and lines that nobody signed.
    """
    is_first = not chain.ring.trusted()
    chain.ring.make()
    if is_first:
        return adopt(chain)
    old = names_in(chain.folder)
    if old and not names_in(chain.slots):
        raise chain.unsigned(len(old))
    return chain.signed(0)


def adopt(chain: Chain, **figures: object) -> Slot | None:
    """List the lines and records from before there was a chain; None where there are none.

    Args:
        chain: of a recipe's ledger, which has no number yet.
        figures: who adopts them and why, where a person does.
    """
    chain.ring.make()
    old = read_many(chain.folder, names_in(chain.folder))
    records = _unsigned(chain)
    if not (old or records) or number(1) in names_in(chain.slots):  # another process was first
        return chain.signed(0)
    line: dict[str, Any] = {"n": 0, "at": "", "kind": "ledger", "run_id": "adopted", "decision": "adopted"}
    told = f"{len(old):,} lines and {len(records):,} records from before the ledger was a chain"
    line |= {"reason": told, "before": "", "records": records} | figures
    line["lines"] = {name: sha256(data) for name, data in sorted(old.items())}
    create_bytes(chain.slots / number(0), Slot(chain.recipe, ADOPTED, line).sign(chain.ring).data)
    slot = chain.signed(0)
    assert slot is not None
    return chain.following(0, slot.data, None, chain.ring.trusted())


def by_person(chain: Chain, by: str, reason: str) -> dict[str, Any]:
    """Adopt what is there in somebody's name, and return the line.

    Raises:
        DamagedFileError: this machine knows of a newer line, so that a chain was taken away.
        FtcoreError: there is a chain, or nothing to adopt.
    """
    if chain.newest() is not None:
        raise FtcoreError(f"the ledger of {chain.recipe} is a chain already", hint="")
    slot = adopt(chain, by=by, why=reason, decided_at=now().isoformat())
    if slot is None:
        raise FtcoreError(f"{chain.recipe} has no lines or records to adopt", hint="")
    return slot.line


def _unsigned(chain: Chain) -> dict[str, str]:
    """Records from before records were signed, by place, with their hashes; none where any record is signed."""
    root = chain.folder.parent
    if next(root.glob("runs/**/record.sig.json"), None) is not None:
        return {}
    found = sorted(root.glob("runs/**/record.json"), key=str)
    return {path.as_posix().removeprefix(root.as_posix()).lstrip("/"): sha256(path.read_bytes()) for path in found}
