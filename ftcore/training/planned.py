"""What a training was planned with: the snapshot as it was then, the settings, and the estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot
from ftcore.errors import DataRejectedError
from ftcore.recipe.training_sections import AUTO
from ftcore.store.records import LINK
from ftcore.store.store import hash_file
from ftcore.training import workers

if TYPE_CHECKING:
    from ftcore.context import Context
    from ftcore.recipe.training_sections import Train
    from ftcore.store.records import Record


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


def settings(context: Context) -> Train:
    """The recipe's ``train``, with the plan's strategy, in parts as small as the plan found that memory asks for."""
    train, estimate = context.recipe.train, estimate_of(context)
    if train.distributed.strategy == AUTO:
        strategy = (estimate or {}).get("strategy") or "ddp"
        distributed = train.distributed.model_copy(update={"strategy": strategy})
        train = train.model_copy(update={"distributed": distributed})
    share = train.batch_size // train.distributed.readers
    if estimate is None or train.micro_batch_tokens or estimate["rows_at_once"] >= estimate.get("batch_rows", share):
        return train
    return train.model_copy(update={"micro_batch_tokens": estimate["micro_batch_tokens"]})


def estimate_of(context: Context) -> dict[str, Any] | None:
    """The plan's estimate for the worker that this is, or for the one that the plan chose."""
    figures, worker = context.earlier("plan").figures, workers.own(context.settings)
    known = figures.get("workers") or {}
    return known.get(worker.name) if worker and worker.name in known else figures.get("estimate")
