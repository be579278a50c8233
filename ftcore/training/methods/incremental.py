"""Incremental: go on from the champion with the rows it has not seen, and replay old ones so that it forgets little.

D. Rolnick et al. (2019), *Experience Replay for Continual Learning*. Updates are LoRA's; without a champion it is LoRA.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.data import snapshot
from ftcore.errors import TrainingError
from ftcore.models import base
from ftcore.recipe.canonical import sha256
from ftcore.training.methods._lora import LowRank

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from ftcore.context import Context

log = logging.getLogger(__name__)


class Incremental(LowRank):
    """Low-rank updates of the champion, on new rows mixed with old ones."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "incremental", "replay": 0.3}

    kind: Literal["incremental"] = "incremental"
    replay: Annotated[float, Field(ge=0, le=0.9)] = 0.3
    """Share of old rows, which the champion was trained on as they are, in the rows of this training; less where the
    planned snapshot holds fewer."""

    def start(self, context: Context) -> str:
        """The champion that the plan saw; the recipe's base where there is none.

        Raises:
            TrainingError: the champion reads a prefix, which is no weight that could be trained on.
        """
        number = context.earlier("plan").figures["champion"]
        if number is None:
            log.info("there is no champion to go on from: %s it is", context.recipe.base)
            return context.recipe.base
        reference = f"models:/{context.recipe.name}/{number}"
        if (base.registered(reference, context.settings) / base.PREFIX).is_dir():
            raise TrainingError(
                f"{reference} was tuned by prefix, and cannot be gone on from", hint="use method kind lora"
            )
        return reference

    def rows(self, context: Context, table: pa.Table) -> pa.Table:
        """New rows, and a sample of the rows of the snapshot that the champion was trained on as they are today.

        A row whose text or label was corrected since is new, and what is in the planned snapshot no more, such as a
        forgotten person's, never comes back. Old rows are drawn by the hash of their ids, so the same plan gives the
        same rows. Where nothing is new, all rows are trained on.
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
        wanted = round(fresh.num_rows * self.replay / (1 - self.replay))
        replayed = table.take(pa.array(sorted(place for _, place in drawn[:wanted]), pa.int64()))
        log.info("%d new rows, %d of %d old ones replayed", fresh.num_rows, replayed.num_rows, len(drawn))
        return pa.concat_tables([fresh, replayed])


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
