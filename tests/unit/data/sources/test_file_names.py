"""A file keeps the name that its rows were published with, whatever other sources and patterns come and go."""

from __future__ import annotations

import random
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ftcore import settings as settings_of
from ftcore.context import Context
from ftcore.data import snapshot
from ftcore.recipe import reading as recipes
from ftcore.recipe import source_names
from ftcore.store import store
from tests.unit.steps._drafts import RECIPE

Read = Callable[..., dict[str, set[str]]]


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Reads files by some paths and publishes their names; gives the names of each file."""
    monkeypatch.setenv("FTCORE_HOME", str(tmp_path / "home"))
    conf = settings_of.load()
    shelf = store.shelf(conf, "demo")

    def read(*paths: str, sharded: bool = False) -> dict[str, set[str]]:
        published = snapshot.source_names(shelf)
        document = RECIPE | {"sources": [{"kind": "files", "path": path} for path in paths]}
        recipe = recipes.parse(document, published=published)
        here = Context(recipe, tmp_path / "demo.yaml", "r", "ingest", {}, shelf, conf)
        found = defaultdict[str, set[str]](set)
        for source in recipe.sources:
            groups: list[Any] = source.shards(here) if sharded else []
            tables = (t for _, group in groups for t in source.read_shard(here, group))
            for table in tables if sharded else source.read(here):
                for text, name in zip(table["text"].to_pylist(), table["source"].to_pylist(), strict=True):
                    found[text].add(name)
        names = source_names.known(recipe.sources, published, here.named)
        rows = snapshot.schema(split=True).empty_table()
        quarantine = snapshot.schema().append(pa.field("reason", pa.string())).empty_table()
        snapshot.publish(shelf, lambda: [rows], quarantine, {"source_names": names, "run_id": str(random.random())})
        return dict(found)

    return read


def lay(folder: Path, *names: str) -> None:
    """Files with one row, whose text is the file's path."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        inner = f"text,label\n{name},neg\n"
        if name.endswith(".zip"):
            with zipfile.ZipFile(folder / name, "w") as archive:
                archive.writestr("in/t.csv", inner)
        else:
            (folder / name).write_text(inner)


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ([["jan/*.csv", "feb/t.csv"], ["jan/*.csv"]], "files:jan/t"),
        ([["jan/*.csv", "feb/t.csv"], ["jan/t.csv"]], "files:jan/t"),
        ([["feb/*.csv", "jan/*.csv"], ["jan/*.csv"]], "files:jan/t"),
        ([["feb/*.csv", "jan/*.csv"], ["jan/*.csv", "feb/*.csv"]], "files:jan/t"),
        ([["jan/t.csv"], ["jan/*.csv"]], "files:t"),
        ([["jan/t.csv"], ["jan/*.csv"], ["**/*.csv"], ["jan/t.csv"]], "files:t"),
        ([["jan/*.csv"], ["*/*.csv"]], "files:t"),
        ([["*/*.csv"], ["jan/*.csv"]], "files:jan/t"),
        ([["./jan/*.csv"], ["jan/*"], ["jan//t.csv"]], "files:t"),
        ([["feb/t.csv"], ["jan/t.csv"]], "files:jan/t"),
        ([["feb/*.csv"], ["jan/*.csv"]], "files:jan/t"),
        ([["feb/*.csv"], ["jan/t.csv"]], "files:jan/t"),
    ],
)
def test_a_file_keeps_its_name(
    tmp_path: Path, publish: Read, steps: list[list[str]], names: str, sharded: bool
) -> None:
    lay(tmp_path, "jan/t.csv", "feb/t.csv")
    for paths in steps:
        found = publish(*paths, sharded=sharded)
    assert found["jan/t.csv"] == {names}


def test_archives_of_one_stem_are_two_and_keep_their_names(tmp_path: Path, publish: Read) -> None:
    lay(tmp_path, "jan/d.zip", "feb/d.zip", "jan/d.csv")
    first = publish("jan/d.zip", "feb/d.zip", "jan/d.csv")
    assert first == {
        "jan/d.zip": {"files:d/in/t"}, "feb/d.zip": {"files:feb/d/in/t"}, "jan/d.csv": {"files:d"},
    }  # fmt: skip
    assert publish("feb/d.zip") == {"feb/d.zip": {"files:feb/d/in/t"}}
    assert publish("*/*.zip", "jan/*.csv") == first
    lay(tmp_path, "mar/d.zip")
    assert publish("mar/*.zip") == {"mar/d.zip": {"files:mar/d/in/t"}}, "the name d was another's"


@pytest.mark.parametrize("seed", range(6))
def test_names_are_for_ever_however_recipes_change(tmp_path: Path, publish: Read, seed: int) -> None:
    draw = random.Random(seed)
    there = ["t.csv", "jan/t.csv", "feb/t.csv", "jan/u.csv", "jan/x/t.csv", "feb/d.zip", "jan/d.zip"]
    paths = ["t.csv", "jan/t.csv", "feb/t.csv", "*.csv", "jan/*.csv", "feb/*.csv", "*/*.csv", "**/*.csv", "**/t.csv"]
    paths += ["jan/*", "feb/d.zip", "jan/d.zip", "*/*.zip", "jan/x/*.csv", "./jan/**/*.csv"]
    lay(tmp_path, *there)
    of: dict[str, str] = {}
    every = defaultdict[str, set[str]](set)
    for _ in range(25):
        for file, names in publish(*draw.sample(paths, draw.randint(1, 4)), sharded=draw.random() < 0.5).items():
            assert not every[file] or every[file] & names, f"{file} was {every[file]}, and is {names}"
            every[file] |= names
            for name in names:
                assert of.setdefault(name, file) == file, f"{name} was {of[name]}"
