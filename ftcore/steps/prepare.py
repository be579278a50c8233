"""prepare: clean the text, drop what repeats or leaks, and draw the splits."""

from __future__ import annotations

import logging
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ftcore.context import Context, Outcome
from ftcore.data import carry, snapshot, split, tally
from ftcore.data import sides as _sides
from ftcore.data.cleaning import exact, labels, near
from ftcore.data.cleaning.exact import Decision
from ftcore.data.cleaning.rows import LEFT_OUT
from ftcore.data.conversations import turns as conversation
from ftcore.data.sides import IMPORTANCE, NEW, Sides
from ftcore.data.spool import CleanedRows, clean_all
from ftcore.errors import FtcoreError, MissingExtraError, NotFoundError
from ftcore.models import base
from ftcore.models.embedding import embedder
from ftcore.store import hashes, parts
from ftcore.store.store import digest, write_json, write_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from upath import UPath

    from ftcore.recipe.sections import Prepare

log = logging.getLogger(__name__)

NEEDS = ("pyarrow.parquet", "ftfy", "numpy")
CONTRADICTION = "the same text has different labels"
OUTLIER = "the text is far longer or shorter than the others"
FAR_OUT = 3.0
"""Interquartile ranges beyond the quartiles that Tukey calls far out."""
LISTED = 10_000
"""Most rows of one kind in the review; their counts are complete."""
DOUBTED = 50_000
"""Most rows among which label errors are looked for: those with the lowest row ids."""


@dataclass
class Draft:
    """What stays and what goes, by position."""

    kept: NDArray[np.int64]
    label_of: NDArray[np.int64]
    quarantined: dict[str, NDArray[np.int64]]
    """By reason."""
    review: list[dict[str, Any]]
    counts: dict[str, Any]
    filters: set[str]
    """Reasons that are the recipe's own filters, not faults of the data."""
    sides: Sides

    def without(self, gone: NDArray[np.bool_]) -> None:
        """Take some of the kept rows out."""
        self.kept, self.label_of = self.kept[~gone], self.label_of[~gone]


def run(context: Context) -> Outcome:
    """Write ``rows/`` (with ``split``), ``quarantine.parquet``, ``review.parquet`` and a draft manifest."""
    source, found = _raw(context)
    _require(context.recipe.prepare)
    shutil.rmtree(context.scratch, ignore_errors=True)
    context.scratch.mkdir(parents=True)
    try:
        spool = CleanedRows(clean_all(source, context.scratch, context.recipe, split.load(context.shelf)))
        draft = settle(context, spool)
        figures = _write(context, spool, draft)
    finally:
        shutil.rmtree(context.scratch, ignore_errors=True)
    paths = {"rows": "rows", "quarantine": "quarantine.parquet", "review": "review.parquet"}
    write_json(context.folder / "manifest.json", figures)
    return Outcome(
        reason=_sums(figures),
        figures=figures,
        inputs={"rows": found},
        paths={name: context.written(context.folder / file) for name, file in paths.items()},
    )


def _sums(figures: dict[str, Any]) -> str:
    """How many rows are kept and why each of the others is not; the numbers add up to the rows that came in."""
    filtered = sum(figures["filtered"].values())
    gone = {
        "exact duplicate{s}": figures["duplicates"],
        "near duplicate{s}": figures["near_duplicates"],
        "like a row of another split": figures["leaked"],
        "quarantined for faults": figures["quarantined"] - filtered,
        "left out by the recipe's filters": filtered,
        "dropped for personal data": figures["dropped_for_personal_data"],
    }
    told = [f"{count:,} {what.format(s='s' * (count != 1))}" for what, count in gone.items() if count]
    kept = f"{figures['rows']:,} of {figures['rows_in']:,} rows kept"
    return f"{kept}; {', '.join(told)}" if told else kept


def _raw(context: Context) -> tuple[UPath, str]:
    """The rows as ingest left them, and their hash.

    Raises:
        FtcoreError: they are gone, or not all of them are left.
    """
    ingest = context.earlier("ingest")
    source: UPath = context.shelf.root / ingest.paths["rows"]
    found = parts.digest(source) if source.exists() and parts.files(source) else ""
    if not found or found != ingest.inputs.get("rows", found):
        command = f"ftcore step ingest {context.recipe.name} --run {context.run_id} --again"
        raise FtcoreError(
            f"the raw rows of run {context.run_id} are gone: they hold personal data, so validate deletes them",
            hint=f"read the sources again: {command}",
        )
    return source, found


