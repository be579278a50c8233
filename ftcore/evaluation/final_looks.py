"""Looks of the final comparison with the champion: which rows it judges on, and who judged on them before."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ftcore.evaluation import looks
from ftcore.evaluation.looks import Look
from ftcore.recipe.canonical import canonical
from ftcore.registry.judgement import JUDGED_AGAINST
from ftcore.tracking.client import Tracking

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.context import Context
    from ftcore.registry.verdict import Evidence


@dataclass(frozen=True)
class Compared:
    """A candidate and the champion, and what earlier verdicts saw of the rows that compare them."""

    context: Context
    candidate: int
    champion: int
    model: str
    """Digest of what decides the candidate's outputs: trained again under the same number, it is another candidate."""
    lost: list[str] = field(default_factory=list)
    """Earlier looks whose rows are not known any more."""

    def seen(self, evidence: Evidence, table: pa.Table, part: str) -> Evidence:
        """The evidence with the earlier looks at its rows; this one is counted.

        Args:
            evidence: about these rows.
            table: their predictions.
            part: ``test`` or ``sealed``.
        """
        gates = [one.model_dump(mode="json") for one in self.context.recipe.gates if one.FINAL]
        look = Look.at(self.candidate, self.champion, canonical([gates, part, self.model]), _keys(table))
        shelf, conf = self.context.shelf, self.context.settings
        found = looks.take(shelf, self.context.run_id, look, self._judged(), conf.lock_timeout_s)
        self.lost.extend(found.lost)
        return replace(evidence, looks=found.counts)

    def _judged(self) -> set[int]:
        """Candidates that were judged against this champion, as far as the ledger and the registry know."""
        registered = Tracking(self.context.settings, self.context.recipe.name).versions()
        lines = [line for line in self.context.shelf.ledger("gate") if line.get("champion") == self.champion]
        against = {version.number: version.tags.get(JUDGED_AGAINST) for version in registered}
        tagged = {number for number, champion in against.items() if champion == str(self.champion)}
        return tagged | {int(line["candidate"]) for line in lines if line.get("candidate")}


def _keys(table: pa.Table) -> list[str]:
    """Of each row what names its group, else the row itself, ``[rows]``."""
    there = [table[name].to_pylist() for name in ("split_key", "group", "row_id") if name in table.column_names]
    keys = [next((key for key in keys if key), "") for keys in zip(*there, strict=True)]
    return keys or [f"row {place}" for place in range(table.num_rows)]
