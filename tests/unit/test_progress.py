"""Progress is a line now and then where nobody looks at a terminal."""

from __future__ import annotations

import json
import logging

import pytest

from ftcore import progress


def test_lines_say_how_far_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    clock = iter([0.0, 5.0, 20.0, 25.0, 31.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO, "ftcore"), progress.progress("scoring", 4000) as advance:
        for note in (None, "loss 0.5", None, None):
            advance(1000, note)
    assert caplog.messages == ["scoring 2,000/4,000, 20 s left  loss 0.5", "scoring 4,000/4,000, 0 s left  loss 0.5"]


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
    clock = iter([0.0, 5.0, 20.0])
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
