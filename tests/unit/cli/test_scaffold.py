"""``ftcore new`` copies a template under a name, and never over anything."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from ftcore import settings
from ftcore.cli import scaffold
from ftcore.cli.recipes import _without_files
from ftcore.data.sources import files
from ftcore.errors import DataRejectedError, FtcoreError
from ftcore.recipe import kinds, reading


@pytest.fixture
def package(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package to write into."""
    copy = tmp_path / "ftcore"
    for room in kinds.ROOMS:
        place = copy / kinds.folder(room).relative_to(kinds.PACKAGE)
        place.mkdir(parents=True)
        shutil.copy(kinds.folder(room) / "_template.py", place)
    monkeypatch.setattr(kinds, "PACKAGE", copy)
    return copy


@pytest.mark.parametrize("room", kinds.ROOMS)
def test_a_kind_gets_its_name_everywhere(package: Path, room: str) -> None:
    path = scaffold.create(room.removesuffix("s"), "brand_new", settings.load())
    assert path == kinds.folder(room) / "brand_new.py"
    text = path.read_text(encoding="utf-8")
    assert 'kind: Literal["brand_new"] = "brand_new"' in text
    assert "NAME" not in text


def test_nothing_is_overwritten(package: Path) -> None:
    path = scaffold.create("gate", "mine", settings.load())
    path.write_text("my work", encoding="utf-8")
    with pytest.raises(FtcoreError, match="is there already"):
        scaffold.create("gate", "mine", settings.load())
    assert path.read_text(encoding="utf-8") == "my work"


@pytest.mark.parametrize("name", ["Mine", "my-gate", "../up", "", "1st", "_mine"])
def test_a_bad_name_is_refused(package: Path, name: str) -> None:
    with pytest.raises(FtcoreError, match="bad name"):
        scaffold.create("gate", name, settings.load())
    assert len(list(package.rglob("*.py"))) == len(kinds.ROOMS)


def test_what_has_no_template_is_refused(package: Path) -> None:
    with pytest.raises(FtcoreError, match="no template for 'step'") as error:
        scaffold.create("step", "mine", settings.load())
    assert error.value.hint == "known: recipe, source, task, method, exporter, gate, detector"


def test_a_folder_of_recipes_may_have_a_template_of_its_own(home: Path, tmp_path: Path) -> None:
    (tmp_path / "recipes" / "_template.yaml").write_text("name: NAME\nowner: us\n", encoding="utf-8")
    path = scaffold.create("recipe", "tickets", settings.load())
    assert path.read_text(encoding="utf-8") == "name: tickets\nowner: us\n"


TEMPLATE = scaffold.REPOSITORY / "dags" / "recipes" / "_template.yaml"