def _require(prepare: Prepare) -> None:
    """Name what is not installed before the work starts rather than in its middle."""
    wanted = {
        "presidio_analyzer": any(action != "keep" for action in prepare.personal_data.actions.values()),
        "rensa": prepare.near_duplicates is not None,
        "py3langid": bool(prepare.languages),
        "cleanlab": prepare.label_errors,
    }
    missing = [name for name, needed in wanted.items() if needed and find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"{', '.join(missing)}: not installed", hint="pip install 'ftcore[data]'")


def settle(context: Context, spool: CleanedRows) -> Draft:
    """Decide about every row; which rows stay does not depend on their order."""
    import numpy as np

    prepare = context.recipe.prepare
    index = exact.join([one.index for one in spool.cleaned])
    exact.settle_ties(index, spool.take)
    alive = np.ones(len(index.seen), dtype=bool)
    for kind in ("dropped", "foreign", "faults"):
        alive[spool.flagged(kind)] = False
    sides = _sides.of(context, spool, index)
    found = exact.decide(index, alive, sides.side, sides.rank)
    leaking = sides.settle(found.kept, index.seen)
    personal = sum((one.personal for one in spool.cleaned), Counter[str]())
    draft = _draft(found, spool, sides, int(alive.sum()), dict(sorted(personal.items())))
    _drop_leaking(draft, *leaking)
    _outliers(draft, spool, prepare.length_outliers)
    left, usable, every = (f"{count:,}" for count in (len(draft.kept), int(alive.sum()), len(alive)))
    log.info("%s of %s rows can be used, %s are left without exact duplicates", usable, every, left)
    draft.counts |= {"near_duplicates": 0, "near_duplicate_label_conflicts": 0}
    if prepare.near_duplicates:
        _drop_near(draft, spool, index, prepare.near_duplicates)
    if prepare.label_errors:
        _doubt(draft, spool, *_embedder(context))
    draft.counts["groups_on_two_splits"] = torn = sides.straddling_groups(draft.kept)
    if torn:
        log.warning(
            "groups_on_two_splits: %s; rows that were published before their group was known, or under another, keep "
            "their split: what judges leaves such groups out",
            f"{torn:,}",
        )
    return draft


def _draft(found: Decision, spool: CleanedRows, sides: Sides, alive: int, personal: dict[str, int]) -> Draft:
    import numpy as np

    quarantined = {CONTRADICTION: found.contradicting}
    foreign, faults = spool.reasons("foreign"), defaultdict[str, list[int]](list)
    gone = {*foreign, *spool.flagged("dropped")}
    for place, why in spool.reasons("faults").items():
        if place not in gone:
            faults[why].append(place)
    quarantined |= {why: np.array(places, np.int64) for why, places in faults.items()}
    for name in sorted(set(foreign.values())):
        quarantined[f"the text is in another language: {name}"] = np.array(
            [place for place, language in foreign.items() if language == name], np.int64
        )
    counts = {
        "rows_in": int(spool.starts[-1]),
        "duplicates": alive - len(found.kept) - len(found.contradicting),
        "contradictions": len(found.contradicting),
        "split_conflicts": found.split_conflicts,
        "other_language": len(foreign),
        "personal_data": personal,
        "dropped_for_personal_data": len(spool.flagged("dropped")),
    }
    filters = {f"the text is in another language: {name}" for name in foreign.values()} | {OUTLIER}
    filters |= {why for why in faults if why.startswith(LEFT_OUT)}
    return Draft(found.kept, found.label_of, quarantined, [], counts, filters, sides)


def _drop_leaking(draft: Draft, gone: NDArray[np.int64], because: NDArray[np.int64]) -> None:
    """Leave out rows whose text or prompt stays on another side, as the rows' groups or history keep them apart."""
    import numpy as np

    draft.counts |= {"leaked": len(gone), "texts_on_two_sides": len(gone)}
    draft.review += [
        {"kind": "leaked", "place": int(one), "like": int(other), "score": 1.0}
        for one, other in zip(gone[:LISTED], because[:LISTED], strict=True)
    ]
    draft.without(np.isin(draft.kept, gone))


def _outliers(draft: Draft, spool: CleanedRows, beyond: float | None) -> None:
    """Count texts of unusual length, list them, and quarantine them where the recipe says so."""
    import numpy as np

    length = np.log(np.maximum(spool.column("length")[draft.kept], 1))
    low, high = np.quantile(length, [0.25, 0.75]) if len(length) else (0.0, 0.0)
    reach = (beyond or FAR_OUT) * (high - low)
    out = (length < low - reach) | (length > high + reach)
    draft.counts["length_outliers"] = int(out.sum())
    if beyond is not None:
        draft.quarantined[OUTLIER] = draft.kept[out]
        draft.without(out)
        return
    rows = draft.kept[out][:LISTED]
    draft.review += [{"kind": "length", "place": int(p), "detail": OUTLIER} for p in rows]


