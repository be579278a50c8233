"""What serves: the champion by the ledger, and its artefacts only as they were when it was promoted.

This is the only door to a version's bytes. A version that a ``promote`` or ``rollback`` line of the ledger put in place
is promised by that line: ``artefacts`` holds the SHA-256 of each. Any other version is compared with the hash that the
signed record of the step that logged it holds, else the gate's line; one of an earlier ftcore with that of its tag. A
copy in the cache is hashed once per process and file identity (device, inode, size, times of change); one that differs
is fetched again, and bytes that differ after that are refused.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.data import erasures
from ftcore.errors import ChangedArtefactError, FtcoreError
from ftcore.recipe.canonical import canonical
from ftcore.registry import alternatives, recorded
from ftcore.store import store, trail
from ftcore.store.files import mapping, names_in, read_many
from ftcore.store.keys import signed
from ftcore.store.slots import PROMOTING_DECISIONS, crowns, order
from ftcore.store.store import hash_folder, log
from ftcore.tracking import artefact_files, registered
from ftcore.tracking.client import CHAMPION, HASH_TAG, Tracking, Version

if TYPE_CHECKING:
    from ftcore.store.store import RecipeStore

INTENTS = "intents"
"""Folder of changes of the registry that have begun; see ``ftcore.intents``."""
HEAD_TAG = "ledger.head"
"""Tag of the registered model that keeps the ledger's newest line, without ``ftcore.``."""
REWRITTEN = ("card", "evaluation")
"""Artefacts that serve nothing and may change: the card with every decision, the evaluation when somebody is
forgotten, which an erasure explains."""
SETTLED_S = 2.0
"""A file changed later than this ago is hashed again: a second change may have left it with the same times."""


@dataclass(frozen=True)
class Promise:
    """What a line of the ledger says of the version that it put in place."""

    version: int
    artefacts: Mapping[str, str] | None
    """SHA-256 of each artefact by name; None in lines of an earlier ftcore, which did not name them."""
    at: str
    by: str

    def __str__(self) -> str:
        """One phrase."""
        return f"version {self.version}, since {self.at[:16].replace('T', ' ')} UTC by {self.by or 'unknown'}"


def promises(shelf: RecipeStore) -> list[Promise | None]:
    """What every crowning line promised, oldest first; None for a champion that was lost.

    Raises:
        DamagedFileError: the ledger's chain does not say: it was cut off, or such a line is lost.
    """
    return [*_newest_first(shelf)][::-1]


def _newest_first(shelf: RecipeStore) -> Iterator[Promise | None]:
    """The same by the chain's numbers, whatever became of the lines' files; then older ones."""
    yield from (_promise(slot.line) for slot in trail.crowning(shelf.chain))
    trail.check_older(shelf.chain, set(PROMOTING_DECISIONS.values()))
    older = (line for kind in set(PROMOTING_DECISIONS.values()) for line in shelf.ledger(kind) if "n" not in line)
    yield from (_promise(line) for line in sorted(filter(crowns, older), key=order, reverse=True))


def by_ledger(shelf: RecipeStore) -> Promise | None:
    """The champion that the ledger knows of; None before the first.

    Raises:
        DamagedFileError: see ``promises``.
    """
    return next(_newest_first(shelf), None)


def of_version(shelf: RecipeStore, number: int) -> Promise | None:
    """The last promise of a version that names its artefacts; None where there is none.

    Raises:
        DamagedFileError: see ``promises``.
    """
    every = _newest_first(shelf)
    return next((one for one in every if one and one.version == number and one.artefacts is not None), None)