@pytest.fixture(params=["dags/recipes", "own"])
def conf(
    request: pytest.FixtureRequest, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> settings.Settings:
    """Settings with an empty folder of recipes, where the repository keeps them and elsewhere."""
    (tmp_path / request.param).mkdir(parents=True)
    monkeypatch.setenv("FTCORE_RECIPES", str(tmp_path / request.param))
    return settings.load()


def test_a_recipe_starts_with_a_folder_that_says_what_belongs_there(conf: settings.Settings, tmp_path: Path) -> None:
    path = scaffold.create("recipe", "tickets", conf)
    (note,) = tmp_path.rglob("README.txt")
    assert note.parent.name == "tickets"
    assert "the columns that sources[0] of tickets.yaml names" in note.read_text(encoding="utf-8")
    (why,) = _without_files(reading.read(path), path)
    assert why.startswith("sources[0].path: no file matches")
    assert why.endswith("put files with the columns text, label there")
    (note.parent / "a.csv").write_text("text,label\nx,yes\n", encoding="utf-8")
    assert _without_files(reading.read(path), path) == [], "the note is no data"


FILES = {
    "tickets [new].csv": (
        "id,Message,Category\n1,a door,b\n2,a car,a\n3,it,b\n4,no,a\n", ("Message", "Category"), ("a", "b"),
    ),
    "a.csv": (
        "was;wohin;nr\nein langer Satz;x;1\nnoch einer;y: z;2\nund: noch;x;3\nder, letzte;y: z;4\n",
        ("was", "wohin"), ("x", "y: z"),
    ),
    "a.jsonl": ('{"text": "one two", "labels": 1}\n{"text": "three", "labels": 0}\n', ("text", "labels"), ("0", "1")),
    "a.tsv": ('text\tlabel\n"quoted\tup\nother\tdown\n', ("text", "label"), ("down", "up")),
}  # fmt: skip
"""Content, the columns of text and label, and the labels."""


@pytest.mark.parametrize("name", FILES)
def test_a_files_columns_and_labels_are_filled_in(conf: settings.Settings, tmp_path: Path, name: str) -> None:
    content, columns, labels = FILES[name]
    data = tmp_path / "elsewhere" / name
    data.parent.mkdir()
    data.write_text(content, encoding="utf-8")
    path = scaffold.create("recipe", "tickets", conf, data)
    made = reading.read(path)
    source = made.sources[0]
    assert isinstance(source, files.Files)
    assert (source.text, source.label) == columns
    assert made.task.labels == labels
    assert _without_files(made, path) == []
    assert (path.parent / source.path).samefile(data)
    assert not list(tmp_path.rglob("README.txt")), "the data are elsewhere"
    template = TEMPLATE.read_text(encoding="utf-8").replace("NAME", "tickets").split("\n")
    changed = [line for line in template if line not in path.read_text(encoding="utf-8").split("\n")]
    schema, *changed = changed
    assert schema.startswith("# yaml-language-server")
    assert [line.split("{")[1].split(",")[0] for line in changed] == ["kind: classification", "kind: files"]


def test_labels_that_look_alike_are_one_and_broken_bytes_are_warned_of(
    conf: settings.Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [f"für {n},{label}" for n, label in enumerate(["ja", "ja\u200b", " ja", "nein", "nein"])]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    assert getattr(reading.read(scaffold.create("recipe", "one", conf, tmp_path / "a.csv")).task, "labels", ()) == (
        "ja",
        "nein",
    )
    assert not caplog.records
    (tmp_path / "b.csv").write_bytes("\n".join(["text,label", *lines]).replace("\u200b", "").encode("cp1252"))
    scaffold.create("recipe", "two", conf, tmp_path / "b.csv")
    assert "b.csv holds bytes that are no UTF-8: add `encoding: …` to its source" in caplog.text


def test_what_cannot_be_looked_at_says_why(conf: settings.Settings, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", "text,label\nx,y\n")
    with pytest.raises(DataRejectedError, match=r"a\.zip is an archive"):
        scaffold.create("recipe", "tickets", conf, tmp_path / "a.zip")
    (tmp_path / "a.csv").write_text("text,label\n" + "one, and more,a\n" * 9)
    with pytest.raises(DataRejectedError, match="9 of 9 rows cannot be read: 3 cells instead of 2"):
        scaffold.create("recipe", "tickets", conf, tmp_path / "a.csv")


def _schema_of(recipe_path: Path) -> Path:
    text = recipe_path.read_text(encoding="utf-8")
    return recipe_path.parent / text.partition("$schema=")[2].partition("\n")[0]


def test_the_schema_that_a_recipe_names_is_there(conf: settings.Settings, tmp_path: Path) -> None:
    path = _schema_of(scaffold.create("recipe", "tickets", conf))
    assert path.samefile(tmp_path / "home" / "recipe.schema.json")
    assert json.loads(path.read_text(encoding="utf-8")) == reading.json_schema()
    own = conf.recipes / "mine.json"
    own.write_text("{}", encoding="utf-8")
    for there in ("mine.json", "https://example.org/recipe.json"):
        (conf.recipes / "_template.yaml").write_text(f"# yaml-language-server: $schema={there}\nname: NAME\n")
        made = scaffold.create("recipe", f"r{len(there)}", conf)
        assert f"$schema={there}\n" in made.read_text(encoding="utf-8"), "what somebody chose stays"


def test_data_without_a_label_are_refused_and_nothing_is_written(conf: settings.Settings, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n" + "".join(f"{n},text {n}\n" for n in range(9)), encoding="utf-8")
    with pytest.raises(DataRejectedError, match=r"no column of .*a\.csv is a label"):
        scaffold.create("recipe", "tickets", conf, tmp_path / "a.csv")
    with pytest.raises(FtcoreError, match="no such file"):
        scaffold.create("recipe", "tickets", conf, tmp_path / "b.csv")
    assert not list(conf.recipes.iterdir())
