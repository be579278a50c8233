"""Whether there are as many rows as the gates ask for: said before a training is paid for, not after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftcore.data import snapshot
from ftcore.recipe import sealed
from ftcore.statistics.intervals import size

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from ftcore.recipe.model import Recipe
    from ftcore.recipe.sections import Gate
    from ftcore.store.store import RecipeStore

TEST, SEALED = sealed.TEST, sealed.SEALED


@dataclass(frozen=True)
class Size:
    """How much there is to judge on; the evaluation may leave rows out, so at most so much."""

    rows: int
    groups: int


def of_test(keys: np.ndarray, share: float) -> dict[str, Size]:
    """Sizes of the test split and of its sealed part.

    Args:
        keys: of each test row, what its group is known by, as bytes, ``[rows]``.
        share: of the test rows that the recipe seals.
    """
    import numpy as np

    names, rows = np.unique(keys, return_counts=True)
    closed = np.array([sealed.drawn(name.decode()) < share for name in names] if share else [False] * len(names), bool)
    found = {TEST: Size(int(rows[~closed].sum()), int((~closed).sum()))}
    return found | ({SEALED: Size(int(rows[closed].sum()), int(closed.sum()))} if share else {})


def of_snapshot(recipe: Recipe, shelf: RecipeStore, identity: str) -> dict[str, Size]:
    """Sizes of the test split of a snapshot, and of its sealed part.

    Raises:
        DataRejectedError: no such snapshot, or it was changed.
    """
    rows = snapshot.read(shelf, identity, [TEST], ["split_key", "group", "row_id"])
    return of_test(keys_of(rows), recipe.evaluate.sealed)


def test_keys(tables: Iterable[pa.Table]) -> np.ndarray:
    """What the groups of the rows of the test split are known by, ``[test rows]``; tables have ``split``, too."""
    import numpy as np
    import pyarrow.compute as pc

    found = [keys_of(rows.filter(pc.equal(rows["split"], TEST))) for rows in tables]
    return np.concatenate([np.empty(0, "S1"), *found])


def keys_of(rows: pa.Table) -> np.ndarray:
    """What each row's group is known by, as bytes ``[rows]``: its split key, else its group, else its own id."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    there = [rows[name] for name in ("split_key", "group", "row_id") if name in rows.column_names]
    return np.array(pc.coalesce(*there).cast(pa.binary()).to_pylist(), bytes)


def warnings(recipe: Recipe, sizes: Mapping[str, Size]) -> list[str]:
    """What is too little for which gate, and what can be done, a sentence each.

    Args:
        recipe: whose gates judge.
        sizes: of the datasets that are known: ``test``, ``sealed`` and names of holdouts. What a gate asks of others is
            not looked at.
    """
    found: dict[str, None] = {}
    for number, gate in enumerate(recipe.gates):
        for datasets in _judged(recipe, gate):
            if set(datasets) <= set(sizes):
                found |= dict.fromkeys(_wanting(recipe, (number, gate), datasets, sizes))
    return list(found)


def holdouts(recipe: Recipe) -> list[str]:
    """Holdouts that a gate judges on, in the recipe's order: their sizes are worth knowing."""
    wanted = {name for gate in recipe.gates for datasets in _judged(recipe, gate) for name in datasets}
    return [name for name in recipe.evaluate.holdouts if name in wanted]


def _judged(recipe: Recipe, gate: Gate) -> list[tuple[str, ...]]:
    """The datasets that a gate judges on, those together whose rows it judges together; none where it needs no rows."""
    if not gate.least():
        return []
    if recipe.evaluate.sealed and gate.FINAL:
        return [(SEALED,)]
    return gate.judged((TEST, *recipe.evaluate.holdouts))


def _wanting(
    recipe: Recipe, numbered: tuple[int, Gate], datasets: tuple[str, ...], sizes: Mapping[str, Size]
) -> Iterator[str]:
    (number, gate), least_rows = numbered, numbered[1].least().get("min_rows", 0)
    there = Size(*(sum(getattr(sizes[name], what) for name in datasets) for what in ("rows", "groups")))
    if there.rows < least_rows:
        key, least, missing = "min_rows", least_rows, least_rows - there.rows
    elif there.groups < (groups := min(gate.least().get("min_groups", 0), there.rows)):
        key, least, missing = "min_groups", groups, groups - there.groups
    else:
        return
    what = key.removeprefix("min_")
    names = " and ".join(sealed.PART if name == SEALED else name for name in datasets)
    yield (
        f"the gate {gate.kind} needs {least:,} {what} of {names} (gates[{number}].{key}), and there are "
        f"{size(there.rows, there.groups)}: {gate.ON_FEWER}. {_remedy(recipe, datasets, missing, what)}, or lower {key}"
    )


def _remedy(recipe: Recipe, datasets: tuple[str, ...], missing: int, what: str) -> str:
    """How more rows or groups come to judge."""
    own = [f"evaluate.holdouts.{name}" for name in datasets if name not in (TEST, SEALED)]
    if TEST not in datasets and SEALED not in datasets:
        return f"Add {missing:,} {what} to {' or '.join(own)}"
    share = recipe.prepare.test * (recipe.evaluate.sealed if SEALED in datasets else 1 - recipe.evaluate.sealed)
    larger = "evaluate.sealed or prepare.test" if SEALED in datasets else "prepare.test"
    also = f" or to {' or '.join(own)}" if own else ""
    return f"Add about {-(-missing // share):,.0f} {what} to the sources{also}, or raise {larger}"
