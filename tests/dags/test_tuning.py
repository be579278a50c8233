"""How a recipe's search becomes tasks: one that chooses, and before it as many as are to share the trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ftcore.recipe import reading

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

RECIPES = Path(__file__).parents[2] / "dags" / "recipes"
SPACE = {"train.learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}}


@pytest.fixture
def dag(parse: Callable[[Path, str], DagBag], tmp_path: Path) -> Callable[..., Any]:
    """The DAG finetune of a recipe with these changes."""

    def make(**changes: object) -> Any:
        document = yaml.safe_load(reading.files(RECIPES)[0].read_text(encoding="utf-8"))
        document |= {"name": "tuned", **changes}
        folder = tmp_path / "recipes"
        folder.mkdir()
        (folder / "tuned.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        return parse(folder, tmp_path.name).dags["finetune__tuned"]

    return make


def test_workers_share_the_trials_before_one_chooses(dag: Callable[..., Any]) -> None:
    made = dag(search={"space": SPACE, "workers": 3})
    assert made.get_task("plan").downstream_task_ids == {"search"}
    assert made.get_task("search").downstream_task_ids == {"tune"}
    assert made.get_task("tune").downstream_task_ids == {"train"}
    search = made.get_task("search")
    assert search.is_mapped
    assert search.expand_input.value == {"shard": ["1", "2", "3"]}
    assert search.partial_kwargs["step"] == made.get_task("tune").step == "tune"
    assert {made.get_task(name).pool for name in ("search", "tune", "train")} == {"gpu"}
    assert {made.get_task(name).queue for name in ("search", "tune", "train")} == {"gpu"}


def test_one_worker_needs_no_others(dag: Callable[..., Any]) -> None:
    made = dag(search={"space": SPACE})
    assert "search" not in made.task_ids
    assert made.get_task("plan").downstream_task_ids == {"tune"}
    assert made.get_task("tune").pool == "gpu"


def test_where_nothing_is_searched_the_accelerator_is_left_to_others(dag: Callable[..., Any]) -> None:
    assert dag().get_task("tune").pool != "gpu"
