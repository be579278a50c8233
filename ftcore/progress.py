"""Progress of long work: a bar in a terminal, a line now and then in a log, JSON for a program that watches."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ftcore.context import log

EVERY_S = 10.0
"""Seconds between two lines in a log."""
MARK = "::progress "
"""What a line of progress for a program starts with; JSON follows. Written where ``FTCORE_PROGRESS`` is ``json``."""


@contextmanager
def progress(what: str, total: int, done: int = 0) -> Iterator[Callable[..., None]]:
    """Show how far ``total`` units of work are done; ``done`` of them were before.

    Yields:
        ``advance(count=1, note="", **facts)``: say that more units are done, with a short note such as the loss. Facts
        are for programs: numbers and texts by name.
    """
    if os.environ.get("FTCORE_PROGRESS") == "json":
        shown = _json(what, total, done)
    else:
        shown = _bar(what, total, done) if sys.stderr.isatty() else _lines(what, total, done)
    with shown as advance:
        yield advance


@contextmanager
def _bar(what: str, total: int, done: int) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, completed=done, note="")

        def advance(count: int = 1, note: str | None = None, **facts: object) -> None:
            del facts
            bar.update(task, advance=count, **({} if note is None else {"note": note}))

        yield advance


@contextmanager
def _lines(what: str, total: int, done: int) -> Iterator[Callable[..., None]]:
    clock = _Clock(total, done)
    latest = ""

    def advance(count: int = 1, note: str | None = None, **facts: object) -> None:
        nonlocal latest
        del facts
        latest = latest if note is None else note
        if clock.moved(count):
            left = f"{what} {clock.done:,}/{total:,}, {clock.left_s:.0f} s left"
            log.info("%s%s", left, f"  {latest}" if latest else "")

    yield advance


@contextmanager
def _json(what: str, total: int, done: int) -> Iterator[Callable[..., None]]:
    clock = _Clock(total, done)
    known: dict[str, object] = {}

    def advance(count: int = 1, note: str | None = None, **facts: object) -> None:
        known.update(facts if note is None else {"note": note, **facts})
        if clock.moved(count):
            state = {"what": what, "done": clock.done, "total": total, "left_s": round(clock.left_s), **known}
            print(MARK + json.dumps(state), file=sys.stderr, flush=True)

    yield advance


class _Clock:
    """Counts what is done, and knows when it is time to say so again and how long the rest will take."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done, self.before = total, done, done
        self.started = self.said = self.moment = time.monotonic()

    def moved(self, count: int) -> bool:
        self.done += count
        self.moment = time.monotonic()
        due = self.moment - self.said >= EVERY_S
        if due:
            self.said = self.moment
        return due

    @property
    def left_s(self) -> float:
        return (self.moment - self.started) / max(self.done - self.before, 1) * (self.total - self.done)
