"""Single random changes by somebody else: in the store, MLflow's database, artefacts, the ledger, and evidence."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ftcore import attestation, doctor, evidence
from ftcore.errors import FtcoreError
from ftcore.promotion import Registrar
from ftcore.records import sha256
from ftcore.serving.model import serving

VOLATILE = ("statement.json", "evidence.dsse.json", "index.html")
"""Files of a bundle that tell when it was collected."""
SURFACES = ("store", "ledger", "database", "artefacts", "evidence")
VALUES = ("forged", "0", "passed", '{"by": "eve", "reason": "no", "at": "2026-01-01T00:00:00+00:00"}')


@dataclass
class Ring:
    """One recipe that was turned, and everything about it that somebody else could change."""

    registrar: Registrar
    number: int
    """The version whose evidence is asked for."""
    database: Path
    folder: Path
    """For bundles."""
    bundle: Path = Path()
    claims: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each file that evidence is made of."""
    gaps: list[str] = field(default_factory=list)
    """What evidence lacked from the start."""
    count: int = 0

    @classmethod
    def of(cls, registrar: Registrar, number: int, database: Path, folder: Path) -> Ring:
        """A ring that nobody has touched, with a signed bundle of its evidence."""
        ring = cls(registrar, number, database, folder)
        ring.bundle, ring.gaps = ring.collect()
        ring.claims = hashes(ring.bundle)
        return ring

    @property
    def store(self) -> Path:
        """The recipe's part of the store."""
        return Path(self.registrar.shelf.root.path)

    @property
    def artefacts(self) -> Path:
        """Where MLflow keeps what the version's run logged."""
        tracking = self.registrar.tracking
        return Path(urlsplit(tracking.client.get_run(tracking.version(self.number).run).info.artifact_uri).path)

    def collect(self) -> tuple[Path, list[str]]:
        """Evidence of the version, collected anew; and what it tells that is missing or broken."""
        self.count += 1
        target = self.folder / f"bundle-{self.count}"
        archive = evidence.Archive(self.registrar.shelf, self.registrar.tracking)
        made = evidence.collect(archive, self.number, target, self.registrar.shelf.chain.ring.private)
        return target, [*made.broken, *made.missing]

    def found(self) -> list[str]:
        """Everything that doctor and evidence find."""
        told = [one.what for one in doctor.examine(self.registrar, serving(self.registrar.recipe)) if one.fault]
        return [one for one in told + self.collect()[1] if one not in self.gaps]

    def claim(self) -> dict[str, str]:
        """What evidence claims now."""
        return hashes(self.collect()[0])


@dataclass(frozen=True)
class Change:
    """One change that was made."""

    surface: str
    what: str
    names: tuple[str, ...]
    """Words of which one has to stand in what is found: the file, the tag, the line."""


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of a bundle's files, but of those that tell when it was made."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in VOLATILE)
    return {path.relative_to(folder).as_posix(): sha256(path.read_bytes()) for path in files}


@contextmanager
def tampered(ring: Ring, draw: random.Random, surface: str) -> Iterator[Change]:
    """Make one change, and take it back in the end."""
    if surface == "database":
        with _database(ring, draw) as change:
            yield change
        return
    roots = {"store": ring.store, "ledger": ring.store / "ledger", "artefacts": ring.artefacts, "evidence": ring.bundle}
    root = roots[surface]
    files = sorted(path for path in root.rglob("*") if path.is_file() and "cache" not in path.parts)
    if surface == "store":
        files = [path for path in files if "ledger" not in path.relative_to(root).parts]
    path = draw.choice(files)
    how = draw.choice(["flip", "cut", "delete", "add", "edit"])
    kept, added = path.read_bytes(), path.with_name(f"forged-{draw.randrange(10**6)}.json")
    try:
        if how == "add":
            added.write_bytes(kept)
        elif how == "delete":
            path.unlink()
        else:
            path.write_bytes(_changed(kept, draw, how))
        one = added if how == "add" else path
        place = one.relative_to(root)
        line = f"line {int(one.stem)}:" if one.stem.isdigit() else one.name
        names = (one.name, *_lines(kept), one.parent.name, place.parts[0], line)
        yield Change(surface, f"{how} {place.as_posix()}", names)
    finally:
        added.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(kept)


