"""What a crash, or a hand in MLflow, can leave behind: found by comparing store, ledger and registry, and mended."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ftcore.data import erasures, snapshot
from ftcore.errors import FtcoreError
from ftcore.registry import alternatives, artefacts, integrity, intents, promoted, repairs, served, versions
from ftcore.registry.findings import Finding, each
from ftcore.registry.promotion import LOCK, ModelRegistry, by_hand
from ftcore.store import layout, locks
from ftcore.store.files import read_bytes, set_aside
from ftcore.store.records import Record, now
from ftcore.store.store import read_json, write_json
from ftcore.tracking import registered, runs
from ftcore.tracking.client import CANDIDATE, CHAMPION, PREVIOUS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upath import UPath

    from ftcore.store.locks import Held
    from ftcore.store.store import RecipeStore
    from ftcore.tracking.client import Version
    from ftcore.tracking.registered import Model

STEPS = ("ingest", "prepare", "validate", "plan", "tune", "train", "export", "evaluate", "gate", "approve", "promote",
         "watch", "decide", "shard")  # fmt: skip
"""Locks that a step holds while it runs; ``pipeline`` lists them, too, and stands above this module."""

TRAINING = ("train", "tune")
"""Steps that work on runs of MLflow which are not ended yet."""
ORPHAN_AFTER = timedelta(minutes=10)
"""How long nothing was heard of a run that nobody works on: Airflow may be about to try its step again."""
HANGS_AFTER_S = 24 * 3600.0
"""Age of a process that holds a lock which is no step's, from which on it is taken to hang."""


def examine(registrar: ModelRegistry, needs: Sequence[str] = ()) -> list[Finding]:
    """Compare what store, ledger and registry say of a recipe; changes nothing.

    Args:
        registrar: of the recipe.
        needs: artefacts without which the champion cannot serve.

    Returns:
        What is wrong. Lines that cannot be read, then half-done changes, hide what only shows once they are mended.

    Raises:
        TransientError: MLflow does not answer.
        BusyError: a change is being made right now.
    """
    shelf = registrar.shelf
    with shelf.lock(LOCK, registrar.tracking.settings.lock_timeout_s):
        found = [*each("the ledger", partial(_ledger, shelf))]
        if not found:
            half_done = [*each("half-done changes", partial(_half_done, registrar))]
            if not half_done and versions.knows_champion(shelf):
                half_done += each("the aliases", partial(_aliases, registrar))
                half_done += each("the champion", partial(_champion, registrar, needs))
            found = [*each("ledger, registry and records", partial(_breaks, registrar)), *_known(registrar, half_done)]
    parts = {
        "the version of the store": partial(_layout, shelf),
        "the keys": partial(_keys, shelf),
        "the runs in MLflow": partial(_runs, registrar),
        "the place of the artefacts": partial(_moved, registrar),
        "the snapshots": partial(_snapshots, shelf),
        "the files of the store": partial(_files, shelf),
        "the locks": partial(_locks, shelf),
    }
    return [*found, *(one for what, look in parts.items() for one in each(what, look))]


def _layout(shelf: RecipeStore) -> Iterator[Finding]:
    """A store of an earlier version, which is read as it is: what is signed is not rewritten."""
    if (shelf.root / "runs").exists() and (found := layout.check(shelf.layout, "")) < layout.VERSION:
        hint = f"note layout {layout.VERSION}, so that no earlier ftcore writes to it"
        yield Finding(f"the store has layout {found}, of an earlier ftcore", hint, shelf.write_layout, fault=False)


def _keys(shelf: RecipeStore) -> Iterator[Finding]:
    """A public key of somebody else's, which evidence would be verified by, and whose lines would count."""
    ring = shelf.chain.ring
    if not ring.public_is_its_own():
        what = f"{ring.private.name}.pub is not the public key of {ring.private}"
        yield Finding(what, "write it anew, and find out who changed it", ring.write_public)


def _moved(registrar: ModelRegistry) -> Iterator[Finding]:
    """A database of MLflow's that names the artefacts of the store that this one was copied from."""
    try:
        registrar.tracking.check_place()
    except FtcoreError as error:
        if error.retryable:
            raise
        yield Finding(str(error.args[0]), error.hint)


def mend(registrar: ModelRegistry, needs: Sequence[str] = ()) -> tuple[list[str], list[Finding]]:
    """Mend what can be mended.

    Returns:
        What was mended, a sentence each, and what is left.
    """
    done: list[str] = []
    for _ in range(4):  # one thing hides another
        found = examine(registrar, needs)
        mendable = [one for one in found if one.mend is not None]
        if not mendable:
            return done, found
        for one in mendable:
            assert one.mend is not None
            one.mend()
            done.append(f"{one.what}: {one.hint}")
    return done, examine(registrar, needs)


