"""Single random changes by somebody else: in the store, MLflow's database, artefacts, the ledger, and evidence."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ftcore.compliance import attestation, evidence
from ftcore.errors import FtcoreError
from ftcore.recipe.canonical import sha256
from ftcore.registry import doctor
from ftcore.registry.promotion import ModelRegistry
from ftcore.serving.model import serving
from ftcore.tracking import places
from tests.bench import _tampering_chain, _tampering_database, _tampering_files

VOLATILE = ("statement.json", "evidence.dsse.json", "index.html")
"""Files of a bundle that tell when it was collected."""
SURFACES = ("store", "ledger", "database", "artefacts", "evidence")


@dataclass
class Ring:
    """One recipe that was turned, and everything about it that somebody else could change."""

    registrar: ModelRegistry
    number: int
    """The version whose evidence is asked for."""
    database: Path
    folder: Path
    """For bundles."""
    older: Path | None = None
    """FTCORE_HOME as it was before."""
    bundle: Path = Path()
    claims: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each file that evidence is made of."""
    gaps: list[str] = field(default_factory=list)
    """What evidence lacked from the start."""
    signed: bool = True
    """Whether this machine has the key that signs."""
    count: int = 0

    @classmethod
    def of(cls, registrar: ModelRegistry, number: int, database: Path, folder: Path, older: Path | None = None) -> Ring:
        """A ring that nobody has touched, with a signed bundle of its evidence."""
        ring = cls(registrar, number, database, folder, older)
        ring.signed = (ring.keys / "platform.pem").exists()
        ring.bundle, ring.gaps = ring.collect()
        ring.claims = hashes(ring.bundle)
        return ring

    @property
    def about(self) -> str:
        """What evidence of it says that it is about."""
        return f"version {self.number} of {self.registrar.recipe.name}"

    @property
    def store(self) -> Path:
        """The recipe's part of the store."""
        return Path(self.registrar.shelf.root.path)

    @property
    def keys(self) -> Path:
        """Folder of the keys, and of the newest line as this machine keeps it."""
        return self.registrar.shelf.chain.ring.folder

    @property
    def run(self) -> str:
        """MLflow's id of the version's run."""
        return self.registrar.tracking.version(self.number).run

    @property
    def artefacts(self) -> Path:
        """Where MLflow keeps what the version's run logged."""
        place = places.local(self.registrar.tracking.client.get_run(self.run).info.artifact_uri)
        assert place is not None
        return place

    def collect(self) -> tuple[Path, list[str]]:
        """Evidence of the version, collected anew; and what it tells that is missing or broken."""
        self.count += 1
        target = self.folder / f"bundle-{self.count}"
        archive, key = evidence.Archive(self.registrar.shelf, self.registrar.tracking), self.keys / "platform.pem"
        made = evidence.collect(archive, self.number, target, key if key.exists() else None)
        return target, [*made.broken, *made.missing]

    def found(self) -> list[str]:
        """Everything that doctor and evidence find."""
        told = [one.what for one in doctor.examine(self.registrar, serving(self.registrar.recipe)) if one.fault]
        folder, faults = self.collect()
        shutil.rmtree(folder)
        return [one for one in told + faults if one not in self.gaps]

    def claim(self) -> dict[str, str]:
        """What evidence claims now."""
        folder, _ = self.collect()
        claimed = hashes(folder)
        shutil.rmtree(folder)
        return claimed


@dataclass(frozen=True)
class Change:
    """One change that was made."""

    surface: str
    what: str
    names: tuple[str, ...]
    """Words of which one has to stand in the first thing that is said: the file, the tag, the line."""


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of a bundle's files, but of those that tell when it was made."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in VOLATILE)
    return {path.relative_to(folder).as_posix(): sha256(path.read_bytes()) for path in files}


@contextmanager
def tampered(ring: Ring, draw: random.Random, surface: str) -> Iterator[Change]:
    """Make one change, and take it back in the end."""
    root = {"store": ring.store, "ledger": ring.store, "artefacts": ring.artefacts, "evidence": ring.bundle}.get(
        surface
    )
    with ExitStack() as kept:
        kept.enter_context(_rows_kept(ring.database))
        runs = ring.artefacts.parents[1] if surface == "artefacts" else root
        for folder in {runs, ring.keys if surface == "ledger" else None} - {None}:
            kept.enter_context(_files_kept(folder, ring.folder))  # type: ignore[arg-type]
        while True:
            if surface == "database":
                made = _tampering_database.change(ring, draw)
            elif surface == "ledger" and draw.random() < 0.5:
                made = _tampering_chain.change(ring, draw)
            elif surface == "artefacts" and draw.random() < 0.2:
                made = _tampering_files.with_its_tags(ring, draw)
            elif surface == "evidence" and draw.random() < 0.1:
                made = _tampering_files.another_bundle(ring, draw)
            else:
                assert root is not None
                made = _tampering_files.change(ring, draw, surface, root)
            if made:
                yield Change(surface, *made)
                return


@contextmanager
def _rows_kept(database: Path) -> Iterator[None]:
    """Put MLflow's database back in the end."""
    with closing(sqlite3.connect(":memory:")) as kept:
        with closing(sqlite3.connect(database)) as here:
            here.backup(kept)
        try:
            yield
        finally:
            with closing(sqlite3.connect(database)) as here:
                kept.backup(here)


@contextmanager
def _files_kept(folder: Path, aside: Path) -> Iterator[None]:
    """Put a folder back in the end, whatever was done to it."""
    kept = aside / f".kept-{folder.name}"
    shutil.copytree(folder, kept, symlinks=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        kept.replace(folder)


def outcome(ring: Ring, change: Change) -> tuple[bool, bool, list[str]]:
    """Whether what was changed was found, whether evidence claims something else by it, and what was said."""
    if change.surface == "evidence":
        key = ring.keys / "platform.pem.pub" if ring.signed else None
        proof = attestation.examine(ring.bundle, key)
        said = [*proof.faults, *([] if proof.about == ring.about else [f"this is evidence of {proof.about}"])]
        return bool(said), not change.what.startswith("mode "), said
    try:
        said = ring.found()
    except FtcoreError as error:  # whoever reads is told, and goes no further
        return True, True, [str(error)]
    except Exception as error:
        return False, True, [f"{type(error).__name__}: {error}"]
    return bool(said), (not said) and ring.claim() != ring.claims, said
