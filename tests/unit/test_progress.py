"""Progress is a line now and then where nobody looks at a terminal."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable

import pytest

from ftcore import progress


def test_lines_say_how_far_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    clock = iter([0.0, 4.0, 20.0, 24.0, 31.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO, "ftcore"), progress.progress("scoring", 4000) as advance:
        for note in (None, "loss 0.5", None, None):
            advance(1000, note)
    assert caplog.messages == ["scoring 2,000/4,000, 20 s left  loss 0.5", "scoring 4,000/4,000, 0 s left  loss 0.5"]


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so, for ten seconds at most."""
    deadline = time.perf_counter() + 10
    while not condition() and time.perf_counter() < deadline:
        time.sleep(0.005)
    assert condition()


def test_a_step_that_takes_long_is_not_silent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.05)
    with caplog.at_level(logging.INFO, "ftcore"):
        with progress.progress("scoring", 10) as advance:
            until(lambda: len(caplog.messages) >= 2)
            assert set(caplog.messages) == {"scoring 0/10"}
            advance(4)
            until(lambda: any(line.startswith("scoring 4/10, ") for line in caplog.messages))
        caplog.clear()
        with progress.busy("measuring"):
            assert caplog.messages == ["measuring"]
            until(lambda: len(caplog.messages) >= 3)
        assert caplog.messages[1:] == ["measuring: 0 s so far"] * (len(caplog.messages) - 1)
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_a_program_hears_of_a_step_that_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FTCORE_PROGRESS", "json")
    monkeypatch.setattr(progress, "EVERY_S", 0.05)
    lines: list[str] = []
    with progress.progress("scoring", 10):
        until(lambda: bool(lines.extend(capsys.readouterr().err.splitlines())) or len(lines) >= 2)
    assert json.loads(lines[0].removeprefix(progress.MARK)) == {"what": "scoring", "done": 0, "total": 10, "left_s": 0}


def test_short_work_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "ftcore"), progress.busy("reading", at_once=False):
        pass
    assert caplog.messages == []


def test_busy_work_shows_in_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress.busy("measuring", at_once=False):
        pass
    assert "measuring" in capsys.readouterr().err


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress.progress("scoring", 10) as advance:
        advance(10, "loss 0.5")
    shown = capsys.readouterr()
    assert "scoring" in shown.err
    assert shown.out == ""


def test_a_program_gets_json_and_what_was_done_before_does_not_count_as_speed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FTCORE_PROGRESS", "json")
    clock = iter([0.0, 4.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.progress("training", 100, done=50) as advance:
        advance(5, "loss 0.5", loss=0.5)
        advance(5)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line.removeprefix(progress.MARK)) == {
        "what": "training",
        "done": 60,
        "total": 100,
        "left_s": 80,
        "note": "loss 0.5",
        "loss": 0.5,
    }
