"""A run goes by one recipe, that of its beginning, whatever becomes of the file while it is at work."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from ftcore import pipeline
from ftcore.context import Context, Outcome
from ftcore.errors import DamagedFileError, RecipeError
from ftcore.recipe import reading as recipes
from ftcore.store import run_recipe, store

if TYPE_CHECKING:
    from conftest import Product


class Noted(ModuleType):
    """Stands in for a step's module and notes the recipe that it was given."""

    NEEDS: tuple[str, ...] = ()

    def __init__(self, given: list[tuple[str, str]]) -> None:
        super().__init__("noted")
        self.given = given

    def run(self, context: Context) -> Outcome:
        self.given.append((context.step, context.recipe.description))
        return Outcome("did it")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Steps that were run, each with the description of the recipe that it went by."""
    given: list[tuple[str, str]] = []
    for step in pipeline.STEPS:
        monkeypatch.setitem(sys.modules, f"ftcore.steps.{step}", Noted(given))
    return given


def spoiled(product: Product, how: str) -> None:
    if how == "gone":
        product.path.unlink()
    elif how == "broken":
        product.path.write_text("name: [", encoding="utf-8")
    else:
        product.edit(description="edited")


@pytest.mark.parametrize("how", ["edited", "gone", "broken"])
def test_steps_after_the_first_go_by_the_recipe_of_the_beginning(
    product: Product, given: list[tuple[str, str]], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    product.edit(description="at first")
    pipeline.run(product.path, "r1", ("data",))
    product.run("plan")
    spoiled(product, how)
    records = [product.run(step) for step in pipeline.RING["finetune"][1:]]
    assert {what for _, what in given} == {"at first"}
    kept = run_recipe.of(product.shelf, "r1")
    assert kept is not None
    assert {record.inputs["recipe"] for record in records} == {kept.digest}
    assert {record.inputs["recipe.json"] for record in records} == {kept.sha256}
    assert f"{product.path.name} changed after run r1 began: promote goes by the recipe as it was then" in caplog.text


def test_a_chain_that_begins_again_reads_the_file_again(product: Product, given: list[tuple[str, str]]) -> None:
    product.edit(description="at first")
    first = pipeline.run(product.path, "r1", ("data",))
    product.edit(description="edited")
    second = pipeline.run(product.path, "r1", ("finetune",))
    assert [what for _, what in given] == ["at first"] * 3 + ["edited"] * len(pipeline.RING["finetune"])
    kept = [run_recipe.of(product.shelf, "r1", one.inputs["recipe"]) for one in (first[0], second[0])]
    assert [one and one.resolved["description"] for one in kept] == ["at first", "edited"]
    assert kept[0] == run_recipe.of(product.shelf, "r1", first[0].inputs["recipe.json"]), "by the file's hash, too"
    product.edit(description="at first")
    pipeline.run(product.path, "r1", ("data",))
    assert run_recipe.of(product.shelf, "r1") == kept[0], "back to the same file, with the same hash"


def test_it_is_written_once_whatever_comments_say(product: Product, given: list[tuple[str, str]]) -> None:
    text = product.path.read_text(encoding="utf-8")
    product.run("ingest")
    kept = run_recipe.of(product.shelf, "r1")
    product.path.write_text(f"# a comment\n{text}", encoding="utf-8")
    product.run("ingest", again=True)
    assert kept == run_recipe.of(product.shelf, "r1")
    assert kept is not None
    assert (kept.document["yaml"], kept.resolved) == (text, product.recipe.resolved())
    assert kept.recipe() == product.recipe


def test_shards_go_by_the_recipe_that_divided_them(product: Product, given: list[tuple[str, str]]) -> None:
    product.edit(description="at first")
    product.run("shard")
    product.edit(description="edited")
    product.run("ingest", shard="00-files")
    assert given == [("shard", "at first"), ("ingest", "at first")]


def test_a_run_of_an_earlier_version_goes_on(product: Product, given: list[tuple[str, str]]) -> None:
    product.run("plan")
    (Path(product.shelf.root.path) / "runs" / "r1" / run_recipe.FILE).unlink()
    assert run_recipe.of(product.shelf, "r1") is None
    assert "recipe.json" in product.run("train").inputs


def test_a_broken_file_begins_nothing(product: Product, given: list[tuple[str, str]]) -> None:
    spoiled(product, "broken")
    for step in ("ingest", "train"):
        with pytest.raises(RecipeError):
            product.run(step)
    assert not (product.shelf.root / "runs").exists()


@pytest.mark.parametrize("change", [lambda text: text[:-9], lambda text: "[]", lambda text: text.replace("0.5", "0.1")])
def test_what_was_kept_and_changed_is_found(product: Product, given: list[tuple[str, str]], change: Any) -> None:
    product.run("plan")
    path = product.shelf.folder("r1", run_recipe.FILE)
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(DamagedFileError, match=r"recipe\.json"):
        product.run("gate")
    assert given == [("plan", "")]


def test_what_is_kept_is_read_as_the_same_recipe(product: Product) -> None:
    """Of every recipe that the checkout has: what is read from the store makes the same hashes."""
    for path in recipes.files(Path(__file__).parents[3] / "dags" / "recipes"):
        recipe = recipes.read(path)
        kept = run_recipe.begin(product.shelf, f"run-of-{path.stem}", recipe, "")
        assert kept.recipe() == recipe
        assert store.digest(kept.recipe().resolved()) == kept.digest == store.digest(recipe.resolved())
