"""JSON arrays: an element that cannot be read costs one row, and no other is lost or read as something else."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftcore.data.sources import _json_array
from ftcore.data.sources._formats import Lines
from ftcore.data.sources._json_array import Unread
from ftcore.errors import DataRejectedError

Rows = Callable[..., list[dict[str, Any]]]
GOOD = '{"text": "a", "label": "x"}'


def read(text: str) -> list[Any]:
    return list(_json_array.elements(Lines(io.StringIO(text)), "a.json"))


@pytest.mark.parametrize("size", [5_000_000, 30_000_000])
def test_a_huge_item_costs_one_row_and_little_memory(tmp_path: Path, rows: Rows, size: int) -> None:
    with (tmp_path / "a.json").open("w", encoding="utf-8") as file:
        file.write(f"[{GOOD},\n")
        json.dump({"text": f'{"long " * 200}\\ " [{{,}} ' * (size // 1010), "tags": [",", "x", "y"]}, file)
        file.write(f"\n,{GOOD}, {GOOD}]")
    tracemalloc.start()
    got = rows(kind="files", path="a.json")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [row["text"] for row in got if row["text"] == "a"] == ["a"] * 3
    assert got[1]["text"].startswith("\ufffd [item 2 has ")
    assert len(got[1]["text"]) < 400
    assert got[1]["origin"].endswith("a.json, item 2")
    told = int(got[1]["text"].split()[4].replace(",", ""))
    assert 0.99 * size < told < 1.05 * size
    assert peak < 60_000_000, "as much for a file of any size"


def test_items_up_to_the_limit_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_json_array, "LONGEST_ROW", 200_000)
    fits, long = json.dumps("x" * (200_000 - 2)), json.dumps("x" * (200_000 - 1))
    for before in (0, 65_000, 65_536, 150_000):
        first, one, other, last = read(f'["{"y" * before}", {fits}, {long}, 7]')
        assert (first, one, last) == ("y" * before, "x" * (200_000 - 2), 7)
        assert other == Unread(f'[item 3 has 200,001 characters, more than 200,000] "{"x" * 199}')


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (r'{"text": "\x"}', r"Invalid \escape"),
        ('{"text": "a",}', "Expecting property name"),
        ('{"text" "a"}', "Expecting ':' delimiter"),
        ('{"text": "a" "b"}', "Expecting ',' delimiter"),
        ('{"text": "a\nb"}', "Invalid control character at"),
        ("{'text': 'a'}", "Expecting property name"),
        ('{"text": tru}', "Expecting value"),
        ("tru", "Expecting value"),
        ("[" * 100_000 + "]" * 100_000, "it is nested too deeply"),
    ],
)
def test_a_broken_item_costs_one_row(item: str, why: str) -> None:
    for text in (f"[{GOOD}, {item}, {GOOD}]", f"[{GOOD}, {GOOD}, {item}]", f"[{item}\n,\n{GOOD},{GOOD}\n]"):
        got = read(text)
        assert [one for one in got if not isinstance(one, Unread)] == [json.loads(GOOD)] * 2
        (unread,) = (one for one in got if isinstance(one, Unread))
        assert unread.reason.startswith(f"[no JSON: {why}")
        assert unread.reason.endswith(item[:200])


@pytest.mark.parametrize(
    "item",
    [
        '{"text": "he said "no}", then"}',
        '{"text": "a"b"}',
        '{"text": "a}',
        '{"text": a"}',
        '{"text": "a"',
        '{"text": "a"]',
        '{{"text": "a"}',
        '{"text": "a"}}',
        '{"text": tru} x',
    ],
)
def test_an_item_whose_end_nobody_can_tell_refuses_the_file(item: str) -> None:
    text = f"[{GOOD},\n{item},\n{GOOD}, {GOOD}]"
    with pytest.raises(DataRejectedError, match=r"a\.json, (item [23] \(line 2\)|line 2: more stands)"):
        read(text)


VALUE = st.dictionaries(st.text("ab", min_size=1, max_size=3), st.text('ab,:{}[]"\\ \n', max_size=6), max_size=3)


@given(st.lists(VALUE, min_size=1, max_size=5), st.data(), st.sampled_from([None, 1]), st.integers(1, 40))
def test_one_wrong_character_harms_no_other_row(values: list[Any], data: Any, indent: int | None, chunk: int) -> None:
    items = [json.dumps(value, indent=indent) for value in values]
    place = data.draw(st.integers(0, len(items) - 1))
    at = data.draw(st.integers(0, len(items[place]) - 1))
    sign = data.draw(st.sampled_from(["", '"', "{", "}", "[", "]", ",", ":", "\\", "x"]))
    items[place] = items[place][:at] + sign + items[place][at + data.draw(st.integers(0, 1)) :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_json_array, "CHUNK", chunk)
        try:
            got = read(f"[{', '.join(items)}]")
        except DataRejectedError:
            return
    left = [one for one in got if not isinstance(one, Unread)]
    for value in (value for number, value in enumerate(values) if number != place):
        left.remove(value)  # every other row comes back as it was
    assert len(left) <= 2, "what is changed may be another value, or two"
