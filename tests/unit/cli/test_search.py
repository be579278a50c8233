"""``ftcore search show`` as people and scripts see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ftcore.recipe import reading
from ftcore.tuning import search

if TYPE_CHECKING:
    from conftest import Product

    from tests.unit.cli.conftest import Done

SPACE = {"train.learning_rate": {"low": 1e-5, "high": 1e-1, "log": True}, "method.rank": {"choices": [4, 8]}}


@pytest.fixture
def searched(product: Product) -> Product:
    """A product with a search of ten trials, the third of which failed."""
    product.change(search={"space": SPACE, "trials": 10, "prune": False})
    path = product.shelf.folder("r1", "tune") / search.JOURNAL
    path.parent.mkdir(parents=True)
    read = reading.read(product.path)
    one = search.Search(read, path, search.identity(read, "snapshot"))  # type: ignore[arg-type] # a local UPath
    while (trial := one.claim()) is not None:
        trial.judge(1, 0.5 + trial.number / 100)
        if trial.number == 2:
            trial.end("fail", reason="[no] memory\n  hint: less")
        else:
            trial.end("complete", 0.5 + trial.number / 100)
    return product


def test_a_table_for_people_and_json_for_scripts(searched: Product, ftcore: Callable[..., Done]) -> None:
    shown = ftcore("search", "show", str(searched.path))
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0] == "run r1"
    assert lines[1].split() == [
        "trial", "state", "loss", "train.learning_rate", "method.rank", "seconds", "because",
    ]  # fmt: skip
    assert lines[2].split()[:4] == ["★", "0", "complete", "0.5000"]
    assert "[no] memory" in lines[4]
    assert {line.split()[-1] for line in lines[-2:]} == set(SPACE), "which settings mattered"
    found = json.loads(ftcore("search", "show", str(searched.path), "--run", "r1", "--json").stdout)
    assert (found["run"], found["best_trial"], len(found["trials"])) == ("r1", 0, 10)
    assert found["trials"][2]["reason"].startswith("[no] memory")
    assert sum(found["importances"].values()) == pytest.approx(1)


def test_where_nothing_was_searched_it_says_what_to_do(product: Product, ftcore: Callable[..., Done]) -> None:
    shown = ftcore("search", "show", str(product.path))
    assert shown.returncode == 1
    assert f"{product.name} has no search" in shown.stderr
    assert "add search: to the recipe" in shown.stderr
