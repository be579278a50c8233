"""Hashes of whole columns: hex digits as numbers and back, and rows as the JSON that their digests are of."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

DIGITS = 16
"""Hex digits of a number of 64 bits."""
ESCAPED = r'["\\\x00-\x1f]'
"""What JSON writes in another way than it is."""


def numbers(hexed: Sequence[str] | pa.ChunkedArray | NDArray[np.bytes_]) -> NDArray[np.uint64] | None:
    """The first 16 hex digits of each value as a number.

    Args:
        hexed: values of one length.

    Returns:
        Shape ``(values,)``; None where one is null, shorter, of another length or not made of hex digits.
    """
    import numpy as np

    digits = hexed if isinstance(hexed, np.ndarray) else _fixed(hexed)
    width = 0 if digits is None else digits.dtype.itemsize
    if digits is None or (len(digits) and width < DIGITS):
        return None
    some = np.ascontiguousarray(digits).view(np.uint8).reshape(len(digits), width)[:, :DIGITS]
    try:
        found = bytes.fromhex(some.tobytes().decode("ascii"))
    except ValueError:
        return None
    # Blanks are left out by `fromhex`, and then digits of several values would make one.
    return np.frombuffer(found, ">u8").astype(np.uint64) if len(found) == 8 * len(digits) else None


def hexed(numbers: NDArray[np.uint64]) -> pa.StringArray:
    """Numbers as 16 hex digits each."""
    import numpy as np
    import pyarrow as pa

    offsets = np.arange(0, DIGITS * (len(numbers) + 1), DIGITS, dtype=np.int32)
    text = numbers.astype(">u8").tobytes().hex().encode()
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(text))


def of_each(column: pa.ChunkedArray, hashed: Callable[[str | None], int]) -> NDArray[np.uint64]:
    """The hash of each value, which is made once for all that are equal; shape ``(values,)``."""
    import numpy as np

    coded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    made = np.array([hashed(value) for value in coded.dictionary.to_pylist()] or [0], np.uint64)
    places: NDArray[np.int32] = coded.indices.to_numpy()
    return made[places]


def as_json(columns: Sequence[pa.ChunkedArray]) -> list[bytes]:
    """Each row as a JSON list of its texts, in UTF-8: what ``json.dumps`` writes without blanks and ASCII escapes.

    Args:
        columns: of texts, all of one length.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    large = pa.large_string()  # together the columns may be longer than each is
    quoted = [_quoted(column.cast(large).combine_chunks()) for column in columns]
    comma, start, end, nothing = (pa.scalar(one, large) for one in (",", "[", "]", ""))
    rows = pc.binary_join_element_wise(*quoted, comma, null_handling="replace", null_replacement="null")
    return list(pc.binary_join_element_wise(start, rows, end, nothing).cast(pa.large_binary()).to_pylist())


def _quoted(column: pa.LargeStringArray) -> pa.LargeStringArray:
    """Texts as JSON; nulls stay."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count == len(column):
        return column
    quote, nothing = pa.scalar('"', column.type), pa.scalar("", column.type)
    quoted = pc.binary_join_element_wise(quote, column, quote, nothing)
    written = np.frombuffer(column.buffers()[2] or b"", np.uint8)
    if not ((written < ord(" ")) | (written == ord('"')) | (written == ord("\\"))).any():
        return quoted  # as nearly all columns but those of texts: quicker than to look at each value
    special = pc.fill_null(pc.match_substring_regex(column, ESCAPED), False)
    encode = json.JSONEncoder(ensure_ascii=False).encode
    some = [encode(text) for text in column.filter(special).to_pylist()]
    return pc.replace_with_mask(quoted, special, pa.array(some, quoted.type))


def _fixed(values: Sequence[str] | pa.ChunkedArray) -> NDArray[np.bytes_] | None:
    """Values of one length as an array of bytes."""
    import numpy as np
    import pyarrow as pa

    column = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([pa.array(values, pa.string())])
    column = column.cast(pa.string()).combine_chunks()
    if column.null_count or not len(column):
        return None if len(column) else np.empty(0, f"S{DIGITS}")
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    width = int(bounds[1] - bounds[0])
    if not width or (np.diff(bounds) != width).any():
        return None
    return np.frombuffer(data, f"S{width}", len(column), int(bounds[0]))
