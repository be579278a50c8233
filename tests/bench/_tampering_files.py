"""Changes of single files, and of folders in the place of others: in the store, the artefacts, and evidence."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import unicodedata
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ftcore.compliance import attestation, evidence
from ftcore.recipe.canonical import canonical
from ftcore.store.store import hash_folder

if TYPE_CHECKING:
    from tests.bench._tampering import Ring

Made: TypeAlias = "tuple[str, tuple[str, ...]] | None"
"""What was changed, and the words of which one has to be said of it; None where there is nothing of the kind."""


def change(ring: Ring, draw: random.Random, surface: str, root: Path) -> Made:
    """Change a file, or a folder, below a root."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and "cache" not in path.parts)
    if surface in ("store", "ledger"):
        files = [path for path in files if ("ledger" in path.relative_to(root).parts) == (surface == "ledger")]
    path, how = draw.choice(files), draw.choice([*BYTES, *PLACES])
    kept = path.read_bytes()
    if how in BYTES:
        if (new := BYTES[how](kept, draw)) in (None, kept):
            return None
        path.write_bytes(new)  # type: ignore[arg-type]
        touched: list[Path] | None = [path]
    else:
        touched = PLACES[how](ring, path, draw)
    if touched is None:
        return None
    what = f"{how} {' and '.join(_below(one, root).as_posix() for one in touched)}"
    return what, tuple(word for one in touched for word in words(_below(one, root), surface, kept))


def _below(path: Path, root: Path) -> Path:
    """A path as it is said; of another run's artefacts from the run on."""
    return path.relative_to(root if path.is_relative_to(root) else root.parents[1])


def words(place: Path, surface: str, kept: bytes = b"") -> tuple[str, ...]:
    """Words by which a file may be named: its own, its folder's, the ledger's line that it holds."""
    line = (f"line {int(place.stem)}:",) if place.stem.isdigit() else ()
    about = (place.parts[0],) if surface == "artefacts" else ()
    try:
        known = (str(json.loads(kept)["name"]),)
    except (ValueError, KeyError, TypeError):
        known = ()
    inside = ("recipes/",) if place.name == "recipe.json" else ()  # as evidence has it
    return (place.name, place.parent.name or place.name, *line, *about, *inside, *known)


def _cut(kept: bytes, draw: random.Random) -> bytes | None:
    return kept[: draw.randrange(len(kept))] if kept else None


def _flip(kept: bytes, draw: random.Random) -> bytes | None:
    if not kept:
        return None
    place = draw.randrange(len(kept))
    return kept[:place] + bytes([kept[place] ^ draw.randrange(1, 256)]) + kept[place + 1 :]


def _edit(kept: bytes, draw: random.Random) -> bytes | None:
    """Another value of the same length or nearly so, as somebody would write it by hand."""
    pairs = [(b"true", b"false"), (b"mira", b"eve"), (b"noor", b"eve"), (b"0.", b"1."), (b"passed", b"failed")]
    known = [pair for pair in pairs if pair[0] in kept]
    return kept.replace(*draw.choice(known)) if known else None


def _rewritten(kept: bytes, draw: random.Random) -> bytes | None:
    """The same JSON in another spelling."""
    try:
        value = json.loads(kept)
    except (ValueError, RecursionError):
        return None
    return (json.dumps(value, indent=draw.choice([None, 3])) + draw.choice(["", "\n\n"])).encode()


def _unicode(kept: bytes, draw: random.Random) -> bytes | None:
    """A letter that looks the same."""
    try:
        text = kept.decode()
    except ValueError:
        return None
    place = draw.choice([n for n, letter in enumerate(text) if letter in "aeo"] or [-1])
    twin = {"a": "а", "e": "е", "o": "о"}.get(text[place] if place >= 0 else "", "")
    return unicodedata.normalize("NFD", text[:place] + twin + text[place + 1 :]).encode() if twin else None


BYTES: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "flip": _flip,
    "cut": _cut,
    "edit": _edit,
    "empty": lambda kept, _: b"",
    "append": lambda kept, draw: kept + draw.choice([b"\n", b" ", b"\0", kept or b"{}"]),
    "rewrite": _rewritten,
    "look-alike": _unicode,
}


def _delete(_: Ring, path: Path, __: random.Random) -> list[Path]:
    path.unlink()
    return [path]


def _add(_: Ring, path: Path, draw: random.Random) -> list[Path]:
    added = path.with_name(f"forged-{draw.randrange(10**6)}.json")
    added.write_bytes(path.read_bytes())
    return [added]


def _swap(_: Ring, path: Path, draw: random.Random) -> list[Path] | None:
    """The contents of two files of one ending, near to each other where there are such."""
    near = [one for one in path.parents[1].rglob(f"*{path.suffix}") if one.is_file() and one != path]
    others = sorted(one for one in near if one.read_bytes() != path.read_bytes())
    if not others:
        return None
    other = draw.choice(others)
    mine, its = path.read_bytes(), other.read_bytes()
    path.write_bytes(its)
    other.write_bytes(mine)
    return [path, other]


