"""What others wrote does nothing on a terminal: it is shown."""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
from typing import TYPE_CHECKING

import pytest
from rich.table import Table

from ftcore.cli._plain import Plain, PlainFormatter, one_line, printable
from ftcore.cli._shared import show

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Product
    from tests.unit.cli.conftest import Done

FAKE = "\x1b[2J\x1b[H✔ all is well\x1b[8m\u202e\u2066\x9b2J\x07\r"
SHOWN = [
    ("\x1b[2J", "\\x1b[2J"),
    ("a\x00b\x08\x7f", "a\\x00b\\x08\\u007f"),
    ("\x9b2J", "\\u009b2J"),
    ("\u202eabc\u2066\u200f", "\\u202eabc\\u2066\\u200f"),
    ("file \udcff", "file \\udcff"),
    ("gone\rback", "gone\\x0dback"),
    ("two\r\nlines\tand ✔ é 日本 \U0001f600", "two\r\nlines\tand ✔ é 日本 \U0001f600"),
]


@pytest.mark.parametrize(("text", "shown"), SHOWN)
def test_each_kind_of_it(text: str, shown: str) -> None:
    assert printable(text) == shown
    sink = io.StringIO()
    print(text, file=Plain(sink))  # type: ignore[arg-type]
    assert sink.getvalue() == f"{shown}\n"
    record = logging.LogRecord("ftcore", logging.INFO, "", 1, "%s", (text,), None)
    assert PlainFormatter("%(message)s").format(record) == shown
    assert json.loads(printable(json.dumps([text], ensure_ascii=False))) == [text], "JSON says the same"


def test_one_line_stays_one() -> None:
    assert one_line("fine\n✔ all is well\t.") == "fine\\x0a✔ all is well\\x09."


def test_in_tables_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", Plain(screen))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    table = Table("x")
    table.add_row(FAKE)
    show(table)
    assert "\\x1b[2J\\x1b[H✔ all is" in screen.getvalue()
    assert "\x1b[2J" not in screen.getvalue()
    assert "\x1b[1m" in screen.getvalue(), "its own bold head is no text"


def test_in_doctor_ledger_and_models(product: Product, ftcore: Callable[..., Done]) -> None:
    product.crown("r1")
    product.tracking.tag(product.tracking.version(1), {"rejected": json.dumps({"by": FAKE, "reason": f"x\n{FAKE}"})})
    (product.shelf.root / "ledger" / f"{FAKE}.json").write_text('{"at": "", "kind": "x"}')
    ftcore("models", "hold", product.name, "--reason", f"=1+1{FAKE}\r\n=1+1")
    name = product.name
    for words in (
        ("doctor", name),
        ("ledger", name),
        ("ledger", name, "--check"),
        ("ledger", name, "--csv", "-"),
        ("models", "ls", name),
        ("models", "show", name, "1"),
    ):
        done = ftcore(*words)
        assert "\\x1b[2J" in done.stdout, words
        assert not any(sign in done.stdout + done.stderr for sign in ("\x1b", "\x9b", "\u202e", "\n✔ all")), words
    rows = list(csv.reader(io.StringIO(ftcore("ledger", name, "--csv", "-").stdout)))
    assert not any("\n" in cell or "\r" in cell for row in rows for cell in row)
    assert isinstance(json.loads(ftcore("ledger", name, "--json").stdout), list)


def test_in_errors(ftcore: Callable[..., Done]) -> None:
    assert "\x1b" not in ftcore("doctor", FAKE).stderr