def champion(shelf: RecipeStore, tracking: Tracking) -> Version | None:
    """The version that serves; None where there is none yet.

    While a promotion is half done the ledger's champion goes on.

    Raises:
        DamagedFileError: the ledger ends before a line that this machine or the registered model knows of.
        FtcoreError: the registry's alias is not where the ledger put it: somebody moved it by hand.
        TransientError: MLflow does not answer.
    """
    model = registered.model(tracking)  # before the ledger, whose line is written first
    trail.compare(shelf.chain, mapping(model.tags.get(f"ftcore.{HEAD_TAG}")))
    there, known = model.aliases.get(CHAMPION), by_ledger(shelf)
    number = known.version if known else None
    if there == number or there in _intended(shelf, number):
        return registered.version(tracking, number) if number is not None else None
    raise FtcoreError(moved(shelf.name, there, known), hint=put_right(shelf.name, there, known))


def holder(tracking: Tracking, alias: str) -> Version | None:
    """The version that an alias of any registered model means; where there is a ledger, it has to agree on a champion.

    Raises:
        FtcoreError: see ``champion``.
    """
    shelf = store.shelf(tracking.settings, tracking.name)
    if alias == CHAMPION and promises(shelf):
        return champion(shelf, tracking)
    return tracking.alias(alias)


def facts(shelf: RecipeStore, tracking: Tracking, version: Version) -> dict[str, Any]:
    """What a line of the ledger says of a version that it puts in place.

    Returns:
        ``artefacts``, by name the SHA-256 that they had when the version was judged, or that the ledger promised
        already; ``verdict_sha256`` and ``recipe_sha256``, empty where there is none.
    """
    before = of_version(shelf, version.number)
    made = (before.artefacts if before else None) or judged(shelf, version)
    if not made:  # no gate has judged it
        made = registered.hashes(registered.run_tags(tracking, version.run), but=("card",))
    return {
        "artefacts": dict(made),
        "verdict_sha256": version.tags.get("ftcore.verdict.sha256", ""),
        "recipe_sha256": version.tags.get("ftcore.recipe_sha256", ""),
    }


def judged(shelf: RecipeStore, version: Version) -> Mapping[str, str]:
    """SHA-256 of each artefact when the version was judged; none where it was not.

    By the ledger's last line of its gates; of one that was not judged yet, by the signed records of its run; of one of
    an earlier ftcore, by the version's tag.
    """
    lines = [line for line in shelf.ledger("gate") if line.get("candidate") == version.number and "artefacts" in line]
    if lines:
        return dict(max(lines, key=order)["artefacts"])
    return recorded.hashes(shelf, version) or tagged(version)


def tagged(version: Version) -> Mapping[str, str]:
    """The same by the version's tag alone, which anybody may have set."""
    return {name: str(digest) for name, digest in mapping(version.tags.get("ftcore.artefacts")).items()}


def moved(name: str, holder: int | None, known: Promise | None) -> str:
    """What to say where registry and ledger name different champions."""
    if known is None:
        return f"version {holder} of {name} has the alias champion, and no ledger line promoted it: it must not serve"
    if holder is None:
        return f"the registry has lost its champion, by the ledger {known}"
    return (
        f"version {holder} of {name} has the alias champion, and by the ledger the champion is {known}: "
        f"version {holder} must not serve"
    )


def put_right(name: str, holder: int | None, known: Promise | None) -> str:
    """What to do where registry and ledger name different champions."""
    if known is None and holder is not None:
        return alternatives.to_unexplained(name, holder)
    return f"ftcore doctor {name} --fix"


def folder(tracking: Tracking, version: Version, artefact: str) -> Path:
    """Local copy of a version's artefact folder, with the bytes that were promised.

    Raises:
        ChangedArtefactError: its bytes are not those.
        FtcoreError: the version has no such artefact, or was promoted without it.
        TransientError: MLflow does not answer.
    """
    expected = _expected(tracking, version, artefact)
    target = tracking.cached(version.run, artefact)
    if os.path.lexists(target):
        if not (fault := _fault(tracking, version, artefact, target, expected)):
            return target
        log.warning(
            "the copy of artefact %r of version %d in %s is not used: %s", artefact, version.number, target, fault
        )
        _discard(target)
    _fetch(tracking, version, artefact, target, expected)
    return target


