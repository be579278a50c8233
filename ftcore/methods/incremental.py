"""Incremental: go on from the champion with the rows it has not seen, and replay old ones so that it forgets little.

D. Rolnick et al. (2019), *Experience Replay for Continual Learning*. Updates are LoRA's; without a champion it is LoRA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore import base, snapshot
from ftcore.context import log
from ftcore.errors import TrainingError
from ftcore.methods import _lora
from ftcore.records import sha256

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from ftcore.context import Context

EXAMPLE = {"kind": "incremental", "replay": 0.3}


class Config(_lora.Settings):
    """Low-rank updates of the champion, on new rows mixed with old ones."""

    kind: Literal["incremental"] = "incremental"
    replay: Annotated[float, Field(ge=0, le=0.9)] = 0.3
    """Share of old rows, which the champion was trained on, in the rows of this training."""


def start(config: Config, context: Context) -> str:
    """The champion that the plan saw; the recipe's base where there is none.

    Raises:
        TrainingError: the champion reads a prefix, which is no weight that could be trained on.
    """
    del config
    number = context.earlier("plan").figures["champion"]
    if number is None:
        log.info("there is no champion to go on from: %s it is", context.recipe.base)
        return context.recipe.base
    reference = f"models:/{context.recipe.name}/{number}"
    if (base.registered(reference, context.settings) / base.PREFIX).is_dir():
        raise TrainingError(f"{reference} was tuned by prefix, and cannot be gone on from", hint="use method kind lora")
    return reference


def rows(config: Config, context: Context, table: pa.Table) -> pa.Table:
    """New rows and a sample of old ones: those of the champion's snapshot and of this one that it was trained on.

    Old rows are drawn by the hash of their ids, so the same plan gives the same rows. A text that judges today's model
    never comes back as a training row. Where nothing is new, all rows are trained on.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    champion = _champions_snapshot(context)
    if not champion:
        return table
    seen = snapshot.read(context.shelf, champion, ["train"])
    fresh = table.filter(pc.invert(pc.is_in(table["row_id"], seen["row_id"].combine_chunks())))
    if not fresh.num_rows:
        log.info("nothing is new since the champion: it goes on with all %d rows", table.num_rows)
        return table
    judging = snapshot.read(context.shelf, _planned(context), ["validation", "test"], ["text"])["text"].to_pylist()
    forbidden = {snapshot.text_key(text) for text in judging}
    wanted = round(fresh.num_rows * config.replay / (1 - config.replay))
    draw = sorted(
        (sha256(f"replay\x00{context.recipe.train.seed}\x00{row}"), number)
        for number, (row, text) in enumerate(zip(seen["row_id"].to_pylist(), seen["text"].to_pylist(), strict=True))
        if snapshot.text_key(text) not in forbidden
    )
    replayed = seen.take(pa.array(sorted(number for _, number in draw[:wanted]), pa.int64()))
    log.info("%d new rows, %d of %d old ones replayed", fresh.num_rows, replayed.num_rows, seen.num_rows)
    return pa.concat_tables([fresh, replayed])


def apply(config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
    """The model with adapters to train; the head goes on training whole."""
    del tokenizer
    return _lora.apply(config, model)


def sketch(config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
    """What ``apply`` makes of a model without weights, to count what would train."""
    del tokenizer
    return _lora.sketch(config, model)


def save(config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write what was learnt on top of the champion to ``folder/adapter`` and the merged model to ``folder/model``."""
    _lora.save(config, model, tokenizer, folder)


def _planned(context: Context) -> str:
    return str(context.earlier("plan").figures["snapshot"])


def _champions_snapshot(context: Context) -> str:
    """Id of the snapshot that the champion was trained on; empty where there is none, or it is gone."""
    from ftcore.tracking import Tracking

    number = context.earlier("plan").figures["champion"]
    if number is None:
        return ""
    identity = Tracking(context.settings, context.recipe.name).version(number).snapshot
    if not identity or not (snapshot.folder(context.shelf, identity) / "manifest.json").exists():
        log.warning("the champion's snapshot %s is gone: no row of it can be replayed", identity or "")
        return ""
    return identity
