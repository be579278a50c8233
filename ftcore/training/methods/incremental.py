"""Incremental: go on from the champion with the rows it has not seen, and replay old ones so that it forgets little.

D. Rolnick et al. (2019), *Experience Replay for Continual Learning*. Updates are LoRA's; without a champion it is LoRA.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ftcore.data import snapshot
from ftcore.errors import TrainingError
from ftcore.models import base
from ftcore.recipe.canonical import sha256
from ftcore.training.methods import _lora

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from ftcore.context import Context

log = logging.getLogger(__name__)

EXAMPLE = {"kind": "incremental", "replay": 0.3}


class Config(_lora.Settings):
    """Low-rank updates of the champion, on new rows mixed with old ones."""

    kind: Literal["incremental"] = "incremental"
    replay: Annotated[float, Field(ge=0, le=0.9)] = 0.3
    """Share of old rows, which the champion was trained on as they are, in the rows of this training; less where the
    planned snapshot holds fewer."""


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
    """New rows, and a sample of the rows of the planned snapshot that the champion was trained on as they are today.

    A row whose text or label was corrected since is new, and what is in the planned snapshot no more, such as a
    forgotten person's, never comes back. Old rows are drawn by the hash of their ids, so the same plan gives the same
    rows. Where nothing is new, all rows are trained on.
    """
    import numpy as np
    import pyarrow as pa

    champion = _champions_snapshot(context)
    if not champion:
        return table
    columns = ["row_id", *snapshot.TEXTS]
    seen = set(_contents(snapshot.read(context.shelf, champion, ["train"], columns)))
    old = np.array([one in seen for one in _contents(table.select(columns))], bool)
    fresh = table.filter(pa.array(~old))
    if not fresh.num_rows:
        log.info("nothing is new since the champion: it goes on with all %d rows", table.num_rows)
        return table
    ids = table["row_id"].to_pylist()
    drawn = sorted(
        (sha256(f"replay\x00{context.recipe.train.seed}\x00{ids[place]}"), place) for place in np.flatnonzero(old)
    )
    wanted = round(fresh.num_rows * config.replay / (1 - config.replay))
    replayed = table.take(pa.array(sorted(place for _, place in drawn[:wanted]), pa.int64()))
    log.info("%d new rows, %d of %d old ones replayed", fresh.num_rows, replayed.num_rows, len(drawn))
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


def _contents(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """What is learnt of each row, with its id."""
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


def _champions_snapshot(context: Context) -> str:
    """Id of the snapshot that the champion was trained on; empty where there is none, or it is gone."""
    from ftcore.tracking.client import Tracking

    number = context.earlier("plan").figures["champion"]
    if number is None:
        return ""
    identity = Tracking(context.settings, context.recipe.name).version(number).snapshot
    if not identity or not (snapshot.folder(context.shelf, identity) / "manifest.json").exists():
        log.warning("the champion's snapshot %s is gone: which rows are old is not known", identity or "")
        return ""
    return identity
