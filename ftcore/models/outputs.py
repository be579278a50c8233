"""What a model is given and what it says, in memory and in Parquet.

A task's outputs are one of: an array of floats ``[rows, n]`` (probabilities of labels), an array of numbers ``[rows]``
(a score), or a list with a string or a list of strings for each row (an answer, the tag of each word). Where a model
has several parts it is a list of mappings from a part's name to such an output, None but for the part that was asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Outputs: TypeAlias = np.ndarray | list[Any]


class Example(NamedTuple):
    """A row as a predictor takes it, where there is more to it than its text."""

    text: str
    context: str | None = None
    """What belongs to the text: a passage, a second sentence, a system prompt."""
    answer: str | None = None
    """The right answer, for tasks that say how likely it is; never a label that is to be guessed."""
    rejected: str | None = None
    """A worse answer, for tasks that compare the two."""
    source: str | None = None
    """Where the row came from, or the name of the part that is asked, for tasks of several parts."""


Text: TypeAlias = str | Example
"""What a predictor takes: a plain text where that is all there is."""


@dataclass(frozen=True)
class Sample:
    """Texts that an export is calibrated and proven on."""

    texts: Sequence[Text] = ()
    row_ids: Sequence[str] = ()
    """Names of the texts for messages; without any, their numbers."""
    max_length_tokens: int = 64
    """Longer texts are cut."""


def given(rows: pa.Table, *, answers: bool = False, sources: bool = False) -> list[Text]:
    """Rows as a predictor takes them; with their answers where the task writes, with sources where it has parts."""
    texts = rows["text"].to_pylist()
    wanted = ("context", *(("label", "rejected") if answers else ()), *(("source",) if sources else ()))
    names = [name for name in wanted if name in rows.column_names]
    if not any(rows[name].null_count < rows.num_rows for name in names):
        return texts  # type: ignore[no-any-return]
    nothing = [None] * len(texts)
    columns = (rows[n].to_pylist() if n in names else nothing for n in ("context", "label", "rejected", "source"))
    return [Example(*row) for row in zip(texts, *columns, strict=True)]


def examples(texts: Iterable[Text]) -> list[Example]:
    """The same, all in one form."""
    return [Example(text) if isinstance(text, str) else text for text in texts]


def pairs(texts: Iterable[Text]) -> list[str | tuple[str, str]]:
    """The same as tokenizers take them: a text with its context as the second segment."""
    return [text if isinstance(text, str) else (text[0], text[1]) if text[1] else text[0] for text in texts]


def column(outputs: Outputs) -> pa.Array:
    """Outputs as an Arrow array, a row each."""
    import numpy as np
    import pyarrow as pa

    if isinstance(outputs, np.ndarray) and outputs.ndim == 2:
        return pa.array(list(outputs.astype(np.float32)), pa.list_(pa.float32()))
    return pa.array(outputs)


def of(column: pa.ChunkedArray | pa.Array) -> Outputs:
    """The outputs in a column that ``column`` made."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_list(kind) and pa.types.is_floating(kind.value_type):
        flat = pc.list_flatten(column).to_numpy(zero_copy_only=False) if len(column) else np.zeros(0, np.float32)
        return np.asarray(flat).reshape(len(column), -1) if len(column) else np.zeros((0, 0), np.float32)
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False)) if isinstance(column, pa.Array) else column.to_numpy()
    return list(column.to_pylist())


def join(parts: list[Outputs], order: np.ndarray) -> Outputs:
    """Outputs of batches, put back into the order of the rows.

    Args:
        parts: outputs of each batch.
        order: which row each output belongs to, ``[rows]``.
    """
    import numpy as np

    back = np.argsort(order, kind="stable")
    if all(isinstance(part, np.ndarray) for part in parts) and parts:
        return np.concatenate(parts)[back]
    flat = [output for part in parts for output in part]
    return [flat[place] for place in back]