def _drop_near(draft: Draft, spool: CleanedRows, index: exact.Index, threshold: float) -> None:
    import numpy as np

    kept, side, part = draft.kept, draft.sides.side[draft.kept], spool.column("part")[draft.kept]
    label = index.label[draft.label_of]
    pairs, scores = near.pairs(
        _folded(spool, kept), len(kept), lambda some: next(_folded(spool, kept[some], one=True)), threshold
    )
    # Rows are looked at in the order test, validation, train, and within a split from the first seen on; before all
    # of them those that were published: a new row takes no row away that a model was trained or judged on.
    new = draft.sides.rank[kept] == NEW
    order = np.lexsort((np.arange(len(kept)), index.seen[kept], np.array(IMPORTANCE)[side], new))
    rank = np.empty(len(kept), np.int64)
    rank[order] = np.arange(len(kept))
    gone, because = near.leave_out(
        pairs, rank, lambda one, other: bool(side[one] != side[other] or label[one] == label[other]), len(kept)
    )
    leaks = side[gone] != side[because]
    similar = dict(zip(map(tuple, np.sort(pairs, axis=1).tolist()), scores.tolist(), strict=True))
    out = np.zeros(len(kept), dtype=bool)
    out[gone] = True
    conflicts = pairs[~(out[pairs[:, 0]] | out[pairs[:, 1]]) & (part[pairs[:, 0]] == part[pairs[:, 1]])]
    draft.counts |= {
        "near_duplicates": int((~leaks).sum()),
        "leaked": draft.counts["leaked"] + int(leaks.sum()),
        "near_duplicate_label_conflicts": len(conflicts),
    }
    listed = [("leaked" if leak else "near duplicate", *two) for leak, *two in zip(leaks, gone, because, strict=True)]
    listed += [("near duplicate with another label", one, other) for one, other in conflicts]
    seen: Counter[str] = Counter()
    for kind, one, other in listed:
        seen[kind] += 1
        if seen[kind] <= LISTED:
            score = similar[(int(min(one, other)), int(max(one, other)))]
            draft.review.append({"kind": kind, "place": int(kept[one]), "like": int(kept[other]), "score": score})
    draft.without(out)


def _folded(spool: CleanedRows, places: NDArray[np.int64], *, one: bool = False) -> Iterator[list[bytes]]:
    """Folded texts, each with its context, at some positions, part by part, or all in one list."""
    columns = ["text", "context"]
    for rows in [spool.take(places, columns)] if one else spool.batches(places, columns):
        whole = zip(*(rows[name].to_pylist() for name in columns), strict=True)
        plain = ((conversation.plain(text), more) for text, more in whole)
        yield [snapshot.text_key(f"{text} {more}" if more else text).encode() for text, more in plain]


def _embedder(context: Context) -> tuple[Callable[[Sequence[str]], NDArray[np.float32]] | None, str]:
    """Embeddings of the base model, and what they are called; none, with a word about it, where it cannot be had."""
    recipe = context.recipe
    try:
        folder = base.resolve(recipe.base, context.settings, context.recipe_path.parent)
        return embedder(folder, context.settings.threads), f"words and embeddings of {recipe.base}"
    except (MissingExtraError, NotFoundError) as error:
        log.warning("label errors are looked for by words alone, not by embeddings of the base model: %s", error)
        return None, "words alone, as the base model could not be had"


def _doubt(
    draft: Draft, spool: CleanedRows, embed: Callable[[Sequence[str]], NDArray[np.float32]] | None, by: str
) -> None:
    """List rows whose label is doubtful; the training side only, as nobody may tune the test split."""
    import numpy as np

    train = draft.kept[draft.sides.side[draft.kept] == snapshot.SPLITS.index("train")][:DOUBTED]
    label_of = dict(zip(draft.kept.tolist(), draft.label_of.tolist(), strict=True))
    rows = spool.take(train, ["text"])["text"].to_pylist()
    given = spool.take(np.array([label_of[int(p)] for p in train], np.int64), ["label"])["label"].to_pylist()
    usable = [n for n, label in enumerate(given) if label is not None]
    doubts = labels.doubtful([rows[n] for n in usable], [given[n] for n in usable], embed)
    draft.counts |= {"doubtful_labels": len(doubts), "label_error_model": by}
    draft.review += [
        {"kind": "doubtful label", "place": int(train[usable[n]]), "score": sure, "detail": f"rather {other}"}
        for n, other, sure in doubts[:LISTED]
    ]


