"""How recipes become DAG files, and that one recipe's fault is nobody else's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from airflow.providers.standard.operators.hitl import ApprovalOperator

from ftcore.recipe import reading
from ftcore_airflow.bundle import VERBS, RecipeBundle
from ftcore_airflow.operator import StepOperator

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

RECIPES = Path(__file__).parents[2] / "dags" / "recipes"
HEAVY = ("torch", "transformers", "peft", "mlflow", "great_expectations", "evidently", "pandas", "onnx", "sklearn")


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    """A folder with one good recipe, called ``good``."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    text = reading.files(RECIPES)[0].read_text(encoding="utf-8")
    name = reading.files(RECIPES)[0].stem
    (folder / "good.yaml").write_text(text.replace(f"name: {name}", "name: good"), encoding="utf-8")
    return folder


def _with(recipes: Path, name: str, *changes: tuple[str, str]) -> None:
    text = (recipes / "good.yaml").read_text(encoding="utf-8").replace("name: good", f"name: {name}")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (recipes / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_a_broken_recipe_breaks_its_own_three_files(parse: Callable[[Path, str], DagBag], recipes: Path) -> None:
    _with(recipes, "broken", ("name: broken", "name: broken\nfirst_fault: 1\nsecond_fault: 2"))
    bag = parse(recipes, "broken")
    assert set(bag.dags) == {f"{verb}__good" for verb in VERBS}
    assert {Path(file).name for file in bag.import_errors} == {f"{verb}__broken.py" for verb in VERBS}
    for text in bag.import_errors.values():
        assert "broken.yaml: 2 faults" in text
        assert "first_fault: unknown key" in text
        assert "second_fault: unknown key" in text


def test_a_name_that_is_not_the_files_is_a_fault(parse: Callable[[Path, str], DagBag], recipes: Path) -> None:
    shutil.copy(recipes / "good.yaml", recipes / "copy.yaml")
    bag = parse(recipes, "twice")
    assert set(bag.dags) == {f"{verb}__good" for verb in VERBS}
    assert all("must be the file's name, copy" in text for text in bag.import_errors.values())


def test_files_follow_the_recipes(recipes: Path) -> None:
    bundle = RecipeBundle(name="follow", recipes=str(recipes))
    bundle.initialize()
    before = {path.name: path.stat().st_mtime_ns for path in bundle.path.iterdir()}
    bundle.refresh()
    assert {path.name: path.stat().st_mtime_ns for path in bundle.path.iterdir()} == before, "unchanged, so untouched"

    _with(recipes, "other")
    with (recipes / "good.yaml").open("a", encoding="utf-8") as file:
        file.write("# a change\n")
    bundle.refresh()
    after = {path.name: path.stat().st_mtime_ns for path in bundle.path.iterdir()}
    assert set(after) == {f"{verb}__{name}.py" for verb in VERBS for name in ("good", "other")}
    assert all(after[name] > before[name] for name in before), "a changed recipe changes its files"

    (recipes / "good.yaml").unlink()
    bundle.refresh()
    assert {path.name for path in bundle.path.iterdir()} == {f"{verb}__other.py" for verb in VERBS}


def test_hidden_files_and_templates_are_no_recipes(recipes: Path) -> None:
    for name in (".good.yaml", "_template.yaml"):
        shutil.copy(recipes / "good.yaml", recipes / name)
    bundle = RecipeBundle(name="hidden", recipes=str(recipes))
    bundle.initialize()
    assert {path.name for path in bundle.path.iterdir()} == {f"{verb}__good.py" for verb in VERBS}


def test_approval_is_asked_for_only_where_the_recipe_does(parse: Callable[[Path, str], DagBag], recipes: Path) -> None:
    text = (recipes / "good.yaml").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("approval:"))
    _with(recipes, "asked", (line, "approval: {required: 1, assigned: [ann], timeout_h: 2}"))
    _with(recipes, "free", (line, "approval: {required: 0}"))
    bag = parse(recipes, "approval")
    asked = bag.dags["finetune__asked"].get_task("approve")
    assert isinstance(bag.dags["finetune__free"].get_task("approve"), StepOperator), "the ledger says that nobody was"
    assert isinstance(asked, ApprovalOperator)
    assert asked.defaults is None, "silence never approves"
    assert asked.assigned_users == [{"id": "ann", "name": "ann"}]
    assert asked.response_timeout.total_seconds() == 7200


PARSE = """
import json, sys
import airflow.sdk
from airflow.dag_processing.bundles.base import BaseDagBundle
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, BaseOperator, ExceptionRetryPolicy, Param
from airflow.providers.standard.operators.hitl import ApprovalOperator
from pathlib import Path
bundle = Path(sys.argv[1])
files = sorted(bundle.glob("*.py"))[:1]
bag = DagBag(files[0], bundle_path=bundle, bundle_name="parsed")
print(json.dumps([sorted({name.partition(".")[0] for name in sys.modules}), len(bag.dags)]))
"""


def test_parsing_loads_nothing_heavy(recipes: Path) -> None:
    bundle = RecipeBundle(name="parsed", recipes=str(recipes))
    bundle.initialize()
    command = [sys.executable, "-c", PARSE, str(bundle.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    modules, dags = json.loads(done.stdout.splitlines()[-1])
    assert dags == 1
    assert not set(modules) & set(HEAVY)