def _lines(data: bytes) -> tuple[str, ...]:
    """The name of the line that a number of the ledger's chain holds."""
    try:
        return (str(json.loads(data)["name"]),)
    except (ValueError, KeyError, TypeError):
        return ()


def _changed(kept: bytes, draw: random.Random, how: str) -> bytes:
    """Other bytes than those that were there."""
    if how == "cut" and kept:
        return kept[: draw.randrange(len(kept))]
    if how == "edit" and b"true" in kept:
        return kept.replace(b"true", b"false", 1)
    if not kept:
        return b"{}"
    place = draw.randrange(len(kept))
    return kept[:place] + bytes([kept[place] ^ draw.randrange(1, 256)]) + kept[place + 1 :]


@contextmanager
def _database(ring: Ring, draw: random.Random) -> Iterator[Change]:
    """Change one row of MLflow's database that is about the recipe."""
    name, run = ring.registrar.recipe.name, ring.registrar.tracking.version(ring.number).run
    with closing(sqlite3.connect(ring.database)) as here, closing(sqlite3.connect(":memory:")) as kept:
        here.backup(kept)
        try:
            yield _row(here, draw, name, run, ring.number)
        finally:
            here.commit()
            kept.backup(here)


def _row(here: sqlite3.Connection, draw: random.Random, name: str, run: str, number: int) -> Change:
    tables: dict[str, Callable[[], list[tuple[str, str]]]] = {
        "model_version_tags": lambda: here.execute(
            "select key, value from model_version_tags where name = ? and version = ? and key like 'ftcore.%'",
            (name, number),
        ).fetchall(),
        "registered_model_tags": lambda: here.execute(
            "select key, value from registered_model_tags where name = ?", (name,)
        ).fetchall(),
        "registered_model_aliases": lambda: here.execute(
            "select alias, version from registered_model_aliases where name = ?", (name,)
        ).fetchall(),
        "tags": lambda: here.execute(
            "select key, value from tags where run_uuid = ? and (key like 'ftcore.%' or key like 'env.%')", (run,)
        ).fetchall(),
    }
    table = draw.choice(list(tables))
    key, value = draw.choice(sorted(tables[table]()))
    column = "alias" if table == "registered_model_aliases" else "key"
    where = f"{column} = ? and " + ("run_uuid = ?" if table == "tags" else "name = ?")
    owner = run if table == "tags" else name
    how = draw.choice(["update", "delete", "insert"])
    if how == "delete":
        here.execute(f"delete from {table} where {where}", (key, owner))  # noqa: S608
    elif how == "update":
        new = 999 if column == "alias" else draw.choice([one for one in VALUES if one != value])
        changed = "version" if column == "alias" else "value"
        here.execute(f"update {table} set {changed} = ? where {where}", (new, key, owner))  # noqa: S608
    else:
        table, key = "model_version_tags", f"ftcore.approval.{draw.randrange(16**8):08x}"
        forged = {"person": "eve", "decision": "approve", "at": "2026-01-01T00:00:00+00:00", "verdict": "0"}
        values = (name, number, key, json.dumps(forged))
        here.execute("insert into model_version_tags (name, version, key, value) values (?, ?, ?, ?)", values)
    here.commit()
    short = key.removeprefix("ftcore.")
    words = {"verdict": "verdict", "approval": "answer", "artefacts": "artefact", "sha256": "artefact"}
    spoken = next((said for start, said in words.items() if short.startswith(start)), short.replace("_", " "))
    return Change("database", f"{how} {table} {key}", (key, short, spoken, "promotion", "newest line", "champion"))


def outcome(ring: Ring, change: Change, key: Path) -> tuple[bool, bool, list[str]]:
    """Whether what was changed was found, whether evidence claims something else by it, and what was said."""
    if change.surface == "evidence":
        said = list(attestation.examine(ring.bundle, key).faults)
        return bool(said), True, said
    try:
        said = ring.found()
    except FtcoreError as error:  # whoever reads is told, and goes no further
        return True, True, [str(error)]
    return bool(said), (not said) and ring.claim() != ring.claims, said