def _known(registrar: ModelRegistry, found: list[Finding]) -> list[Finding]:
    """What was found by the ledger's lines; where a key that is not trusted here signed some, they tell nothing yet."""
    known = repairs.Repairs(registrar.shelf, registrar.tracking)
    if not found or not known.strangers:
        return found
    what = f"the ledger of {registrar.shelf.name} has lines of the key %s, which is not trusted here"
    return [Finding(what % key[:16], known.trust(key)) for key in sorted({*known.strangers.values()})]


def _half_done(registrar: ModelRegistry) -> Iterator[Finding]:
    def finish() -> None:
        with registrar.at_work():
            pass

    for path, intent in intents.pending(registrar.shelf):
        what, hint = f"{path.name} is no intent of the platform's", "set it aside, and find out who wrote it"
        what, hint = intents.told(registrar.shelf, intent) if intent else (what, hint)
        yield Finding(what, hint, finish)


def _aliases(registrar: ModelRegistry) -> Iterator[Finding]:
    tracking, shelf = registrar.tracking, registrar.shelf
    book = versions.book(tracking)
    known = {version.number for version in book.versions}
    for alias, number in book.model.aliases.items():
        if number not in known:
            gone = f"the alias {alias} points to version {number}, which is not there"
            yield Finding(gone, "take the alias away", partial(registered.drop_alias, tracking, alias))
    holder, ledgers = book.model.aliases.get(CHAMPION), versions.crowned(shelf)
    if ledgers is not None and holder != ledgers:
        yield _other_champion(registrar, holder, ledgers, there=ledgers in known)
    if ledgers is None and holder is not None:
        hint = alternatives.to_unexplained(registrar.recipe.name, holder)
        yield Finding(f"version {holder} is champion, and the ledger does not know why", hint)
    yield from _pairs(registrar, book.model)


def _other_champion(registrar: ModelRegistry, holder: int | None, ledgers: int, *, there: bool) -> Finding:
    """The registry's champion is not the ledger's: the ledger says why, so it is right, unless its version is gone."""
    said = "the registry has no champion" if holder is None else f"the registry's champion is version {holder}"
    what = f"{said}, the ledger's is version {ledgers}"
    if there:

        def put_back() -> None:
            registrar.tracking.set_alias(CHAMPION, registrar.tracking.version(ledgers))

        return Finding(what, f"give the alias back to version {ledgers}", put_back)

    def write_off() -> None:
        reason = f"version {ledgers} is not in the registry any more"
        # Whoever moved the alias meanwhile is champion by nobody's decision, and must not become it by this line.
        heir = None if holder is None or registrar.never_promoted(holder) else holder
        registrar.shelf.add_to_ledger("registry", by_hand(), "lost", reason, version=heir, lost=ledgers)

    return Finding(f"{what}, which is not in the registry", "write it off in the ledger", write_off)


def _pairs(registrar: ModelRegistry, model: Model) -> Iterator[Finding]:
    champion, previous = model.aliases.get(CHAMPION), model.aliases.get(PREVIOUS)
    unknown = previous is not None and registrar.never_promoted(previous)
    if champion is not None and (champion == previous or unknown):
        before = registrar.before(champion)

        def step_back() -> None:
            if before is None:
                registered.drop_alias(registrar.tracking, PREVIOUS)
            else:
                registrar.tracking.set_alias(PREVIOUS, registrar.tracking.version(before))

        hint = f"make version {before} previous" if before else "take the alias previous away"
        what = f"version {previous} is previous, and no ledger line ever promoted it"
        yield Finding(what if unknown else f"version {champion} is champion and previous at once", hint, step_back)
    nobody = champion is None and versions.crowned(registrar.shelf) is None
    if model.newest and CANDIDATE not in model.aliases and nobody:
        hint = alternatives.to_champion(registrar.tracking)
        yield Finding("there are versions, and none is candidate or champion", hint)


