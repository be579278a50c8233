"""Exact duplicates against the plain definition, whatever the order of the rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from ftcore.data import snapshot
from ftcore.data.cleaning import exact

TIMES = [None, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)]
ROW = st.fixed_dictionaries(
    {
        "row_id": st.sampled_from(["a", "b", "c", "d", None]),
        "text": st.sampled_from(["One", "one", " ONE ", "two", "Two", ""]),
        "context": st.none(),
        "label": st.sampled_from(["x", "y", None]),
        "rejected": st.none(),
        "source": st.just("s"),
        "group": st.none(),
        "observed_at": st.sampled_from(TIMES),
    }
)


def outcome(rows: list[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    table = pa.Table.from_pylist(rows, schema=snapshot.schema())
    keys = [snapshot.text_key(row["text"]) or f"\x00{row['row_id']}" for row in rows]
    index = exact.index(table, keys)
    exact.settle_ties(index, table.take)
    found = exact.decide(index)
    kept = [
        (rows[i]["row_id"], rows[i]["text"], rows[j]["label"]) for i, j in zip(found.kept, found.label_of, strict=True)
    ]
    return kept, [[str(rows[i].get(name)) for name in snapshot.COLUMNS] for i in found.contradicting]


def plainly(rows: list[dict[str, Any]]) -> tuple[int, int]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(snapshot.text_key(row["text"]) or f"\x00{row['row_id']}", []).append(row)
    bad = [
        same
        for same in groups.values()
        if len({r["label"] for r in same if r["observed_at"] == max((s["observed_at"] for s in same), key=str_time)})
        > 1
    ]
    return len(groups) - len(bad), sum(map(len, bad))


def str_time(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0


@given(st.lists(ROW, max_size=25), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_the_order_of_the_rows_decides_nothing(rows: list[dict[str, Any]], shuffler: Any) -> None:
    first = outcome(rows)
    shuffler.shuffle(rows)
    assert outcome(rows) == first
    assert (len(first[0]), len(first[1])) == plainly(rows)


def test_a_later_label_corrects_and_the_first_row_stays() -> None:
    rows = [
        {"row_id": "late", "text": "Good", "label": "pos", "source": "f", "group": None, "observed_at": TIMES[1]},
        {"row_id": "old", "text": "good ", "label": "neg", "source": "s", "group": None, "observed_at": None},
    ]
    assert outcome(rows) == ([("old", "good ", "pos")], [])


def test_contradictions_go_all_together() -> None:
    rows = [
        dict.fromkeys(snapshot.COLUMNS) | {"row_id": str(n), "text": "good", "label": label, "source": "s"}
        for n, label in enumerate(["pos", "neg", "pos"])
    ]
    kept, bad = outcome(rows)
    assert (kept, len(bad)) == ([], 3)
