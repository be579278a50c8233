"""Paths are literal unless they are patterns, and only what the recipe writes is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftcore import settings
from ftcore.context import Context
from ftcore.data.sources import _places
from ftcore.errors import NotFoundError
from ftcore.recipe.reading import parse
from ftcore.store import store
from tests.unit.conftest import RECIPE

FOLDERS = ["Zoë [R&D] #1 100%", "a*b", "who? [x] {y}", "plain", "[ab]", "~tilde", "percent%20"]


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"text,label\n{name},x\n", encoding="utf-8")


@pytest.fixture
def found(tmp_path: Path) -> Callable[[str, Path], list[str]]:
    def find(pattern: str, folder: Path) -> list[str]:
        return [Path(str(path)).relative_to(tmp_path).as_posix() for path in _places.find(pattern, folder)]

    return find


@pytest.mark.parametrize("name", FOLDERS)
def test_the_recipes_own_folder_is_no_pattern(tmp_path: Path, found: Callable[..., list[str]], name: str) -> None:
    write(tmp_path, f"{name}/data/a.csv", f"{name}/data [old]/b.csv", "axb/data/c.csv", "a/data/d.csv")
    assert found("data/*.csv", tmp_path / name) == [f"{name}/data/a.csv"]
    assert found("data [old]/b.csv", tmp_path / name) == [f"{name}/data [old]/b.csv"]
    assert found("data [old]/*.csv", tmp_path / name) == [f"{name}/data [old]/b.csv"]
    assert found(str(tmp_path / name / "data" / "a.csv"), Path("elsewhere")) == [f"{name}/data/a.csv"]
    assert found(str(tmp_path / name / "data" / "*.csv"), Path("elsewhere")) == [f"{name}/data/a.csv"]
    with pytest.raises(NotFoundError, match="no file matches"):
        found("data/z*.csv", tmp_path / name)


@pytest.mark.parametrize("pattern", ["data", "data/", "d*", "data/*"])
def test_a_folder_is_named_as_one(tmp_path: Path, pattern: str) -> None:
    write(tmp_path, "data/year=2026/a.csv")
    with pytest.raises(NotFoundError, match="is a folder, not files") as caught:
        _places.find(pattern, tmp_path)
    assert caught.value.hint == f"name the files in it, such as {pattern.rstrip('/')}/**/*.csv"
    assert _places.find(f"{pattern.rstrip('/')}/**/*.csv", tmp_path)


@pytest.mark.parametrize("name", ["a[1].csv", "a*.csv", "a?.csv", "[a].csv"])
def test_a_file_of_that_very_name_is_meant(tmp_path: Path, found: Callable[..., list[str]], name: str) -> None:
    write(tmp_path, "a1.csv", "a.csv", "ab.csv")
    assert name not in found(name, tmp_path), "a pattern as long as there is no such file"
    write(tmp_path, name)
    assert found(name, tmp_path) == [name]


def test_what_a_pattern_matches_is_what_people_mean(tmp_path: Path, found: Callable[..., list[str]]) -> None:
    write(tmp_path, "d/a.csv", "d/.a.csv", "d/._b.csv", "d/.git/c.csv", "d/e/f.csv", "d/e/g/h.csv", "d/e.txt")
    (tmp_path / "d" / "z.csv").mkdir()
    assert found("d/*.csv", tmp_path) == ["d/a.csv"]
    assert found("d/**/*.csv", tmp_path) == ["d/a.csv", "d/e/f.csv", "d/e/g/h.csv"]
    assert found("**/*.csv", tmp_path) == found("./d/**/*.csv", tmp_path) == found("d/**/**/*.csv", tmp_path)
    assert found("d/.*.csv", tmp_path) == ["d/._b.csv", "d/.a.csv"]
    assert found("d/*/*.csv", tmp_path) == ["d/e/f.csv"]
    assert found("d/../d/[a-c].csv", tmp_path) == ["d/../d/a.csv"]


def test_a_server_has_literal_names_too() -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for name in ("/b/data [old]/x.csv", "/b/data/y[1].csv", "/b/data/.hidden.csv", "/b/data/y1.csv"):
        memory.pipe(name, b"text,label\nx,y\n")
    try:
        names = [[path.path for path in _places.find(f"memory://b/{pattern}", Path())] for pattern in (
            "data [old]/*.csv", "data [old]/x.csv", "data/y[1].csv", "data/*.csv")]  # fmt: skip
    finally:
        memory.rm("/b", recursive=True)
    assert names == [
        ["/b/data [old]/x.csv"], ["/b/data [old]/x.csv"], ["/b/data/y[1].csv"], ["/b/data/y1.csv", "/b/data/y[1].csv"]
    ]  # fmt: skip


@pytest.mark.parametrize("pattern", ["data/*.csv", "data [old]/b.csv"])
def test_the_case_of_real_folder_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    folder = tmp_path / FOLDERS[0]
    write(folder, "data/a.csv", "data [old]/b.csv")
    monkeypatch.setenv("FTCORE_HOME", str(folder / ".home"))
    monkeypatch.chdir(folder)
    conf = settings.load()
    recipe = parse(RECIPE | {"sources": [{"kind": "files", "path": pattern}]})
    context = Context(recipe, Path("recipe.yaml"), "r", "ingest", {}, store.shelf(conf, "small"), conf)
    source: Any = recipe.sources[0]
    assert sum(table.num_rows for table in source.read(context)) == 1
    assert sum(table.num_rows for _, pieces in source.shards(context)
               for table in source.read_shard(context, pieces)) == 1  # fmt: skip
