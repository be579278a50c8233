"""What is too large is refused in a sentence, before or without anything half written."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Product
    from tests.unit.cli.conftest import Done

ROOT = Path(__file__).parents[3]
LONG = "é" * 4_001
COMMANDS = (
    ("models", "promote", "{}", "2", "--reason", LONG),
    ("models", "rollback", "{}", "--reason", LONG),
    ("models", "reject", "{}", "2", "--reason", LONG),
    ("models", "hold", "{}", "--reason", LONG),
    ("models", "release", "{}", "--reason", LONG),
    ("ledger", "{}", "--acknowledge", "--reason", LONG),
    ("forget", "{}", "--subject", "c3", "--reason", LONG),
)


def test_a_reason_that_cannot_be_kept(product: Product, ftcore: Callable[..., Done]) -> None:
    product.crown("r1")
    product.register("r2")
    before = product.shelf.ledger(), product.tracking.version(2).tags
    for words in COMMANDS:
        done = ftcore(*(word.format(product.name) for word in words))
        assert (done.returncode, "has at most 4,000 characters; this one has 4,001" in done.stderr) == (1, True), words
    assert (product.shelf.ledger(), product.tracking.version(2).tags) == before
    assert ftcore("models", "hold", product.name, "--reason", LONG[:-1]).returncode == 0
    assert product.registrar.held() is not None


@pytest.mark.parametrize("words", [("backup", "b.tar"), ("keys", "rotate"), ("keys", "new", "own.pem")], ids=" ".join)
def test_a_limit_of_the_system_is_a_sentence(product: Product, tmp_path: Path, words: tuple[str, ...]) -> None:
    product.crown("r1")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16))

    command = [sys.executable, "-m", "ftcore", *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert done.returncode == 75, done.stderr
    assert "error: a file may not become as large as this" in done.stderr
    assert "Traceback" not in done.stderr