def _champion(registrar: ModelRegistry, needs: Sequence[str]) -> Iterator[Finding]:
    champion, known = registrar.tracking.alias(CHAMPION), versions.crowned(registrar.shelf)
    if champion is None or champion.number != known:  # whose alias it is has to be put right first
        return
    yield from each("the champion", partial(_artefacts, registrar, champion, needs, "champion"))
    yield from each("the champion's line", partial(_unnamed, registrar, champion))
    if previous := registrar.tracking.alias(PREVIOUS):
        yield from each("the previous champion", partial(_artefacts, registrar, previous, needs, "previous champion"))
    run_id = champion.tags.get("ftcore.run", "")
    line = registrar.shelf.line("promote", run_id) if run_id else None
    if line and line["decision"] == "promoted" and not _has_record(registrar.shelf, run_id, "promote"):
        what = f"version {champion.number} was promoted, and the step of run {run_id} did not end"
        hint = f"clear the task promote in Airflow, which notifies monitor__{registrar.recipe.name} of the champion"
        yield Finding(what, f"{hint}; or ftcore step promote {registrar.recipe.name} --run {run_id}")


def _has_record(shelf: RecipeStore, run_id: str, step: str) -> bool:
    """Whether a step has ended; one whose record cannot be read is told of among the files."""
    try:
        return shelf.record(run_id, step) is not None
    except (FtcoreError, ValidationError):
        return True


def _unnamed(registrar: ModelRegistry, champion: Version) -> Iterator[Finding]:
    """A champion whose line in the ledger, of an earlier ftcore, does not name what it was promoted with."""
    shelf, known = registrar.shelf, served.by_ledger(registrar.shelf)
    if known is None or known.version != champion.number or served.of_version(shelf, champion.number):
        return
    facts = served.facts(shelf, registrar.tracking, champion)
    found = artefacts.check(registrar.tracking, champion, list(facts["artefacts"]), shelf, sys.maxsize)
    what = (
        f"the ledger's line of the champion, version {champion.number}, names no artefacts, so that nothing may serve"
    )

    def take_over() -> None:
        reason = f"version {champion.number} goes on as champion with the artefacts that it was judged with"
        shelf.add_to_ledger("registry", by_hand(), "taken over", reason, version=champion.number, by="doctor", **facts)

    if facts["artefacts"] and not found.serving:
        yield Finding(what, "take the hashes over from its tags; its artefacts were read and have them", take_over)
    else:
        yield Finding(what, f"its artefacts are not what its tags say; {alternatives.to_champion(registrar.tracking)}")


def _artefacts(registrar: ModelRegistry, version: Version, needs: Sequence[str], role: str) -> Iterator[Finding]:
    found, name = artefacts.check(registrar.tracking, version, needs, registrar.shelf), registrar.recipe.name
    for fault in found.serving:
        back = f"a rollback of {name} has nothing to go back to"
        instead = alternatives.to_champion(registrar.tracking) if role == CHAMPION else back
        yield Finding(f"the {role}, version {version.number}, {fault}", f"restore it from a backup, or {instead}")
    for fault in found.others:
        hint = "restore it from a backup; it serves nothing, so the version goes on serving"
        yield Finding(f"the {role}, version {version.number}, {fault}", hint)


def _runs(registrar: ModelRegistry) -> Iterator[Finding]:
    """Runs of MLflow that nobody works on any more: their process was killed, or MLflow was away when it ended."""
    held = {one.what.partition(".")[0] for one in locks.held(registrar.shelf)}
    if any(lock == step or lock.startswith(f"{step}-") for lock in held for step in TRAINING):
        return
    for one in runs.running(registrar.tracking):
        if now() - one.seen_at < ORPHAN_AFTER:
            continue
        at = f"{one.seen_at:%Y-%m-%d %H:%M} UTC"
        since = f"MLflow shows run {one.run_id} as running, and nothing was heard of it since {at}"
        if one.host not in ("", platform.node()):
            yield Finding(since, f"look on {one.host}, which began it", fault=False)
            continue
        close = partial(registrar.tracking.close_run, one.run, "KILLED", "its process ended without a word")
        yield Finding(f"{since}; no process works on it", "end it as killed; another try would go on with it", close)


def _snapshots(shelf: RecipeStore) -> Iterator[Finding]:
    try:
        identity = snapshot.current(shelf)
        if identity is None or snapshot.manifest(shelf, identity):
            return
    except (FtcoreError, ValueError, KeyError, TypeError):
        newest = _newest_snapshot(shelf)

        def point() -> None:
            write_json(shelf.root / "snapshots" / "current.json", {"snapshot": newest, "at": now().isoformat()})

        hint = f"make {newest}, the newest whole snapshot, current" if newest else "publish one: run the data chain"
        yield Finding("snapshots/current.json points nowhere", hint, point if newest else None)


