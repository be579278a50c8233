"""The snapshot that a run was planned with, as it was then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftcore import snapshot
from ftcore.errors import DataRejectedError
from ftcore.records import LINK
from ftcore.store import hash_file

if TYPE_CHECKING:
    from ftcore.context import Context
    from ftcore.records import Record


def identity(context: Context) -> str:
    """Id of the snapshot.

    Raises:
        DataRejectedError: its manifest, which has the hash of each file, is gone or another than ``plan`` read.
    """
    plan = context.earlier("plan")
    name, then = str(plan.figures["snapshot"]), plan.inputs.get("manifest", "")
    path = snapshot.folder(context.shelf, name) / "manifest.json"
    if then and (not path.exists() or hash_file(path) != then):
        raise DataRejectedError(
            f"{context.shelf.relative(path)} is not what plan read in run {context.run_id}",
            hint=f"restore it from a backup, or begin anew: ftcore run {context.recipe.name} --only finetune",
        )
    return name


def check(context: Context, record: Record) -> None:
    """The same for a run of which a record tells that it was planned; no other can have been, since that is signed.

    Raises:
        DataRejectedError: see ``identity``.
    """
    if f"{LINK}plan" in record.inputs:
        identity(context)
