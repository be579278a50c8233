"""Whether what a version serves with is still there, and still what was recorded when it was judged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftcore.registry import served
from ftcore.store.store import hash_folder
from ftcore.tracking import artefact_files, registered
from ftcore.tracking.client import HASH_TAG, SIZE_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftcore.store.store import RecipeStore
    from ftcore.tracking.client import Tracking, Version

READ_BYTES = 500_000_000
"""An artefact that serves is read and hashed up to this size, which takes seconds; a larger one is told by its files'
number and bytes, so that a rollback stays one of seconds."""
SIZE = re.compile(r"[0-9]{1,18}/[0-9]{1,18}")
"""Files and bytes of an artefact, as its tag has them; the tag is anybody's who may write to MLflow."""
CHANGING = ("card",)
"""Artefacts that are written anew with every decision."""


@dataclass(frozen=True)
class Checked:
    """What the artefacts of a version are worth."""

    serving: tuple[str, ...] = ()
    """What is wrong with those that serve, such as ``has lost its artefact 'onnx'``: it must not be put in place."""
    others: tuple[str, ...] = ()
    """What is wrong with those that do not, such as the evaluation that the next candidate is compared with."""
    read: tuple[str, ...] = ()
    """Artefacts whose every byte was compared; the others were told by number of files, bytes and recorded hash."""


def check(
    tracking: Tracking, version: Version, needs: Sequence[str], shelf: RecipeStore, read_bytes: int | None = None
) -> Checked:
    """Compare the artefacts in MLflow with what was recorded of them; nothing is changed, no cache believed.

    Args:
        tracking: the registry.
        version: which one.
        needs: artefacts without which it cannot serve.
        shelf: its ledger says what a version was promoted with; of one that never was, its tags say what was judged.
            What was erased on request explains a changed evaluation.
        read_bytes: artefacts of ``needs`` up to this size are read; by default ``READ_BYTES``.

    Raises:
        TransientError: MLflow does not answer.
    """
    tags = registered.run_tags(tracking, version.run)
    promise = served.of_version(shelf, version.number)
    judged = (promise.artefacts if promise else None) or served.judged(shelf, version)
    limit = READ_BYTES if read_bytes is None else read_bytes
    known = {**registered.hashes(tags, but=CHANGING), **judged}
    faults: dict[str, str] = {}
    read = []
    for name in dict.fromkeys([*needs, *known]):
        fault = _size_fault(tags.get(f"{SIZE_TAG}{name}", ""), artefact_files.size(tracking, version.run, name))
        fault = fault or _hash_fault(version, name, judged, tags, shelf)
        if not fault and name in needs and name in known and _bytes(tags.get(f"{SIZE_TAG}{name}", "")) <= limit:
            read.append(name)
            expected = tags.get(f"{HASH_TAG}{name}", known[name]) if name in served.REWRITTEN else known[name]
            fault = _content_fault(tracking, version, name, expected)
        if fault:
            faults[name] = fault.format(name=repr(name))
    serving = tuple(fault for name, fault in faults.items() if name in needs)
    others = tuple(fault for name, fault in faults.items() if name not in needs)
    return Checked(serving, others, tuple(read))


def differing(tracking: Tracking, version: Version, shelf: RecipeStore, judged: Mapping[str, str]) -> list[str]:
    """What of a version in MLflow is not what was judged, tags and bytes; nothing is believed that is not read.

    Args:
        tracking: the registry.
        version: which one.
        shelf: its erasures explain a changed evaluation.
        judged: SHA-256 of each artefact; of one larger than ``READ_BYTES`` the size is compared alone.

    Raises:
        TransientError: MLflow does not answer.
    """
    tags = registered.run_tags(tracking, version.run)
    logged, faults = registered.hashes(tags, but=CHANGING), []
    for name in sorted({*logged, *judged}):
        size = tags.get(f"{SIZE_TAG}{name}", "")
        expected = logged.get(name, "") if name in served.REWRITTEN else judged.get(name, "")
        fault = "" if name in judged else "has an artefact {name} that was not judged"
        fault = fault or ("" if name in logged else "has lost the tag of its artefact {name}")
        fault = fault or _hash_fault(version, name, judged, tags, shelf)
        fault = fault or _size_fault(size, artefact_files.size(tracking, version.run, name))
        if not fault and _bytes(size) <= READ_BYTES:
            fault = _content_fault(tracking, version, name, expected)
        faults += [fault.format(name=repr(name))] if fault else []
    return faults


def _size_fault(then: str, there: str) -> str:
    if not there:
        return "has lost its artefact {name}"
    if not then or there.endswith("?") or then == there:
        return ""
    if not SIZE.fullmatch(then):
        return "has another size of its artefact {name} in MLflow than the platform writes"
    return f"has {_said(there)} in its artefact {{name}}, and {_said(then)} was recorded"


def _said(size: str) -> str:
    files, _, amount = size.partition("/")
    return f"{files} file{'' if files == '1' else 's'} of {int(amount):,} bytes"


def _hash_fault(
    version: Version, name: str, judged: Mapping[str, str], tags: Mapping[str, str], shelf: RecipeStore
) -> str:
    then, logged = judged.get(name, ""), tags.get(f"{HASH_TAG}{name}", "")
    if not then or not logged or then == logged:
        return ""
    if served.explained(shelf, version.run, name, (then, logged)):
        return ""
    return "has another artefact {name} than the one that was judged"


def _content_fault(tracking: Tracking, version: Version, name: str, expected: str) -> str:
    with artefact_files.fresh(tracking, version.run, name) as folder:
        if folder is None:
            return "has lost its artefact {name}"
        return "" if hash_folder(folder) == expected else "has an artefact {name} that was changed: its hash differs"


def _bytes(size: str) -> int:
    return int(size.partition("/")[2]) if SIZE.fullmatch(size) else 0