def _newest_snapshot(shelf: RecipeStore) -> str:
    found = []
    for path in (shelf.root / "snapshots").iterdir():
        with suppress(ValueError, NotADirectoryError):
            found += [one] if (one := read_json(path / "manifest.json")) else []
    return str(max(found, key=lambda one: one["created_at"])["snapshot"]) if found else ""


def _ledger(shelf: RecipeStore) -> Iterator[Finding]:
    for path in shelf.root.glob("ledger/*.json"):
        if path.name[0] != "." and not _is_line(path):
            hint = "set it aside as .unreadable; restore it from a backup"
            yield Finding(
                f"{shelf.relative(path)} is no line of a ledger", hint, partial(set_aside, path, "unreadable")
            )


def _breaks(registrar: ModelRegistry) -> Iterator[Finding]:
    """What somebody else's hand changed: the first broken link of the ledger first."""
    shelf, tracking = registrar.shelf, registrar.tracking
    hint = _backup_hint(shelf)
    if any(True for _ in intents.pending(shelf)):  # what is half done agrees with nothing yet
        return
    mending = repairs.Repairs(shelf, tracking)
    for one in integrity.check(shelf, tracking):
        if one.line == CHAMPION:  # its alias is given back by another finding
            continue
        if one.acknowledged:
            known = f"nothing; where a backup turns up, restore it (line {one.acknowledged.n} of the ledger)"
            yield Finding(str(one), known, fault=False, acknowledged=one.acknowledged)
        elif repair := mending.of(one):
            yield Finding(str(one), repair.hint, repair.do)
        else:
            yield Finding(str(one), hint)


def _backup_hint(shelf: RecipeStore) -> str:
    """What to do about what nothing that is signed can put back."""
    return (
        "restore it from a backup, and find out who changed it; the ledger's signed line is right. What no backup has: "
        f"ftcore ledger {shelf.name} --acknowledge --reason '…' goes on without it"
    )


def _files(shelf: RecipeStore) -> Iterator[Finding]:
    """Records and erasures that nobody can read, and drafts that a process left when it died."""
    for path in shelf.root.glob("runs/*/*/record.json"):
        number = None if _is_record(path) else promoted.version_of(shelf, path.parent.parent.name, path.parent.name)
        if number is not None:
            what = f"{shelf.relative(path)} cannot be read, and version {number} was promoted with it"
            yield Finding(what, _backup_hint(shelf))
        elif not _is_record(path):
            hint = "remove it; its step will be run again"
            remove = partial(set_aside, path, "unreadable") if path.is_dir() else partial(path.unlink, missing_ok=True)
            yield Finding(f"{shelf.relative(path)} is half written", hint, remove)
    for path in erasures.unreadable(shelf):
        hint = "set it aside as .unreadable; restore it from a backup, or what it explains looks forged"
        yield Finding(f"{shelf.relative(path)} is no erasure", hint, partial(set_aside, path, "unreadable"))
    for path in shelf.root.glob("**/.*.tmp"):
        if not _is_alive(path.name.split(".")[-2]):
            died = f"{shelf.relative(path)} was left by a process that died"
            yield Finding(died, "remove it", partial(path.unlink, missing_ok=True))


def _locks(shelf: RecipeStore) -> Iterator[Finding]:
    """Locks that are held: by a run at work, or by a process that hangs. A lock whose holder died is free."""
    return (_held(one) for one in locks.held(shelf))


def _held(one: Held) -> Finding:
    """A lock that is held, with the step that is running, and since when."""
    age, run = one.age_s, f" for run {one.run_id}" if one.run_id else ""
    since = f", since {now() - timedelta(seconds=age):%Y-%m-%d %H:%M} UTC" if age else ""
    wait = "wait until it ends, or end the process if it hangs"
    if one.what in STEPS:
        return Finding(f"the step {one.what} is running{run} in process {one.process}{since}", wait, fault=False)
    if one.what in ("run", "monitor"):
        run = run.replace(" for ", " on ")
        return Finding(f"ftcore run is at work{run} in process {one.process}{since}", wait, fault=False)
    what = f"{one.file} is held by process {one.process}{since}"
    return Finding(what, "wait for it, or end it if it hangs", fault=age > HANGS_AFTER_S)


def _is_record(path: UPath) -> bool:
    try:
        Record.model_validate_json(read_bytes(path) or b"")
    except ValidationError:
        return False
    return True


def _is_line(path: UPath) -> bool:
    try:
        return {"at", "kind", "run_id", "decision", "reason"} <= set(read_json(path) or ())
    except (ValueError, TypeError):
        return False


def _is_alive(pid: str) -> bool:
    return pid.isdigit() and Path(f"/proc/{pid}").exists()
