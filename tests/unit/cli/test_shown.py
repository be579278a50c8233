"""Tables in a pipe: no line is cut, and none ends in blanks."""

from __future__ import annotations

import io
import re
import sys

import pytest
from rich.table import Table

from ftcore.cli._shared import show


def table() -> Table:
    made = Table("step", "", "seconds", "result", box=None, pad_edge=False)
    made.add_row("ingest", "✔", "1.0", "read 30 rows")
    made.add_row(
        "gate", "■", "0.2", "failed: accuracy 0.843 [0.821, 0.863] " + "is below what is asked " * 20 + "[end]"
    )
    return made


def test_in_a_pipe_no_line_is_cut_and_none_ends_in_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    show(table(), markup=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in lines] == lines
    assert [line.split()[0] for line in lines] == ["step", "ingest", "gate"]
    assert "[0.821, 0.863]" in lines[2]
    assert lines[2].endswith("[end]")
    assert len(lines[1]) < 50, "no line is as long as the longest"


def test_in_a_terminal_it_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    show(table(), markup=False)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    assert max(len(line) for line in plain.splitlines()) <= 60
