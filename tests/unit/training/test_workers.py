"""The file of the workers: read whole or refused with every fault; none means this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftcore import settings
from ftcore.errors import RecipeError
from ftcore.training import workers


@pytest.fixture
def file(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = home.parent / "workers.yaml"
    monkeypatch.setenv("FTCORE_WORKERS", str(path))
    return path


def test_without_a_file_it_is_this_machine(home: Path) -> None:
    (one,) = workers.load(settings.load())
    assert one == workers.own(settings.load())
    assert one.name == "local"
    assert 0.5 < one.memory_gib < 100_000
    assert one.price_per_h == 0


def test_a_file_names_them(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("- {name: small, memory_gib: 8}\n- {name: big, device: cuda, memory_gib: 80, price_per_h: 2.5}\n")
    assert [worker.name for worker in workers.load(settings.load())] == ["small", "big"]
    assert workers.own(settings.load()) is None
    monkeypatch.setenv("FTCORE_WORKER", "big")
    assert workers.own(settings.load()) == workers.Worker(name="big", device="cuda", memory_gib=80, price_per_h=2.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {name: a, memory_gib: 0, colour: red}\n", "0.memory_gib.*\n.*0.colour"),
        ("- {name: a, memory_gib: 1}\n- {name: a, memory_gib: 2}\n", "each with a name of its own"),
        ("[]\n", "at least one worker"),
        ("name: [", "cannot be read"),
        ("just words\n", "tuple"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(RecipeError, match=words):
        workers.load(settings.load())


def test_a_worker_that_is_not_in_the_file_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("- {name: small, memory_gib: 8}\n")
    monkeypatch.setenv("FTCORE_WORKER", "big")
    with pytest.raises(RecipeError, match=r"there is no worker 'big'.*known: small"):
        workers.load(settings.load())
    monkeypatch.setenv("FTCORE_WORKERS", str(file.with_name("nowhere.yaml")))
    with pytest.raises(RecipeError, match="cannot be read"):
        workers.load(settings.load())
