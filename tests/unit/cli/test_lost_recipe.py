"""A model in production goes on where its recipe's file is gone, renamed or broken, by the recipe of its own run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ftcore.store import run_recipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Product
    from tests.unit.cli.conftest import Done


def _gone(product: Product) -> None:
    product.path.unlink()


def _renamed(product: Product) -> None:
    product.path.rename(product.path.with_name("large.yaml"))


def _broken(product: Product) -> None:
    product.path.write_text("name: [\n")


@pytest.fixture
def crowned(product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Product:
    monkeypatch.setenv("FTCORE_RECIPES", str(product.path.parent))
    run_recipe.begin(product.shelf, "r1", product.recipe, "")
    folder = tmp_path / "onnx-int8"
    folder.mkdir()
    (folder / "model.onnx").write_text("x")
    product.crown("r1", folders=[folder])
    product.judge(1)
    product.register("r2")
    return product


@pytest.mark.parametrize("lose", [_gone, _broken])
def test_what_is_urgent_goes_on(crowned: Product, ftcore: Callable[..., Done], lose: Callable[[Product], None]) -> None:
    name = crowned.name
    lose(crowned)
    for words, said in (
        (("ledger", name), ""),
        (("ledger", name, "--check"), "that of its run r1"),
        (("models", "ls", name), "that of its run r1"),
        (("models", "hold", name, "--reason", "urgent"), "that of its run r1"),
        (("models", "release", name), "that of its run r1"),
        (("models", "reject", name, "2", "--reason", "worse"), "that of its run r1"),
    ):
        done = ftcore(*words)
        assert done.returncode == 0, (words, done.stderr)
        assert said in done.stderr, words
    for words in (("models", "rollback", name, "--reason", "x"), ("ledger", name, "--acknowledge", "--reason", "x")):
        assert "no previous version" in (told := ftcore(*words).stderr) or "nothing is to acknowledge" in told, words
    assert "fault" in ftcore("models", "promote", name, "2").stderr, "who must approve is said by the file"
    assert "that of its run r1" in ftcore("score", name, "nowhere.csv").stderr
    assert "no such recipe" in ftcore("doctor", "nowhere").stderr


@pytest.mark.parametrize(("lose", "code"), [(_gone, 0), (_renamed, 0), (_broken, 1)])
def test_doctor_examines_what_the_store_has(
    crowned: Product, ftcore: Callable[..., Done], lose: Callable[[Product], None], code: int
) -> None:
    name = crowned.name
    lose(crowned)
    (crowned.path.parent / "aaa.yaml").write_text("name: aaa\n")
    if code == 0:
        (crowned.path.parent / "aaa.yaml").unlink()
    done = ftcore("doctor", "--json")
    found = json.loads(done.stdout)
    faults = [one["what"] for one in found[name]["found"] if one["fault"]]
    assert len(faults) == code, faults
    assert done.returncode == code
    crowned.tracking.tag(crowned.tracking.version(1), {"verdict": "failed"})
    done = ftcore("doctor", "--json")
    assert done.returncode == 1
    whats = [one["what"] for one in json.loads(done.stdout)[name]["found"]]
    assert any("the verdict of version 1" in one for one in whats), whats
    assert code == 0 or "its file cannot be used" in json.loads(done.stdout)["aaa"]["found"][0]["what"]


def test_a_recipe_that_nobody_signed_counts_for_nothing(crowned: Product, ftcore: Callable[..., Done]) -> None:
    path = crowned.shelf.folder("r1", run_recipe.FILE)
    path.write_bytes(path.read_bytes().replace(b'"required": 0', b'"required": 1') + b"\n")
    _gone(crowned)
    assert ftcore("models", "hold", crowned.name, "--reason", "x").returncode == 2
    found = json.loads(ftcore("doctor", "--json").stdout)[crowned.name]["found"]
    assert "its recipe is nowhere" in found[0]["what"]
