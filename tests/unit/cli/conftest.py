"""The command line, run in this process: starting Python and importing what is heavy takes a second a call."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from ftcore import cli

SET = {"TQDM_DISABLE": "1", "MLFLOW_LOGGING_LEVEL": "WARNING", "TOKENIZERS_PARALLELISM": "true"}
"""What ``main`` sets where it is not set."""


@dataclass(frozen=True)
class Done:
    """How a command ended, as ``subprocess.run`` tells it."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def ftcore(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Done]]:
    """Run a command; what it does to the log, ``sys.argv`` and the environment is undone."""
    logger = logging.getLogger("ftcore")
    before = (logger.handlers, logger.propagate, logger.level)
    for name, value in SET.items():
        monkeypatch.setenv(name, value)

    def call(*words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["ftcore", *words])
        capsys.readouterr()
        try:
            cli.main()
            code: object = 0
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return Done(code if isinstance(code, int) else int(bool(code)), said.out, said.err)

    yield call
    logger.handlers, logger.propagate = before[0], before[1]
    logger.setLevel(before[2])
