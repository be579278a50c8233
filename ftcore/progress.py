"""Progress of long work: a bar in a terminal, a line now and then in a log, JSON for a program that watches.

Nothing is silent for longer than ``EVERY_S``: where one step of the work takes longer, a line says that it goes on.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

log = logging.getLogger(__name__)


EVERY_S = 5.0
"""Seconds between two lines in a log."""
SELDOM_S = 10.0
"""The same for work of many hours."""
MARK = "::progress "
"""What a line of progress for a program starts with; JSON follows. Written where ``FTCORE_PROGRESS`` is ``json``."""


@contextmanager
def progress(what: str, total: int, done: int = 0, every_s: float | None = None) -> Iterator[Callable[..., None]]:
    """Show how far ``total`` units of work are done; ``done`` of them were before.

    Args:
        what: the work, in a few words.
        total: units of it.
        done: units that were done before.
        every_s: seconds between two lines in a log; ``EVERY_S`` by default.

    Yields:
        ``advance(count=1, note="", **facts)``: say that more units are done, with a short note such as the loss. Facts
        are for programs: numbers and texts by name.
    """
    clock = _Clock(total, done, EVERY_S if every_s is None else every_s)
    if _for_a_program():
        shown = _json(what, clock)
    else:
        shown = _bar(what, clock) if sys.stderr.isatty() else _lines(what, clock)
    with shown as advance:
        yield advance


@contextmanager
def busy(what: str, *, at_once: bool = True) -> Iterator[None]:
    """Show that work goes on of which nobody knows how far it is.

    Args:
        what: the work, in a few words.
        at_once: whether a log says so at the start, and not only once it takes longer than ``EVERY_S``.
    """
    if not _for_a_program() and sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status(what):
            yield
        return
    started = time.monotonic()
    if at_once:
        log.info("%s", what)
    with _beating(EVERY_S, lambda: log.info("%s: %.0f s so far", what, time.monotonic() - started)):
        yield


def _for_a_program() -> bool:
    return os.environ.get("FTCORE_PROGRESS") == "json"


@contextmanager
def _beating(every_s: float, say: Callable[[], None]) -> Iterator[threading.Event]:
    """Call ``say`` each time that ``every_s`` seconds have passed since its last call, or since the event was set."""
    heard, ended = threading.Event(), threading.Event()

    def beat() -> None:
        while not ended.is_set():
            if heard.wait(every_s):
                heard.clear()
            else:
                say()

    if every_s <= 0:
        yield heard
        return
    thread = threading.Thread(target=beat, name="progress", daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        ended.set()
        heard.set()
        thread.join()


@contextmanager
def _bar(what: str, clock: _Clock) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=clock.total, completed=clock.done, note="")

        def advance(count: int = 1, note: str | None = None, **facts: object) -> None:
            del facts
            bar.update(task, advance=count, **({} if note is None else {"note": note}))

        yield advance


@contextmanager
def _lines(what: str, clock: _Clock) -> Iterator[Callable[..., None]]:
    latest = ""

    def say() -> None:
        left = f", {clock.left_s:.0f} s left" if clock.done > clock.before else ""
        log.info("%s %s/%s%s%s", what, f"{clock.done:,}", f"{clock.total:,}", left, f"  {latest}" if latest else "")

    with _beating(clock.every_s, partial(_again, clock, say)) as heard:

        def advance(count: int = 1, note: str | None = None, **facts: object) -> None:
            nonlocal latest
            del facts
            latest = latest if note is None else note
            if clock.moved(count):
                heard.set()
                say()

        yield advance


@contextmanager
def _json(what: str, clock: _Clock) -> Iterator[Callable[..., None]]:
    known: dict[str, object] = {}

    def say() -> None:
        state = {"what": what, "done": clock.done, "total": clock.total, "left_s": round(clock.left_s), **known}
        print(MARK + json.dumps(state), file=sys.stderr, flush=True)

    with _beating(clock.every_s, partial(_again, clock, say)) as heard:

        def advance(count: int = 1, note: str | None = None, **facts: object) -> None:
            known.update(facts if note is None else {"note": note, **facts})
            if clock.moved(count):
                heard.set()
                say()

        yield advance


def _again(clock: _Clock, say: Callable[[], None]) -> None:
    """Say once more how far it is, for want of news."""
    clock.said += clock.every_s
    say()


class _Clock:
    """Counts what is done, and knows when it is time to say so again and how long the rest will take."""

    def __init__(self, total: int, done: int, every_s: float) -> None:
        self.total, self.done, self.before, self.every_s = total, done, done, every_s
        self.started = self.said = self.moment = time.monotonic()

    def moved(self, count: int) -> bool:
        self.done += count
        self.moment = time.monotonic()
        due = self.moment - self.said >= self.every_s
        if due:
            self.said = self.moment
        return due

    @property
    def left_s(self) -> float:
        return (self.moment - self.started) / max(self.done - self.before, 1) * (self.total - self.done)
