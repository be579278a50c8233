"""Changes of MLflow's database: tags, aliases, versions, runs, and all of it as it was before."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bench._tampering import Ring
    from tests.bench._tampering_files import Made

VALUES = ("forged", "0", "passed", '{"by": "eve", "reason": "no", "at": "2026-01-01T00:00:00+00:00"}')
SPOKEN = {"verdict": "verdict", "approval": "answer", "artefacts": "artefact", "sha256": "artefact", "size": "artefact"}
"""What is said of a tag whose name starts so."""
Row = tuple[str, str, str, str]
"""Table, condition, key and value of a tag or an alias that is about the recipe."""


def change(ring: Ring, draw: random.Random) -> Made:
    """Change a row that is about the recipe, or a whole table, or the file."""
    with closing(sqlite3.connect(ring.database)) as here:
        made = draw.choice(KINDS)(ring, draw, here)
        here.commit()
    return made


def _rows(ring: Ring, here: sqlite3.Connection) -> list[Row]:
    """Tags and aliases that are about the version, one of the four tables as likely as another is up to the caller."""
    name, run, number = ring.registrar.recipe.name, ring.run, ring.number
    asked = {
        ("model_version_tags", f"name = '{name}' and version = {number}"): "key like 'ftcore.%'",
        ("registered_model_tags", f"name = '{name}'"): "true",
        ("registered_model_aliases", f"name = '{name}'"): "true",
        ("tags", f"run_uuid = '{run}'"): "(key like 'ftcore.%' or key like 'env.%')",
    }
    found = []
    for (table, where), more in asked.items():
        columns = "alias, version" if table == "registered_model_aliases" else "key, value"
        rows = here.execute(f"select {columns} from {table} where {where} and {more}").fetchall()  # noqa: S608
        found += [(table, where, str(key), str(value)) for key, value in sorted(rows)]
    return found


def _one(ring: Ring, draw: random.Random, here: sqlite3.Connection) -> Row:
    rows = _rows(ring, here)
    table = draw.choice(sorted({row[0] for row in rows}))
    return draw.choice([row for row in rows if row[0] == table])


def _update(ring: Ring, draw: random.Random, here: sqlite3.Connection) -> Made:
    """Another value, of somebody's choice or of the same words spelled otherwise."""
    row = _one(ring, draw, here)
    value = row[3]
    if row[0] == "registered_model_aliases":
        new = str(draw.choice([one for one in (1, 2, 3, 999) if str(one) != value]))
    else:
        spelled = (f"{value} ", value.upper(), f"\u200b{value}", value.replace("a", "\u0430", 1))
        new = draw.choice([one for one in (*VALUES, *spelled) if one != value])
    return _set(here, row, new, "update")


def _set(here: sqlite3.Connection, row: Row, new: str, how: str) -> Made:
    table, where, key, _ = row
    name, column = ("alias", "version") if table == "registered_model_aliases" else ("key", "value")
    here.execute(f"update {table} set {column} = ? where {where} and {name} = ?", (new, key))  # noqa: S608
    return f"{how} {table} {key}", _words(key)


def _words(key: str) -> tuple[str, ...]:
    """Words by which a tag or an alias may be named."""
    short = key.removeprefix("ftcore.")
    spoken = next((said for start, said in SPOKEN.items() if short.startswith(start)), short.replace("_", " "))
    return key, short, spoken, "promotion", "newest line", "champion", "cut off"


def _delete(ring: Ring, draw: random.Random, here: sqlite3.Connection) -> Made:
    table, where, key, _ = _one(ring, draw, here)
    name = "alias" if table == "registered_model_aliases" else "key"
    here.execute(f"delete from {table} where {where} and {name} = ?", (key,))  # noqa: S608
    return f"delete {table} {key}", _words(key)


