"""prepare: normalise the text, drop exact duplicates and draw the splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftcore import snapshot
from ftcore.context import Context, Outcome
from ftcore.store import hash_file, read_table, write_json, write_table

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.recipe import Prepare

NEEDS = ("pyarrow.parquet", "ftfy")


def run(context: Context) -> Outcome:
    """Write ``rows.parquet`` (with ``split``), ``quarantine.parquet`` and a draft manifest with the content hash."""
    source = context.shelf.root / context.earlier("ingest").paths["rows"]
    raw = read_table(source)
    rows, quarantined, counts = deduplicate(normalise(raw), context.recipe.prepare)
    paths = {name: context.folder / f"{name}.parquet" for name in ("rows", "quarantine")}
    write_table(paths["rows"], rows)
    write_table(paths["quarantine"], quarantined)
    content = snapshot.content_id(rows)
    write_json(context.folder / "manifest.json", {"content": content, "rows_in": raw.num_rows, **counts})
    return Outcome(
        reason=f"{rows.num_rows:,} of {raw.num_rows:,} rows kept, {counts['duplicates']:,} duplicates dropped",
        figures={"rows_in": raw.num_rows, "rows": rows.num_rows, "content": content, **counts},
        inputs={"rows": hash_file(source)},
        paths={name: context.written(path) for name, path in paths.items()},
    )


def normalise(rows: pa.Table) -> pa.Table:
    """Mend mojibake and Unicode (ftfy), and fold runs of white space into one space."""
    import ftfy
    import pyarrow as pa

    config = ftfy.TextFixerConfig(unescape_html="auto", explain=False)
    texts = [" ".join(ftfy.fix_text(text or "", config).split()) for text in rows["text"].to_pylist()]
    return rows.set_column(rows.column_names.index("text"), "text", pa.array(texts, pa.string()))


def deduplicate(rows: pa.Table, shares: Prepare) -> tuple[pa.Table, pa.Table, dict[str, int]]:
    """Keep one row of each text and draw its split.

    Of rows with one text, the label seen last counts: feedback corrects history. Where the labels differ and none is
    later, nobody can tell which one is true, and all of them are quarantined; so are rows of one text whose groups are
    on different sides of the split. Empty texts are left for the suite to quarantine, so each is named.

    Returns:
        The kept rows with ``split``, the quarantined rows with ``reason``, and the counts ``duplicates`` and
        ``contradictions``.
    """
    import pyarrow as pa

    groups: dict[str, list[dict[str, Any]]] = {}
    for number, row in enumerate(sorted(rows.to_pylist(), key=lambda row: (_seen(row), row["row_id"]))):
        # An empty text is no duplicate of another empty text, so each is kept apart.
        groups.setdefault(snapshot.text_key(row["text"]) or f"\x00{number}", []).append(row)
    kept, bad = [], []
    for same in groups.values():
        latest = [row for row in same if _seen(row) == _seen(same[-1])]
        if len({row["label"] for row in latest}) > 1:
            bad += [{**row, "reason": "the same text has different labels"} for row in same]
            continue
        sides = {snapshot.side(row["group"], row["text"], shares) for row in same}
        if len(sides) > 1:
            # Whichever side it were given, it would change it when one of its rows comes or goes.
            bad += [{**row, "reason": "the same text stands in groups on different sides of the split"} for row in same]
            continue
        # The row seen first keeps its identity; only its label is corrected.
        kept.append(same[0] | {"label": same[-1]["label"], "split": sides.pop()})
    quarantine = snapshot.schema().append(pa.field("reason", pa.string()))
    counts = {"duplicates": rows.num_rows - len(kept) - len(bad), "contradictions": len(bad)}
    return (
        pa.Table.from_pylist(kept, schema=snapshot.schema(split=True)),
        pa.Table.from_pylist(bad, schema=quarantine),
        counts,
    )


def _seen(row: dict[str, Any]) -> float:
    """When a row was observed, in seconds; a row without a time is older than any other."""
    return row["observed_at"].timestamp() if row["observed_at"] else 0.0
