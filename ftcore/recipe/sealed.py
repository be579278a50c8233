"""The sealed part of the test split: rows that nothing looks at but the final comparison with the champion.

Which test rows are sealed is drawn from their split keys, as their split is, so that groups stay together and the draw
never changes; a larger share seals further rows and opens none. Both draws are independent of each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.recipe.model import Recipe

TEST, SEALED = "test", "sealed"
"""Names of the datasets of open and of sealed test rows in ``predictions.parquet``."""
PART = "the sealed part of test"
"""What people call these rows."""


def seal(rows: pa.Table, share: float) -> pa.Table:
    """Rows whose sealed ones have the dataset ``sealed`` instead of ``test``.

    Args:
        rows: with ``dataset``, ``split_key``, ``group`` and ``text``; where a row of an old snapshot has no split key,
            its group or its text is drawn.
        share: of the test rows, 0 to 1.
    """
    import pyarrow as pa

    if not share:
        return rows
    columns = (rows[name].to_pylist() for name in ("dataset", "split_key", "group", "text"))
    names = [
        SEALED
        if dataset == TEST and drawn(key or " ".join((group or text or "").casefold().split())) < share
        else dataset
        for dataset, key, group, text in zip(*columns, strict=True)
    ]
    return rows.set_column(rows.column_names.index("dataset"), "dataset", pa.array(names, pa.string()))


def drawn(key: str) -> float:
    """A number in [0, 1) that is always the same for a split key, and independent of its split."""
    return int.from_bytes(hashlib.sha256(f"sealed\x00{key}".encode()).digest()[:6]) / 2**48


def faults(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Contradictions between the sealed share, the holdouts and the gates, each with its path in the recipe."""
    for name in sorted({TEST, SEALED} & set(recipe.evaluate.holdouts)):
        yield (
            f"evaluate.holdouts.{name}",
            f"{name!r} is the name of a part of the test split: name the holdout otherwise",
        )
    if not recipe.evaluate.sealed:
        return
    final = [(n, gate) for n, gate in enumerate(recipe.gates) if gate.FINAL]
    if not final:
        yield (
            "evaluate.sealed",
            "no gate would look at the sealed rows: add the gate beats_champion, or leave evaluate.sealed out",
        )
    for number, gate in final:
        if (datasets := tuple(gate.named().get("datasets", ()))) != (TEST,):
            yield (
                f"gates[{number}].datasets",
                f"with evaluate.sealed the final comparison is made on {PART} only, not on {', '.join(datasets)}: set "
                "datasets: [test], or leave evaluate.sealed out",
            )