@contextmanager
def opened(tracking: Tracking, version: Version, artefact: str) -> Iterator[Path]:
    """The same for as long as it is read: what changed meanwhile is not used either.

    Raises:
        ChangedArtefactError: see ``folder``; or it was changed while it was being read.
    """
    expected = _expected(tracking, version, artefact)
    place = folder(tracking, version, artefact)
    yield place
    if fault := _fault(tracking, version, artefact, place, expected):
        raise _changed(tracking, version, artefact, f"was changed in {place} while it was read: {fault}")


def _promise(line: Mapping[str, Any]) -> Promise | None:
    if line.get("version") is None:
        return None
    made = line.get("artefacts")
    hashes = {str(name): str(digest) for name, digest in made.items()} if isinstance(made, dict) else None
    return Promise(int(line["version"]), hashes, str(line["at"]), str(line.get("by") or ""))


def _intended(shelf: RecipeStore, champion: int | None) -> set[int]:
    """Versions that a change which has begun, and began with this champion, will put in place."""
    place = shelf.root / INTENTS
    found = (intended(shelf, data) or {} for data in read_many(place, names_in(place)).values())
    return {one["aliases"][CHAMPION] for one in found if one.get("was") == champion and CHAMPION in one["aliases"]}


def intended(shelf: RecipeStore, data: bytes) -> dict[str, Any] | None:
    """What a file of a change that has begun says, where the platform signed it; None of any other file."""
    found = mapping(data)
    stated, key, signature = (found.get(name) for name in ("intent", "key", "signature"))
    if not isinstance(stated, dict) or str(key) not in shelf.chain.ring.trusted():
        return None
    return stated if signed(str(key), str(signature), intent_message(shelf, stated)) else None


def intent_message(shelf: RecipeStore, stated: Mapping[str, Any]) -> bytes:
    """What is signed of a change that has begun."""
    return f"ftcore intent\n{shelf.name}\n{canonical(stated)}".encode()


def _expected(tracking: Tracking, version: Version, artefact: str) -> str:
    """SHA-256 that an artefact must have; empty where nobody promised or recorded one."""
    shelf = store.shelf(tracking.settings, tracking.name)
    promise, known = of_version(shelf, version.number), by_ledger(shelf)
    if promise is None and known is not None and known.version == version.number:
        raise FtcoreError(
            f"the ledger's line that made version {version.number} of {tracking.name} champion names no artefacts",
            hint=f"it is of an earlier ftcore: ftcore doctor {tracking.name} --fix checks and adopts them",
        )
    if promise is None or promise.artefacts is None or artefact == "card":
        vouched = {} if artefact == "card" else {**judged(shelf, version), **recorded.hashes(shelf, version)}
        return vouched.get(artefact) or registered.run_tags(tracking, version.run).get(f"{HASH_TAG}{artefact}", "")
    if artefact not in promise.artefacts:
        raise FtcoreError(
            f"version {version.number} of {tracking.name} has no artefact {artefact!r} by the ledger line that "
            f"promoted it; it has {', '.join(promise.artefacts) or 'none'}",
            hint="train and promote a version with it, or restore the recipe's exports",
        )
    return promise.artefacts[artefact]


def _fault(tracking: Tracking, version: Version, artefact: str, place: Path, expected: str) -> str:
    """What is wrong with a local copy; empty where its bytes are the expected ones."""
    try:
        identity, odd = _identity(place)
        if odd:
            return f"{odd} in it is no plain file"
        found = _digest(place, identity)
    except OSError as error:  # it goes, or may not be read
        return f"it cannot be read: {error}"
    if not expected or found == expected:
        return ""
    if explained(store.shelf(tracking.settings, tracking.name), version.run, artefact, (expected, found)):
        return ""
    return f"its SHA-256 is {found}, and {expected} was promised"


