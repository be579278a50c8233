"""The error tree is what its drawing says."""

from __future__ import annotations

import inspect
import re

import pytest

from ftcore import errors
from ftcore.errors import BusyError, DataRejectedError, FtcoreError, RecipeError, TransientError

LINE = re.compile(r"^\s*([├└│─ ]*)((?:\w+Error)(?:\((\w+)\))?(?: · \w+Error)*)\s+(\d+)\s", re.MULTILINE)
DRAWN = {
    name: (int(code), parent)
    for _, names, parent, code in LINE.findall(errors.__doc__ or "")
    for name in re.findall(r"(\w+Error)(?!\))", names)
}
CLASSES = {name: c for name, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, FtcoreError)}


def test_the_drawing_shows_every_class_and_no_other() -> None:
    assert set(DRAWN) == set(CLASSES)


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_exit_codes_and_parents_are_as_drawn(name: str) -> None:
    code, parent = DRAWN[name]
    assert CLASSES[name].exit_code == code
    assert not parent or parent in {base.__name__ for base in CLASSES[name].__mro__}


def test_only_transient_errors_are_retried() -> None:
    retryable = {name for name, kind in CLASSES.items() if kind.retryable}
    assert retryable == {name for name, kind in CLASSES.items() if issubclass(kind, TransientError)}
    assert {name for name, kind in CLASSES.items() if kind.exit_code == 75} == retryable
    assert issubclass(BusyError, TransientError)


def test_the_hint_stands_on_a_line_of_its_own() -> None:
    assert str(FtcoreError("it broke", hint="mend it")) == "it broke\n  hint: mend it"
    assert str(FtcoreError("it broke")) == "it broke"


@pytest.mark.parametrize("login", ["mira:hunter2", "mira:hun@hunter2", ":hunter2"])
def test_no_address_in_a_message_keeps_its_password(login: str) -> None:
    assert str(FtcoreError(f"s3://{login}@bucket/x is away")) == "s3://***@bucket/x is away"
    assert str(FtcoreError("https://h:80/a@b is away")) == "https://h:80/a@b is away"


def test_ten_failures_are_shown_at_most() -> None:
    failures = [f"row {number}" for number in range(13)]
    error = DataRejectedError("bad rows", failures, report="there.html", hint="look")
    assert str(error).count("  - row ") == 10
    assert "  … and 3 more\n  report: there.html\n  hint: look" in str(error)
    assert error.report == "there.html"
    assert "more" not in str(DataRejectedError("bad rows", failures[:10]))


def test_a_recipe_error_lists_each_fault_with_its_path() -> None:
    error = RecipeError("r.yaml", [("a.b", "is bad"), ("", "is worse")])
    assert str(error) == "r.yaml: 2 faults\n  a.b: is bad\n  is worse"
    assert error.faults == [("a.b", "is bad"), ("", "is worse")]
    assert str(RecipeError("r.yaml", [("a", "is bad")])).startswith("r.yaml: 1 fault\n")
