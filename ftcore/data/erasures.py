"""What was erased on request: one file each in ``STORE/RECIPE/erasures/``, so that nobody takes it for a forgery.

Evidence holds hashes of files. Where a forgotten subject's rows are taken out of such a file its hash changes, and the
erasure says so: which hash it had, which it has, when and for whom, by the keyed hash that ``ftcore forget`` keeps.
It is written before the file is, so a crash leaves an erasure that did not happen yet and never a change unexplained.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from ftcore.recipe.canonical import canonical, sha256
from ftcore.store.files import read_bytes
from ftcore.store.keys import signed
from ftcore.store.store import RecipeStore, write_json

if TYPE_CHECKING:
    from upath import UPath

log = logging.getLogger(__name__)

FOLDER = "erasures"
MLFLOW = "mlflow"


class Erasure(BaseModel):
    """Rows that were taken out of one file or folder."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    place: str
    """Path relative to the recipe's folder in the store, or ``mlflow/RUN/ARTEFACT``."""
    before: str
    """SHA-256 of the file, or of the folder's names and hashes, as it was."""
    after: str
    """The same as it is since."""
    rows: int
    """How many rows, kept examples included."""
    subject: str
    """Keyed hash of the subject's key: the request, as the ledger names it."""
    at: datetime
    """UTC."""
    key: str = ""
    """Public key of the platform, which signs it; both are empty in those of earlier versions."""
    signature: str = ""

    @property
    def message(self) -> bytes:
        """What is signed."""
        return f"ftcore.erasure/1\n{canonical(self.model_dump(mode='json', exclude={'key', 'signature'}))}".encode()

    def __str__(self) -> str:
        """One sentence."""
        rows = "1 row was" if self.rows == 1 else f"{self.rows:,} rows were"
        return f"{rows} erased on request {self.subject[:8]} on {self.at:%Y-%m-%d %H:%M} UTC"


def in_mlflow(run: str, artefact: str) -> str:
    """The place of an artefact folder of an MLflow run."""
    return f"{MLFLOW}/{run}/{artefact}"


def add(shelf: RecipeStore, erasure: Erasure) -> None:
    """Write down what is about to be erased; the same file as it was before has one erasure."""
    name = f"{sha256(erasure.place)[:16]}-{erasure.before[:16]}.json"
    shelf.chain.ring.make()
    key, signature = shelf.chain.ring.sign(erasure.message)
    signed_one = erasure.model_copy(update={"key": key, "signature": signature})
    write_json(shelf.root / FOLDER / name, signed_one.model_dump(mode="json"))


def read(shelf: RecipeStore, places: Iterable[str] | None = None) -> list[Erasure]:
    """Everything that the platform erased, oldest first; of some places, or of all.

    An erasure that nobody signed is of an earlier version, and counts where a line of the ledger tells of it. A file
    that is none is left out with a warning.
    """
    folder = shelf.root / FOLDER
    if not folder.exists():
        return []
    paths: list[UPath] = [path for path in folder.iterdir() if path.name.endswith(".json") and path.name[0] != "."]
    found = [one for path in paths if (one := _read(path))]
    trusted, told = shelf.chain.ring.trusted(), set[tuple[str, str]]()
    if any(not one.signature for one in found):
        lines = [line for line in shelf.ledger("forget") if line["decision"] == "erased"]
        told = {(str(line["run_id"]), str(place)) for line in lines for place in line["places"]}
    found = [
        one
        for one in found
        if (one.key in (trusted or {one.key}) and signed(one.key, one.signature, one.message))
        or (not one.signature and (one.subject, one.place) in told)
    ]
    wanted = None if places is None else set(places)
    return sorted(
        (one for one in found if wanted is None or one.place in wanted), key=lambda one: (one.at, one.place, one.before)
    )


def unreadable(shelf: RecipeStore) -> list[UPath]:
    """Files among the erasures that are none, by name."""
    folder = shelf.root / FOLDER
    found = [path for path in folder.glob("*.json") if path.name[0] != "."] if folder.exists() else []
    return sorted((path for path in found if _read(path) is None), key=lambda path: path.name)


def _read(path: UPath) -> Erasure | None:
    """One erasure; None where the file is none."""
    try:
        return Erasure.model_validate_json(read_bytes(path) or b"")
    except ValidationError as error:
        log.warning("%s is no erasure: %s", path, str(error).splitlines()[0])
        return None


def between(erasures: Iterable[Erasure], place: str, before: str, after: str) -> list[Erasure]:
    """The erasures that led from one hash of a place to another; none where they do not."""
    steps = {one.before: one for one in erasures if one.place == place}
    found: list[Erasure] = []
    while before != after and before in steps and steps[before] not in found:
        found.append(steps[before])
        before = found[-1].after
    return found if before == after else []