def explained(shelf: RecipeStore, run: str, artefact: str, change: tuple[str, str]) -> bool:
    """Whether an artefact of a run changed by what was erased on request, from one hash to another.

    A line of the ledger has to say so; one of an earlier ftcore names the place alone, and the erasures tell the rest.
    """
    if artefact not in REWRITTEN:
        return False
    where = erasures.in_mlflow(run, artefact)
    lines = [
        line for line in shelf.ledger("forget") if line["decision"] == "erased" and where in line.get("places", ())
    ]
    if any(line.get("hashes", {}).get(where) == change[1] for line in lines):
        return True
    known = erasures.read(shelf, [where]) if any("hashes" not in line for line in lines) else []
    return bool(erasures.between(known, where, *change))


Identity = tuple[tuple[str, int, int, int, int, int], ...]
_HASHES: dict[tuple[str, Identity], str] = {}
"""Hash of a folder by its path and the identity of its files."""


def _identity(place: Path) -> tuple[Identity, str]:
    """What tells whether a file of a folder was changed, without reading any; and the first entry that is no file."""
    found = []
    for top, folders, files in os.walk(place):
        for name in [*folders, *files]:
            path = Path(top) / name
            one = path.lstat()
            if stat.S_ISREG(one.st_mode):
                inner = path.relative_to(place).as_posix()
                found.append((inner, one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns))
            elif not stat.S_ISDIR(one.st_mode):
                return (), path.relative_to(place).as_posix()
    if place.is_symlink() or not place.is_dir():
        return (), place.name
    return tuple(sorted(found)), ""


def _digest(place: Path, identity: Identity) -> str:
    known = _HASHES.get((str(place), identity))
    if known is not None:
        return known
    digest = hash_folder(place)
    newest = max((max(mtime, ctime) for *_, mtime, ctime in identity), default=0)
    if time.time() - newest / 1e9 > SETTLED_S and _identity(place)[0] == identity:
        _HASHES[str(place), identity] = digest
    return digest


def _fetch(tracking: Tracking, version: Version, artefact: str, target: Path, expected: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as made:
        with tracking.translate_errors():
            stored = tracking.stored(version.run)
            if not any(stored.list_artifacts(artefact)):
                raise FtcoreError(
                    f"version {version.number} of {tracking.name} has no artefact {artefact!r}",
                    hint=f"restore it; ftcore doctor {tracking.name} lists what the champion has lost",
                )
            got = artefact_files.without_mlflows_own(Path(stored.download_artifacts(artefact, made)))
        if fault := _fault(tracking, version, artefact, got, expected):
            raise _changed(tracking, version, artefact, f"is not what was promised: {fault}")
        try:
            got.rename(target)
        except OSError:  # another process was faster, or somebody put something there
            shutil.rmtree(got, ignore_errors=True)
            if fault := _fault(tracking, version, artefact, target, expected):
                raise _changed(tracking, version, artefact, f"was changed in {target}: {fault}") from None


def _changed(tracking: Tracking, version: Version, artefact: str, what: str) -> ChangedArtefactError:
    name = tracking.name
    return ChangedArtefactError(
        f"artefact {artefact!r} of version {version.number} of {name} {what}",
        hint="it was changed by something else than ftcore, and is not used: restore it from a backup"
        + _or_another(tracking, version)
        + ("; where ftcore forget was cut short, run it again" if artefact in REWRITTEN else ""),
    )


def _or_another(tracking: Tracking, version: Version) -> str:
    """What to do instead of restoring the champion; nothing of any other version."""
    known = by_ledger(store.shelf(tracking.settings, tracking.name))
    return f", or {alternatives.to_champion(tracking)}" if known and known.version == version.number else ""


def _discard(target: Path) -> None:
    """Take a copy away, so that nobody finds half of it."""
    if target.is_symlink() or not target.is_dir():
        target.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".old-") as aside:
        try:
            target.rename(Path(aside) / target.name)
        except OSError:  # another process was faster
            return
