"""``ftcore new`` copies a template under a name, and never over anything."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ftcore import _find, scaffold, settings
from ftcore.errors import FtcoreError


@pytest.fixture
def package(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package to write into."""
    copy = tmp_path / "ftcore"
    for room in _find.ROOMS:
        (copy / room).mkdir(parents=True)
        shutil.copy(scaffold.PACKAGE / room / "_template.py", copy / room)
    monkeypatch.setattr(scaffold, "PACKAGE", copy)
    return copy


@pytest.mark.parametrize("room", _find.ROOMS)
def test_a_kind_gets_its_name_everywhere(package: Path, room: str) -> None:
    path = scaffold.create(room.removesuffix("s"), "brand_new", settings.load())
    assert path == package / room / "brand_new.py"
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
    assert len(list(package.rglob("*.py"))) == len(_find.ROOMS)


def test_what_has_no_template_is_refused(package: Path) -> None:
    with pytest.raises(FtcoreError, match="no template for 'step'") as error:
        scaffold.create("step", "mine", settings.load())
    assert error.value.hint == "known: recipe, source, task, method, exporter, gate, detector"


def test_a_folder_of_recipes_may_have_a_template_of_its_own(home: Path, tmp_path: Path) -> None:
    (tmp_path / "recipes" / "_template.yaml").write_text("name: NAME\nowner: us\n", encoding="utf-8")
    path = scaffold.create("recipe", "tickets", settings.load())
    assert path.read_text(encoding="utf-8") == "name: tickets\nowner: us\n"
