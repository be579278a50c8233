"""Every recipe that lies in ``dags/recipes`` can be run; none is listed here."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from ftcore import settings
from ftcore.cli import scaffold
from ftcore.models import base
from ftcore.recipe import reading

FOLDER = settings.REPOSITORY / "dags" / "recipes"
RECIPES = sorted(path for path in FOLDER.glob("*.yaml") if not path.name.startswith("_"))
every_recipe = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)


def test_there_are_recipes_and_the_program_finds_the_same() -> None:
    assert RECIPES
    assert list(reading.files(FOLDER)) == RECIPES


@every_recipe
def test_it_reads_and_is_named_like_its_file(path: Path) -> None:
    read = reading.read(path)
    assert read.name == path.stem
    assert read.description.rstrip()[-1] in ".?"


@every_recipe
def test_its_first_line_says_how_to_run_it(path: Path) -> None:
    assert path.read_text(encoding="utf-8").splitlines()[0] == f"# ftcore run {path.stem}"


@every_recipe
def test_its_base_model_is_there(path: Path) -> None:
    read = reading.read(path)
    if read.base.startswith("models:/"):
        assert (FOLDER / f"{read.base.removeprefix('models:/').partition('@')[0].partition('/')[0]}.yaml").is_file()
        return
    try:
        found = base.locate(read.base, settings.load(), path.parent)
    except ImportError as error:
        pytest.fail(f"{error}; make setup")
    assert found.suffix == ".gguf" or list(found.glob("*.safetensors"))


@every_recipe
def test_its_suite_is_there_and_each_expectation_says_what_a_failure_means(path: Path) -> None:
    suite = json.loads((settings.REPOSITORY / "expectations" / f"{reading.read(path).suite}.json").read_text("utf-8"))
    assert suite["expectations"]
    for expectation in suite["expectations"]:
        assert expectation["meta"]["on_failure"] in {"quarantine", "reject", "warn"}
        assert expectation["meta"]["reason"]


@every_recipe
def test_the_json_schema_accepts_it(path: Path) -> None:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(reading.json_schema()).validate(document)


def test_a_recipe_started_from_the_template_is_a_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_template.yaml").write_bytes((FOLDER / "_template.yaml").read_bytes())
    monkeypatch.setenv("FTCORE_RECIPES", str(tmp_path))
    path = scaffold.create("recipe", "support_tickets", settings.load())
    test_it_reads_and_is_named_like_its_file(path)
    test_its_first_line_says_how_to_run_it(path)
    test_the_json_schema_accepts_it(path)
    test_its_base_model_is_there(path)
