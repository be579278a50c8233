"""What each attempt at a training used: an attempt that was killed is gone on with by the next, and all of them count.

::

    runs/RUN/train/used/TRAINING/ATTEMPT.json       what one attempt has used until now

An attempt writes its file anew about every minute and at its end, so that a kill loses no more than that minute, and no
attempt counts twice. A training that is done once more in its run starts another folder.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError
from ftcore.store.files import as_json, mapping, names_in, read_many, write_bytes
from ftcore.store.store import hash_file

if TYPE_CHECKING:
    from upath import UPath

    from ftcore.context import Context

log = logging.getLogger(__name__)

FOLDER = "used"
SUMMED = ("worked_s", "energy_kwh", "co2e_g", "cost")
"""Figures that add up over attempts."""
SHOWN = ("worker", *SUMMED)


@dataclass(frozen=True)
class Attempts:
    """The attempts at one training, this one among them."""

    folder: UPath
    own: str = field(default_factory=lambda: f"{uuid.uuid4().hex}.json")
    """Name of this attempt's file."""

    @classmethod
    def of(cls, context: Context) -> Attempts | None:
        """Those at the training that a step is about to do; None in a process that is not the first of several."""
        if int(os.environ.get("RANK", "0")):
            return None
        done = context.folder / "record.json"
        training = hash_file(done)[:16] if done.exists() else "first"
        return cls(context.folder / FOLDER / training)

    def keep(self, used: Mapping[str, Any]) -> None:
        """Write what this attempt has used until now; a store that cannot be written costs no training."""
        try:
            write_bytes(self.folder / self.own, as_json({key: used[key] for key in SHOWN if key in used}))
        except (FtcoreError, OSError) as error:
            log.warning("what the training has used so far cannot be kept: %s", error)

    def earlier(self) -> list[dict[str, Any]]:
        """What the attempts before this one used; files that hold no figures are left out."""
        names = [name for name in names_in(self.folder) if name != self.own]
        found = [mapping(data) for data in read_many(self.folder, names).values()]
        return [one for one in found if one and all(_is_amount(one[key]) for key in SUMMED if key in one)]


def total(used: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all attempts used together; with ``attempts``, what each used, where there are several.

    A cost that is not known of every attempt is known of none.
    """
    if not earlier:
        return dict(used)
    every = [*earlier, used]
    sums = {key: round(sum(one[key] for one in every), 9) for key in SUMMED if all(key in one for one in every)}
    kept = {key: value for key, value in used.items() if key not in SUMMED}
    return {**kept, **sums, "attempts": [{key: one[key] for key in SHOWN if key in one} for one in every]}


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
