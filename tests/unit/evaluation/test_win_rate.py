"""The win rate by a judge: a real server on this machine speaks the protocol, well or badly."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftcore.errors import FtcoreError, TransientError
from ftcore.evaluation import judge as _judge
from ftcore.evaluation import win_rate
from ftcore.recipe.sections import Evaluate, Judge
from ftcore.store import store

SECRET = "sk-nobody-may-read-this"
ROWS = [{"text": f"what is {n} + 1 ?", "context": None, "label": f"{n + 1}"} for n in range(12)]
GOOD, BAD = [f"{n + 1}" for n in range(12)], ["who knows"] * 12

Answer = tuple[int, Any]
"""Status and body of an answer; a text is said by the judge."""


class Server:
    """A judge: what it answers to each question, a function says."""

    def __init__(self, answer: Callable[[dict[str, str]], str | Answer]) -> None:
        self.answer, self.asked, self.headers = answer, [], []
        judge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                judge.asked.append({"path": self.path, **body})
                judge.headers.append({name.title(): value for name, value in self.headers.items()})
                said = judge.answer(json.loads(body["messages"][-1]["content"]))
                code, found = (200, _said(said)) if isinstance(said, str) else said
                data = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/v1"

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


def _said(text: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def start(answer: Callable[[dict[str, str]], str | Answer]) -> Server:
        made.append(Server(answer))
        return made[-1]

    yield start
    for server in made:
        server.close()


def run(folder: Path, url: str, candidate: list[str] = GOOD, champion: list[str] = BAD, **more: Any) -> dict[str, Any]:
    evaluate = Evaluate.model_validate({"judge": {"endpoint": url, "model": "wise", **more}, "resamples": 200})
    recipe = SimpleNamespace(evaluate=evaluate, train=SimpleNamespace(seed=17))
    context: Any = SimpleNamespace(recipe=recipe, folder=folder)
    return win_rate.judged(context, ROWS, {"candidate": candidate, "champion": champion}, {_judge.KEY: SECRET})


def fair(question: dict[str, str]) -> str:
    """Who is right, and a tie where both are or none is."""
    right = [question[name] == question["right_answer"] for name in ("answer_a", "answer_b")]
    return "TIE" if right[0] == right[1] else "A" if right[0] else "B"


def _judge_of(url: str) -> Judge:
    judge = Evaluate.model_validate({"judge": {"endpoint": url, "model": "wise"}}).judge
    assert judge
    return judge


def test_a_fair_judge_finds_the_better_one_in_both_orders(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(fair)
    found = run(tmp_path, server.url, champion=[*GOOD[:3], *BAD[3:]])
    assert (found["wins"], found["ties"], found["losses"], found["undecided"], found["rows"]) == (9, 3, 0, 0, 12)
    assert found["win_rate"]["value"] == (9 + 3 / 2) / 12
    assert found["win_rate"]["low"] < found["win_rate"]["value"] < found["win_rate"]["high"]
    agreement = found["agreement"]
    assert (agreement["value"], agreement["high"], agreement["rows"]) == (1, 1, 12)
    assert 0.6 < agreement["low"] < 1, "twelve agreements are no proof of all"
    assert (found["host"], found["model"]) == (server.url.split("/")[2], "wise")
    assert run(tmp_path / "turned", server.url, BAD, GOOD)["losses"] == 12
    assert {one["path"] for one in server.asked} == {"/v1/chat/completions"}
    assert {one["model"] for one in server.asked} == {"wise"}
    assert {one.get("max_tokens") for one in server.asked} == {None}, "how long it thinks is its own affair"


def test_an_answer_is_as_long_as_the_recipe_lets_it_be(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(fair)
    run(tmp_path, server.url, answer_tokens=8)
    assert {one["max_tokens"] for one in server.asked} == {8}


@pytest.mark.parametrize("place", ["A", "B"])
def test_a_judge_that_favours_a_place_decides_nothing(serve: Callable[..., Server], tmp_path: Path, place: str) -> None:
    found = run(tmp_path, serve(lambda question: place).url)
    assert (found["wins"], found["ties"], found["losses"]) == (0, 12, 0)
    assert (found["win_rate"]["value"], found["agreement"]["value"]) == (0.5, 0)


def test_a_busy_or_broken_judge_is_asked_again(serve: Callable[..., Server], tmp_path: Path) -> None:
    troubles = [(429, {}), (500, {}), (503, b"down")]
    server = serve(lambda question: troubles.pop() if troubles else fair(question))
    assert run(tmp_path, server.url)["wins"] == 12
    assert len(server.asked) == 24 + 3


@pytest.mark.parametrize(
    "nonsense",
    ["both are nice", "", "A or B", (200, b"<html>"), (200, []), (200, {"choices": []}), (200, _said(None))],
)
def test_nonsense_is_undecided(serve: Callable[..., Server], tmp_path: Path, nonsense: str | Answer) -> None:
    server = serve(lambda question: nonsense if question["text"] == ROWS[0]["text"] else fair(question))
    found = run(tmp_path, server.url)
    assert (found["wins"], found["undecided"], found["rows"]) == (11, 1, 12)
    assert found["win_rate"]["rows"] == 11


def test_a_judge_that_only_talks_nonsense_gives_no_win_rate(serve: Callable[..., Server], tmp_path: Path) -> None:
    found = run(tmp_path, serve(lambda question: "hm").url)
    assert (found["undecided"], found["wins"], found["ties"]) == (12, 0, 0)
    assert found["win_rate"] == {"value": None, "low": None, "high": None, "rows": 0, "groups": 0, "level": 0.95}
    json.dumps(found, allow_nan=False)


def test_what_was_said_outlives_a_judge_that_goes_away(serve: Callable[..., Server], tmp_path: Path) -> None:
    working = True
    server = serve(lambda question: fair(question) if working and len(server.asked) <= 7 else (503, {}))
    with pytest.raises(TransientError, match=r"the judge wise at 127.0.0.1:\d+ answers 503"):
        run(tmp_path, server.url)
    kept = store.read_json(tmp_path / "judged.json")
    assert len(kept) == 7
    server.answer = fair
    server.asked.clear()
    assert run(tmp_path, server.url)["wins"] == 12
    assert len(server.asked) == 24 - 7


def test_a_judge_that_is_not_there_is_a_transient_error(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_judge, "ATTEMPTS", 2)
    server = serve(fair)
    url = server.url
    server.http.server_close()
    with pytest.raises(TransientError, match="cannot be reached: ConnectError"):
        run(tmp_path, url)


def test_the_key_goes_to_the_judge_and_nowhere_else(
    serve: Callable[..., Server], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(fair)
    found = run(tmp_path, server.url)
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {SECRET}"}
    with _judge.client(_judge_of(server.url), {}) as there:
        _judge.ask(_judge_of(server.url), there, _judge.messages(ROWS[0], "a", "b"))
    assert "Authorization" not in server.headers[-1], "without a key none is sent"
    server.answer = lambda question: (401, {"error": f"wrong key {SECRET}"})
    with pytest.raises(FtcoreError, match="refuses to answer: 401") as error:
        run(tmp_path / "refused", server.url)
    assert not error.value.retryable
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET not in f"{error.value} {error.value.__cause__} {json.dumps(found)} {written} {caplog.text}"


@pytest.mark.parametrize("key", ["a\nb", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_refused_unseen(tmp_path: Path, key: str) -> None:
    judge = Evaluate.model_validate({"judge": {"endpoint": "https://x.example/v1", "model": "wise"}}).judge
    assert judge
    with pytest.raises(FtcoreError, match="FTCORE_JUDGE_KEY holds characters") as error:
        _judge.client(judge, {_judge.KEY: key})
    assert key not in str(error.value)


@pytest.mark.parametrize(
    ("said", "meaning"),
    [("A", "A"), (" b.\n", "B"), ("**Tie**", "TIE"), ("<think>A? no</think>\nB", "B"), ("AB", "?"), (None, "?")],
)
def test_what_a_judge_means(said: object, meaning: str) -> None:
    assert _judge.meant(said) == meaning