def _write(context: Context, spool: CleanedRows, draft: Draft) -> dict[str, Any]:
    """Write the draft; returns its figures."""
    import numpy as np
    import pyarrow as pa

    side, labelled = draft.sides.side, context.recipe.task.TARGET == "label"
    writer, names = parts.Writer(context.folder / "rows", snapshot.schema(split=True)), pa.array(snapshot.SPLITS)
    digests, balance = [], Counter[tuple[str, str]]()
    for start in range(0, len(draft.kept), parts.ROWS):
        places = draft.kept[start : start + parts.ROWS]
        rows = spool.labelled(places, draft.label_of[start : start + parts.ROWS])
        keys = hashes.hexed(draft.sides.key[places])
        rows = rows.set_column(rows.column_names.index("split_key"), rows.schema.field("split_key"), keys)
        rows = rows.append_column("split", names.take(pa.array(side[places])))
        if labelled:
            balance.update(tally.together(rows, "split", "label"))
        digests.append(snapshot.row_digests(rows))
        writer.add(rows)
    writer.close()
    _write_quarantine(context, spool, draft)
    _write_repeated(context, spool, draft)
    _write_review(context, spool, draft)
    lengths = spool.column("length")[draft.kept]
    shares = [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]
    return {
        **draft.counts,
        "rows": len(draft.kept),
        "quarantined": sum(map(len, draft.quarantined.values())),
        "content": snapshot.content_of(digests),
        "parts": digest(writer.hashes),
        "balance": {split: dict(sorted(_of(balance, split).items())) for split in snapshot.SPLITS},
        "length_quantiles": {
            f"{share:g}": float(value) for share, value in zip(shares, np.quantile(lengths, shares), strict=True)
        }
        if len(lengths)
        else {},
        "filtered": {reason: len(p) for reason, p in draft.quarantined.items() if len(p) and reason in draft.filters},
    }


def _of(balance: Counter[tuple[str, str]], split: str) -> dict[str, int]:
    return {str(label): count for (where, label), count in balance.items() if where == split}


def _write_quarantine(context: Context, spool: CleanedRows, draft: Draft) -> None:
    import numpy as np
    import pyarrow as pa

    schema = snapshot.schema().append(pa.field("reason", pa.string()))
    tables = [schema.empty_table()]
    places = np.concatenate([np.empty(0, np.int64), *draft.quarantined.values()])
    reasons = np.repeat(np.array([*draft.quarantined], object), [len(one) for one in draft.quarantined.values()])
    for start in range(0, len(places), parts.ROWS):  # all reasons at once: there may be one for each row
        rows, why = spool.take(places[start : start + parts.ROWS]), reasons[start : start + parts.ROWS].tolist()
        tables.append(rows.append_column(schema.field("reason"), pa.array(why, pa.string())))
    write_table(context.folder / "quarantine.parquet", pa.concat_tables(tables))


def _write_repeated(context: Context, spool: CleanedRows, draft: Draft) -> None:
    """Rows of incremental sources that another row repeats: they are looked at anew when that one is gone."""
    import numpy as np
    import pyarrow as pa

    names, path = carry.incremental(context.recipe), context.folder / carry.REPEATED
    path.unlink(missing_ok=True)
    if not names:
        return
    out = np.ones(int(spool.starts[-1]), dtype=bool)
    for places in (draft.kept, *draft.quarantined.values(), np.array(spool.flagged("dropped"), np.int64)):
        out[places] = False
    tables = [carry.of(rows, names) for rows in spool.batches(np.flatnonzero(out))]
    write_table(path, pa.concat_tables([snapshot.schema().empty_table(), *tables]))


def _write_review(context: Context, spool: CleanedRows, draft: Draft) -> None:
    """Rows that a person may want to look at: what leaked, what is alike, what seems wrongly labelled."""
    import numpy as np
    import pyarrow as pa

    places = np.array([row["place"] for row in draft.review], np.int64)
    rows = spool.take(places, ["row_id", "text", "label"])
    like = np.array([row.get("like", row["place"]) for row in draft.review], np.int64)
    others = spool.take(like, ["row_id", "text"])
    twins = [("like" in row) for row in draft.review]
    table = rows.append_column("kind", pa.array([row["kind"] for row in draft.review], pa.string()))
    for name, column in (("like_row_id", others["row_id"]), ("like_text", others["text"])):
        values = [value if twin else None for value, twin in zip(column.to_pylist(), twins, strict=True)]
        table = table.append_column(name, pa.array(values, pa.string()))
    table = table.append_column("score", pa.array([row.get("score") for row in draft.review], pa.float64()))
    table = table.append_column("detail", pa.array([row.get("detail") for row in draft.review], pa.string()))
    write_table(context.folder / "review.parquet", table)
