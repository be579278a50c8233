"""What happens between steps: the first ones are measured before hours are spent."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ftcore.errors import TrainingError
from ftcore.training import callbacks, loop
from ftcore.training.callbacks import FirstSteps
from ftcore.training.job import Job


def test_the_first_steps_are_reported_once_with_what_all_steps_take(
    job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "FIRST_S", 0.0)
    reports: list[tuple[int, float]] = []
    figures = loop.fit(job(callbacks=[FirstSteps(lambda steps, seconds: reports.append((steps, seconds)))]))
    [(steps, seconds)] = reports
    assert steps == 3, "one warms up, two are measured"
    assert 0 < seconds < 100 * figures["seconds"]


def test_short_steps_are_measured_for_a_while_and_a_short_training_reports_nothing(job: Callable[..., Job]) -> None:
    reports: list[int] = []
    loop.fit(job(config={"epochs": 1}, callbacks=[FirstSteps(lambda steps, _: reports.append(steps))]))
    assert not reports, "it is done before five seconds have passed"


def test_a_training_that_must_not_go_on_ends(job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "FIRST_S", 0.0)

    def refuse(steps: int, seconds: float) -> None:
        raise TrainingError(f"too much after {steps}", hint="less")

    with pytest.raises(TrainingError, match="too much after 3"):
        loop.fit(job(callbacks=[FirstSteps(refuse)]))
