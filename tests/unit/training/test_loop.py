"""Training that is interrupted, starved or fed nonsense: it goes on, shrinks, or says what is wrong."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from ftcore.errors import TrainingError, TransientError
from ftcore.training import checkpoints, loop
from ftcore.training.callbacks import Point
from ftcore.training.job import Job
from tests import jobs

Make = Callable[..., Job]


class Curve(dict[int, float]):
    """The loss of each step, as tracking gets it."""

    def __call__(self, points: list[Point]) -> None:
        self.update({point.step: point.metrics["loss"] for point in points if "loss" in point.metrics})


def weights(job: Job) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in job.trained.model.parameters()])


def without_dropout(job: Job) -> Job:
    """Parts draw other numbers than the whole: without any, they must agree."""
    for module in job.trained.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return job


@contextmanager
def at_forward(job: Job, number: int, act: Callable[[], object]) -> Iterator[None]:
    """Do something in the middle of the ``number``-th forward pass of training."""
    seen = 0

    def hook(*_: Any) -> None:
        nonlocal seen
        seen += job.trained.model.training
        if job.trained.model.training and seen == number:
            act()

    handle = job.trained.model.register_forward_pre_hook(hook)
    yield
    handle.remove()


def test_it_learns(job: Make) -> None:
    curve = Curve()
    figures = loop.fit(job(track=curve, config={"epochs": 8, "seed": 2}))
    assert (figures["steps"], figures["resumed"]) == (64, 0)
    assert sorted(curve) == list(range(1, 65)), "every step is in the curve"
    assert figures["validation_loss"] < 0.1 < curve[1]


def test_the_same_seed_gives_the_same_weights_and_another_others(job: Make, tmp_path: Path) -> None:
    trained = [job(folder=tmp_path / f"{n}", config={"seed": seed}) for n, seed in enumerate((5, 5, 6))]
    for one in trained:
        loop.fit(one)
    assert torch.equal(weights(trained[0]), weights(trained[1]))
    assert not torch.equal(weights(trained[0]), weights(trained[2]))


def test_a_run_that_is_stopped_twice_has_the_curve_of_one_that_is_not(job: Make, tmp_path: Path) -> None:
    whole = Curve()
    undisturbed = job(track=whole, folder=tmp_path / "whole")
    loop.fit(undisturbed)

    pieces = Curve()
    for forward in (6, 7):
        stopped = job(track=pieces)
        told = pytest.raises(TransientError, match=r"stopped at step \d+ of 16")
        with at_forward(stopped, forward, lambda: os.kill(os.getpid(), signal.SIGTERM)), told:
            loop.fit(stopped)
        assert TransientError.exit_code == 75
    assert sorted(pieces) == list(range(1, 14)), "nothing was lost"
    last = job(track=pieces)
    figures = loop.fit(last)
    assert figures["resumed"] == 1
    assert dict(pieces) == pytest.approx(dict(whole), abs=1e-6)
    assert torch.allclose(weights(last), weights(undisturbed), atol=1e-6)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_training_that_has_ended_is_not_trained_on(job: Make) -> None:
    first, curve = job(), Curve()
    figures = loop.fit(first)
    again = job(track=curve)
    assert loop.fit(again) == {**figures, "resumed": 1}
    assert torch.equal(weights(first), weights(again))
    assert not curve


def test_a_crash_loses_no_more_than_the_interval(job: Make, tmp_path: Path) -> None:
    whole = Curve()
    loop.fit(job(track=whole, folder=tmp_path / "whole"))

    def crash() -> None:
        raise SystemError("as if the process were gone")

    pieces, crashed = Curve(), job()
    with at_forward(crashed, 7, crash), pytest.raises(SystemError):
        loop.fit(crashed)
    loop.fit(job(track=pieces))
    assert sorted(pieces) == list(range(5, 17)), "the checkpoint of step 4 is where it goes on"
    assert dict(pieces) == pytest.approx({step: whole[step] for step in pieces}, abs=1e-6)


def test_checkpoints_come_when_it_is_time_and_are_pruned(job: Make) -> None:
    timed = job(config={"checkpoint_minutes": 1e-9, "evaluations_per_epoch": 1})
    with at_forward(timed, 16, lambda: os.kill(os.getpid(), signal.SIGTERM)), pytest.raises(TransientError):
        loop.fit(timed)
    kept = [int(path.name.removeprefix("checkpoint-")) for path in checkpoints.found(timed.run.folder)]
    assert kept[-2:] == [15, 16]
    assert set(kept) <= {8, 15, 16}, "the best one and the last two"


@pytest.mark.parametrize("damage", ["cut", "unsealed", "half a seal"])
def test_a_damaged_checkpoint_is_passed_over_and_said(job: Make, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    loop.fit(job())
    folder = job().run.folder
    newest = checkpoints.found(folder)[-1]
    if damage == "cut":
        with (newest / "model.safetensors").open("r+b") as file:
            file.truncate(100)
    elif damage == "unsealed":
        (newest / checkpoints.SEAL).unlink()
    else:
        (newest / checkpoints.SEAL).write_text('{"identity": ')
    found = checkpoints.last(folder, "this")
    assert found is not None
    assert found != newest
    assert newest.name in caplog.text
    assert "passed over" in caplog.text


def test_a_checkpoint_of_another_recipe_is_refused(job: Make) -> None:
    loop.fit(job())
    with pytest.raises(TrainingError, match=r"made with another recipe[\s\S]*start a new run"):
        loop.fit(job(identity="other"))


def test_a_full_disk_is_an_error_before_the_old_checkpoint_is_lost(job: Make) -> None:
    filled = job()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as on a full disk: the write fails
    try:
        said = pytest.raises(TrainingError, match=r"checkpoint-8 could not be written[\s\S]*checkpoint-4 is kept")
        with at_forward(filled, 7, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))), said:
            loop.fit(filled)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    last = checkpoints.last(filled.run.folder, "this")
    assert last is not None
    assert last.name == "checkpoint-4"
    assert loop.fit(job())["resumed"] == 1


def test_out_of_memory_halves_the_batch_and_keeps_the_gradient(
    job: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    curves = []
    for name, starved_at in (("fed", 0), ("starved", 3)):
        curve = Curve()
        one = without_dropout(job(track=curve, folder=tmp_path / name))
        with at_forward(one, starved_at, _allocate_too_much):
            loop.fit(one)
        curves.append(dict(curve))
    assert curves[1] == pytest.approx(curves[0], abs=1e-4)
    assert "out of memory: from here on at most" in caplog.text
    assert ", 4 rows" in caplog.text


def test_a_row_that_does_not_fit_is_said(job: Make) -> None:
    hopeless = job()
    hopeless.trained.model.register_forward_pre_hook(lambda *_: _allocate_too_much())
    with pytest.raises(TrainingError, match=r"a single row of \d+ tokens does not fit[\s\S]*max_length_tokens"):
        loop.fit(hopeless)


def _allocate_too_much() -> None:
    torch.empty(2**60, dtype=torch.uint8)  # what the allocator itself says when memory is gone


def test_a_loss_that_is_no_number_names_the_rows(job: Make) -> None:
    poisoned = job()

    def poison() -> None:
        with torch.no_grad():
            poisoned.trained.model.classifier.weight.fill_(float("nan"))

    with at_forward(poisoned, 3, poison), pytest.raises(TrainingError, match="the loss is nan at step 3") as error:
        loop.fit(poisoned)
    assert str(error.value).count("row-") == 8
    assert "learning_rate" in str(error.value)


def test_a_budget_of_tokens_changes_nothing_but_the_memory(job: Make, tmp_path: Path) -> None:
    curves = []
    for name, budget in (("whole", None), ("parts", 16)):
        curve = Curve()
        loop.fit(without_dropout(job(track=curve, folder=tmp_path / name, config={"micro_batch_tokens": budget})))
        curves.append(dict(curve))
    assert curves[0] == pytest.approx(curves[1], abs=1e-4)


def test_activations_that_are_calculated_again_are_the_same(job: Make, tmp_path: Path) -> None:
    from ftcore.training.methods import lora

    curves = []
    for again in (False, True):
        curve = Curve()
        one = without_dropout(job(track=curve, folder=tmp_path / f"{again}", config={"gradient_checkpointing": again}))
        torch.manual_seed(2)
        adapted = lora.Lora(rank=2, dropout=0).apply(one.trained.model, one.trained.tokenizer)
        loop.fit(jobs.changed(one, model=adapted))
        curves.append(dict(curve))
    assert curves[0] == pytest.approx(curves[1], abs=1e-5)
    assert len(set(curves[0].values())) > 8, "it learns"
