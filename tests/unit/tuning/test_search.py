"""A search without trainings: who gets which trial, what is drawn, what ends early, and what one sees of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import log10
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from ftcore.errors import FtcoreError
from ftcore.recipe import reading
from ftcore.store import store
from ftcore.tuning import search
from ftcore.tuning.search import EndedError, Search, Trial
from tests.conftest import document

SPACE = {"train.learning_rate": {"low": 1e-5, "high": 1e-1, "log": True}, "method.rank": {"choices": [4, 8, 16]}}
Make = Callable[..., Search]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A worker of a search; all of one test share a file unless they say otherwise."""

    def make(worker: str = "", file: str = search.JOURNAL, **section: Any) -> Search:
        read = reading.parse(document("found") | {"search": {"space": SPACE, **section}})
        path = tmp_path / "store" / "runs" / "r1" / "tune" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        return Search(read, path, search.identity(read, "snapshot"), worker)

    return make


def loss_of(trial: Trial) -> float:
    """Best at a rate of 0.01 and the highest rank."""
    rate, rank = trial.values["train.learning_rate"], trial.values["method.rank"]
    return abs(log10(float(rate or 1)) + 2) + 1 / float(rank or 1)


def complete(one: Search) -> None:
    while (trial := one.claim()) is not None:
        trial.end("complete", loss_of(trial))


def test_the_first_trial_is_the_recipes_own_and_the_best_is_no_worse(make: Make) -> None:
    one = make(trials=15)
    complete(one)
    table = one.table()
    assert table[0]["settings"] == {"train.learning_rate": 5e-4, "method.rank": 16}
    assert len(table) == 15
    best = one.best()
    assert best is not None
    assert best.value == min(row["validation_loss"] for row in table) < table[0]["validation_loss"]
    shares = one.importances()
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares) == ["train.learning_rate", "method.rank"]


def test_what_lies_outside_of_the_space_is_not_the_first_trial(make: Make) -> None:
    one = make(trials=1, space={"train.learning_rate": {"low": 1e-3, "high": 1e-1}})
    trial = one.claim()
    assert trial is not None
    assert float(trial.values["train.learning_rate"] or 0) >= 1e-3


def test_a_search_that_goes_on_draws_what_it_would_have_drawn(make: Make) -> None:
    whole = make(trials=12, file="whole")
    complete(whole)
    for _ in range(11):
        trial = make(trials=12, file="pieces").claim()
        assert trial is not None
        if trial.number % 3 == 1:
            trial.judge(1, 5.0)  # the process dies here, and another one finds the trial
            trial = make(trials=12, file="pieces").claim()
            assert trial is not None
        trial.end("complete", loss_of(trial))
    pieces = make(trials=12, file="pieces")
    complete(pieces)
    assert [row["settings"] for row in pieces.table()] == [row["settings"] for row in whole.table()]


def test_a_worker_takes_up_its_own_trial_and_the_one_that_chooses_takes_all(make: Make) -> None:
    first, second = (make(name, trials=2).claim() for name in ("1", "2"))
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (0, 1)
    assert make("3", trials=2).claim() is None, "none is left"
    again = make("2", trials=2).claim()
    assert again is not None
    assert (again.number, again.values) == (1, second.values)
    left = make(trials=2).claim()
    assert left is not None
    assert left.number == 0


def test_workers_at_once_get_each_trial_once_and_none_beyond_the_limit(make: Make) -> None:
    got: list[int] = []

    def work(name: str) -> None:
        one = make(name, trials=20)
        while (trial := one.claim()) is not None:
            got.append(trial.number)
            trial.end("complete", loss_of(trial))

    workers = [threading.Thread(target=work, args=(str(number),)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(got) == list(range(20))
    assert [row["trial"] for row in make(trials=20).table()] == list(range(20))


def test_a_trial_above_the_median_ends(make: Make) -> None:
    one = make(trials=5, random_trials=2)
    for final in (0.2, 0.3):
        trial = one.claim()
        assert trial is not None
        for evaluation in (1, 2, 3):
            trial.judge(evaluation, final + 1 / evaluation)
        trial.end("complete", final)
    trial = one.claim()
    assert trial is not None
    trial.judge(1, 1.2)
    with pytest.raises(EndedError, match="evaluation 2: a validation loss of 0\\.9000 is above"):
        trial.judge(2, 0.9)
    trial.end("pruned", reason="it was above")
    row = one.table()[2]
    assert (row["state"], row["validation_loss"], row["evaluations"], row["reason"]) == (
        "pruned",
        0.9,
        2,
        "it was above",
    )
    best = one.best()
    assert best is not None
    assert best.number == 0

    patient = make(trials=5, random_trials=2, prune=False).claim()
    assert patient is not None
    patient.judge(1, 100.0)


def test_time_that_was_spent_before_a_crash_counts(make: Make) -> None:
    trial = make(minutes=1).claim()
    assert trial is not None
    trial.tick()
    trial.started -= 50
    trial.judge(1, 0.5)
    trial = make(minutes=1).claim()
    assert trial is not None
    trial.tick()
    trial.started -= 11
    with pytest.raises(EndedError, match="the 1 minutes of the search were over"):
        trial.tick()
    trial.end("pruned", reason="no time")
    assert make(minutes=1).claim() is None
    assert make(minutes=2).claim() is not None, "a longer time goes on with the same search"


def test_half_a_line_at_the_end_of_the_file_is_cut_off(make: Make) -> None:
    complete(make(trials=2))
    whole = make(trials=2).path.read_bytes()
    for torn in (b'{"op_co', b'{"op_code":5,"worker_id":"x'):
        with make().path.open("ab") as file:
            file.write(torn)
        assert [row["trial"] for row in make(trials=2).table()] == [0, 1]
        assert make().path.read_bytes().startswith(whole + b'{"op_code"'), "only whole lines follow"


def test_another_recipe_is_another_search_and_higher_limits_are_the_same(make: Make) -> None:
    names = {make(**section).name for section in ({}, {"trials": 50}, {"minutes": 3}, {"workers": 4})}
    assert len(names) == 1
    assert make(prune=False).name not in names


def test_one_sees_the_trials_while_they_run(make: Make, tmp_path: Path) -> None:
    one = make(trials=3)
    shelf = store.RecipeStore(UPath(tmp_path / "store"), "found", tmp_path)
    with pytest.raises(FtcoreError, match="has no search"):
        search.look(shelf)
    trial = one.claim()
    assert trial is not None
    trial.judge(1, 0.7)
    found = search.look(shelf)
    assert (found["run"], found["best_trial"], found["importances"]) == ("r1", None, {})
    assert [(row["state"], row["validation_loss"]) for row in found["trials"]] == [("running", 0.7)]
    trial.end("complete", 0.6)
    complete(one)
    assert search.look(shelf, "r1")["trials"] == one.table()
    with pytest.raises(FtcoreError, match="run r2 of found has no search"):
        search.look(shelf, "r2")