def _forge(ring: Ring, draw: random.Random, here: sqlite3.Connection) -> Made:
    """An answer that nobody gave, or a note that nobody wrote."""
    approval = {"person": "eve", "decision": "approve", "at": "2026-01-01T00:00:00+00:00", "verdict": "0"}
    key = draw.choice([f"ftcore.approval.{draw.randrange(16**8):08x}", "ftcore.rejected", "ftcore.rolled_back"])
    value = json.dumps(approval) if "approval" in key else VALUES[-1]
    values = (ring.registrar.recipe.name, ring.number, key, value)
    here.execute("insert or replace into model_version_tags (name, version, key, value) values (?, ?, ?, ?)", values)
    return f"insert {key}", _words(key)


def _swap(ring: Ring, draw: random.Random, here: sqlite3.Connection) -> Made:
    """The values of two tags of one table."""
    one = _one(ring, draw, here)
    others = [row for row in _rows(ring, here) if row[0] == one[0] and row[3] != one[3]]
    if not others:
        return None
    other = draw.choice(others)
    made, more = _set(here, one, other[3], "swap"), _set(here, other, one[3], "and")
    return (f"{made[0]} {more[0]}", (*made[1], *more[1])) if made and more else None


def _version(ring: Ring, draw: random.Random, here: sqlite3.Connection) -> Made:
    """Another run, source or state of the version, or none of it."""
    name, number, run = ring.registrar.recipe.name, ring.number, ring.run
    others = [
        row[0] for row in here.execute("select run_id from model_versions where name = ?", (name,)) if row[0] != run
    ]
    where = (name, number)
    about = ("mlflow_run", "run", f"version {number}", "champion", "artefact", "source")
    how = draw.choice(["run", "source", "gone"])
    if how == "run" and others:
        other = draw.choice(others)
        here.execute("update model_versions set run_id = ? where name = ? and version = ?", (other, *where))
    elif how == "source":
        here.execute("update model_versions set source = 'file:///tmp/eve' where name = ? and version = ?", where)
    elif how == "gone":
        for table in ("model_version_tags", "model_versions"):
            here.execute(f"delete from {table} where name = ? and version = ?", where)  # noqa: S608
        here.execute("delete from registered_model_aliases where name = ? and version = ?", where)
    else:
        return None
    return f"version's {how}", about


def _run(ring: Ring, draw: random.Random, here: sqlite3.Connection) -> Made:
    """The run deleted, or its artefacts elsewhere."""
    how, run = draw.choice(["deleted", "elsewhere", "another's"]), ring.run
    if how == "deleted":
        here.execute("update runs set lifecycle_stage = 'deleted' where run_uuid = ?", (run,))
    elif how == "elsewhere":
        here.execute("update runs set artifact_uri = 'file:///tmp/eve/artifacts' where run_uuid = ?", (run,))
    else:
        rows = here.execute("select artifact_uri from runs where run_uuid != ?", (run,)).fetchall()
        if not rows:
            return None
        here.execute("update runs set artifact_uri = ? where run_uuid = ?", (draw.choice(rows)[0], run))
    return f"run {how}", ("artefact", "run", f"version {ring.number}")


def _restored(ring: Ring, _: random.Random, here: sqlite3.Connection) -> Made:
    """All of it as it was before."""
    if ring.older is None:
        return None
    with closing(sqlite3.connect(ring.older / "mlflow" / "mlflow.db")) as old:
        old.backup(here)
    return "an older database", ("version", "champion", "newest line", "model")


def _older_row(ring: Ring, draw: random.Random, here: sqlite3.Connection) -> Made:
    """A tag or an alias as it was before."""
    if ring.older is None:
        return None
    with closing(sqlite3.connect(ring.older / "mlflow" / "mlflow.db")) as old:
        known = {row[:3]: row[3] for row in _rows(ring, old)}
    rows = [row for row in _rows(ring, here) if known.get(row[:3], row[3]) != row[3]]
    if not rows:
        return None
    row = draw.choice(rows)
    return _set(here, row, known[row[:3]], "an older")


Kind = Callable[["Ring", random.Random, sqlite3.Connection], "Made"]
KINDS: tuple[Kind, ...] = (
    _update, _update, _update, _delete, _delete, _forge, _forge, _swap, _version, _run, _restored, _older_row,
)  # fmt: skip
