"""Hashes of whole columns are those of their values one by one."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftcore.data import snapshot, split, split_keys
from ftcore.recipe.sections import Prepare
from ftcore.store import hashes

HEX = st.integers(16, 24).flatmap(lambda n: st.lists(st.text("0123456789abcdefABCDEF", min_size=n, max_size=n)))
TEXTS = st.text('ab"\\\x00\x1f\x7f\n\té\u2028😀/ ', max_size=6)


def chunked(values: list[str | None], cut: int = 1) -> pa.ChunkedArray:
    return pa.chunked_array([values[:cut], [], values[cut:]], pa.string())


@given(HEX)
def test_hex_digits_as_numbers_and_back(values: list[str]) -> None:
    expected = [int(value[:16], 16) for value in values]
    for given_as in (values, chunked(values), chunked(["x", *values]).slice(1), np.array(values, np.bytes_)):
        found = hashes.numbers(given_as)  # type: ignore[arg-type]
        assert found is not None
        assert found.tolist() == expected
    assert hashes.hexed(np.array(expected, np.uint64)).to_pylist() == [value[:16].lower() for value in values]


@pytest.mark.parametrize(
    "values",
    [
        *(["0123456789abcdef", None], ["0123456789abcde"], [""], ["0123456789abcdef", "0123456789abcde"]),
        *(["0123 56789abcdef"], ["0123456789abcdeg"], ["０１２３４５６７８９abcdef"], ["012345  89abcdef ", "0" * 17]),
    ],
)
def test_what_is_no_hash_is_not_read_as_one(values: list[str | None]) -> None:
    assert hashes.numbers(chunked(values)) is None
    assert hashes.numbers(np.array([(one or "").encode() for one in values], np.bytes_)) is None


@given(st.lists(st.tuples(*[st.none() | TEXTS] * 3), max_size=12))
def test_rows_are_written_as_json_writes_them(rows: list[tuple[str | None, ...]]) -> None:
    columns = [chunked([row[place] for row in rows], 2) for place in range(3)]
    expected = [json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() for row in rows]
    assert hashes.as_json(columns) == expected
    assert hashes.as_json([column.slice(1) for column in columns]) == expected[1:]


def test_equal_values_are_hashed_once() -> None:
    asked: list[str | None] = []
    found = hashes.of_each(chunked(["a", None, "b", "a", None]), lambda one: len(asked) if asked.append(one) else 7)
    assert (found.tolist(), sorted(map(str, asked))) == ([7] * 5, ["None", "a", "b"])
    assert hashes.of_each(chunked([]), lambda _: 1).tolist() == []


@given(st.lists(st.text("0123456789abcdef", min_size=16, max_size=16)), st.floats(0.01, 0.5), st.floats(0.01, 0.49))
def test_many_rows_are_drawn_as_each_is(keys: list[str], test: float, validation: float) -> None:
    shares = Prepare(test=test, validation=validation)
    at_the_border = [
        f"{int(share * 16**13) + one:013x}000" for share in (test, test + validation) for one in (-1, 0, 1)
    ]
    keys = keys + at_the_border
    drawn = split.assign_splits(split_keys.key_numbers(keys), shares)
    assert [snapshot.SPLITS[one] for one in drawn] == [split.assign_split(key, shares) for key in keys]


@given(st.lists(st.none() | st.sampled_from(["0123456789abcdef0123", "ABCDEF0123456789abcd", "own-1", "f" * 8, ""])))
def test_a_rows_number_does_not_depend_on_the_rows_beside_it(ids: list[str | None]) -> None:
    alone = [int(split_keys.row_numbers(chunked([one]))[0]) for one in ids]
    assert split_keys.row_numbers(chunked(ids)).tolist() == alone
    assert split_keys.row_numbers([one or "" for one in ids]).tolist() == alone
