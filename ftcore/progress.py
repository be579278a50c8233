"""Progress of long work: a bar in a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ftcore.context import log

EVERY_S = 10.0
"""Seconds between two lines in a log."""


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[..., None]]:
    """Show how far ``total`` units of work are done.

    Yields:
        ``advance(count=1, note="")``: say that more units are done, with a short note such as the loss.
    """
    shown = _bar(what, total) if sys.stderr.isatty() else _lines(what, total)
    with shown as advance:
        yield advance


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[..., None]]:
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
        task = bar.add_task(what, total=total, note="")
        yield lambda count=1, note=None: bar.update(task, advance=count, **({} if note is None else {"note": note}))


@contextmanager
def _lines(what: str, total: int) -> Iterator[Callable[..., None]]:
    started = said = time.monotonic()
    done, latest = 0, ""

    def advance(count: int = 1, note: str | None = None) -> None:
        nonlocal done, said, latest
        done += count
        latest = latest if note is None else note
        moment = time.monotonic()
        if moment - said >= EVERY_S:
            said = moment
            left_s = (moment - started) / max(done, 1) * (total - done)
            log.info(
                "%s %s/%s, %.0f s left%s", what, f"{done:,}", f"{total:,}", left_s, f"  {latest}" if latest else ""
            )

    yield advance