def _rename(_: Ring, path: Path, draw: random.Random) -> list[Path]:
    new = path.with_name(draw.choice([path.name.upper(), f"{path.name} ", f"{path.stem}-2{path.suffix}"]))
    path.rename(new)
    return [path]


def _link(ring: Ring, path: Path, draw: random.Random) -> list[Path] | None:
    """A link in the place of a file, to a changed copy elsewhere."""
    changed = _flip(path.read_bytes(), draw)
    if changed is None:
        return None
    target = ring.folder / f"target-{draw.randrange(10**9)}"
    target.write_bytes(changed)
    path.unlink()
    path.symlink_to(target)
    return [path]


def _folder(_: Ring, path: Path, __: random.Random) -> list[Path]:
    path.unlink()
    path.mkdir()
    return [path]


def _mode(_: Ring, path: Path, __: random.Random) -> list[Path]:
    path.chmod(0)
    return [path]


def _replay(ring: Ring, path: Path, __: random.Random) -> list[Path] | None:
    """A file as it was before."""
    home = ring.keys.parent
    if ring.older is None or not path.is_relative_to(home):
        return None
    old = ring.older / path.relative_to(home)
    if not old.is_file() or old.read_bytes() == path.read_bytes():
        return None
    path.write_bytes(old.read_bytes())
    return [path]


def _over(ring: Ring, path: Path, draw: random.Random) -> list[Path] | None:
    """A folder copied over the one beside it: another run, step, snapshot or artefact."""
    folder = path.parents[draw.randrange(0, 3)]
    others = sorted(one for one in folder.parent.iterdir() if one.is_dir() and one != folder)
    roots = (ring.store, ring.artefacts.parents[1], ring.bundle)
    if not others or folder.name in ("chain", "ledger") or not any(root in folder.parents for root in roots):
        return None
    other = draw.choice(others)
    shutil.copytree(folder, other, dirs_exist_ok=True)
    return sorted(other / one.relative_to(folder) for one in folder.rglob("*") if one.is_file()) or None


PLACES: dict[str, Callable[[Ring, Path, random.Random], list[Path] | None]] = {
    "delete": _delete,
    "add": _add,
    "swap": _swap,
    "rename": _rename,
    "link": _link,
    "folder": _folder,
    "mode": _mode,
    "replay": _replay,
    "copy over": _over,
}


def with_its_tags(ring: Ring, draw: random.Random) -> Made:
    """Bytes of an artefact, with the hash and the size of them in MLflow's tags, on the run and on the version."""
    folder = draw.choice(sorted(path for path in ring.artefacts.iterdir() if path.is_dir()))
    path = draw.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    path.write_bytes(_flip(path.read_bytes(), draw) or b"x")
    digest, name = hash_folder(folder), ring.registrar.recipe.name
    with closing(sqlite3.connect(ring.database)) as here:
        run = (digest, f"ftcore.sha256.{folder.name}", ring.run)
        here.execute("update tags set value = ? where key = ? and run_uuid = ?", run)
        where = (name, ring.number)
        found = here.execute(
            "select value from model_version_tags where key = 'ftcore.artefacts' and name = ? and version = ?", where
        ).fetchone()
        told = json.loads(found[0]) if found else {}
        if folder.name in told:
            here.execute(
                "update model_version_tags set value = ? where key = 'ftcore.artefacts' and name = ? and version = ?",
                (canonical(told | {folder.name: digest}), *where),
            )
        here.commit()
    return f"bytes and tags of {folder.name}", (folder.name, path.name)


def another_bundle(ring: Ring, draw: random.Random) -> Made:
    """A whole folder of evidence in the place of the one that was asked for, or sealed anew by a stranger."""
    how = draw.choice(["of another version", "sealed anew by a stranger"])
    if how == "of another version":
        others = [one.number for one in ring.registrar.tracking.versions() if one.number != ring.number]
        if not others or not (ring.keys / "platform.pem").exists():
            return None
        shutil.rmtree(ring.bundle)
        evidence.collect(ring.registrar, draw.choice(others), ring.bundle, ring.keys / "platform.pem")
        return f"evidence {how}", ("evidence of version",)
    statement = json.loads((ring.bundle / attestation.STATEMENT).read_bytes())
    names = [str(one["name"]) for one in statement["subject"]]
    key = ring.folder / f"stranger-{draw.randrange(10**9)}.pem"
    attestation.new_keys(key)
    attestation.seal(ring.bundle, names, statement["predicate"] | {"missing": []}, key)
    return f"evidence {how}", (attestation.ENVELOPE,)
