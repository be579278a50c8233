"""The curve of a training while MLflow is away: nothing waits, nothing is lost, nothing is there twice."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from ftcore.errors import AwayError, FtcoreError
from ftcore.tracking import curve_buffer
from ftcore.tracking.curve_buffer import Buffer, Point, buffered


class Server:
    """Takes points, unless it is away."""

    def __init__(self) -> None:
        self.away, self.asked = False, threading.Event()
        self.points: list[Point] = []

    def __call__(self, points: Sequence[Point]) -> None:
        self.asked.set()
        if self.away:
            raise AwayError("MLflow does not answer")
        self.points += points


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(curve_buffer, "AGAIN_S", 0.01)
    return Server()


def points(first: int, last: int) -> list[Point]:
    return [(step, {"loss": step / 10}, float(step)) for step in range(first, last)]


def failing(file: Path, server: Server, added: Sequence[Point] = tuple(points(0, 3))) -> None:
    with buffered(file, server) as buffer:
        buffer.add(added)
        raise KeyError


def test_points_wait_in_a_file_while_the_server_is_away(tmp_path: Path, server: Server) -> None:
    server.away = True
    with buffered(tmp_path / "folder" / "curve.jsonl", server) as buffer:
        buffer.add(points(0, 3))
        assert server.asked.wait(10)
        buffer.add(points(3, 5))
        assert (tmp_path / "folder" / "curve.jsonl").read_text().count("loss") == 5
        server.away = False
    assert server.points == points(0, 5)
    assert not list((tmp_path / "folder").iterdir())


def test_the_next_process_sends_what_the_first_could_not(tmp_path: Path, server: Server) -> None:
    server.away, file = True, tmp_path / "curve.jsonl"
    with pytest.raises(KeyError):
        failing(file, server)
    assert not server.points
    with file.open("a") as out:
        out.write('[3, {"loss"')  # a crash in the middle of a line
    with pytest.raises(KeyError):
        failing(file, server, points(3, 5))
    server.away = False
    with buffered(file, server) as buffer:
        assert buffer.left == points(0, 5), "no point is joined to the line that was cut off"
    assert server.points == points(0, 5)


def test_a_training_that_fails_sends_what_it_has(tmp_path: Path, server: Server) -> None:
    with pytest.raises(KeyError):
        failing(tmp_path / "curve.jsonl", server)
    assert server.points == points(0, 3)


def test_patience_that_ends_keeps_the_points(tmp_path: Path, server: Server) -> None:
    server.away = True
    with pytest.raises(AwayError), buffered(tmp_path / "curve.jsonl", server) as buffer:
        buffer.add(points(0, 3))
    assert (tmp_path / "curve.jsonl").read_text().count("loss") == 3


def test_a_refusal_ends_the_training(tmp_path: Path) -> None:
    def refuse(points: Sequence[Point]) -> None:
        raise FtcoreError("no such run")

    buffer = Buffer(tmp_path / "curve.jsonl", refuse)
    buffer.start()
    buffer.add(points(0, 1))
    buffer._thread.join(10)
    with pytest.raises(FtcoreError, match="no such run"):
        buffer.add(points(1, 2))
    with pytest.raises(FtcoreError, match="no such run"):
        buffer.close()
