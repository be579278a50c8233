"""Points of a curve on their way to MLflow: kept in a file until it has them, and sent by a thread of their own."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from ftcore.errors import AwayError, FtcoreError
from ftcore.store import patience

log = logging.getLogger(__name__)
AGAIN_S = 5.0
"""Seconds until MLflow is tried again after it did not answer."""
LAST_S = 2.0
"""Seconds that a request under way is waited for where the work has failed."""
FULL = 2_000
"""Points that are sent together at most."""
Point: TypeAlias = tuple[int, dict[str, float], float]
"""A step, its metrics and its time in seconds since 1970."""
Track: TypeAlias = Callable[[Sequence[Point]], None]


class Buffer:
    """Takes points at once, whether MLflow is there or not."""

    def __init__(self, file: Path, send: Track) -> None:
        """Read what an earlier process could not send; ``send`` is called with the points of each batch, in order."""
        self.file, self._send = file, send
        self.left = _read(file)
        """Points of an earlier process."""
        self._waiting = list(self.left)
        self._change = threading.Condition()
        self._ended = False
        self._fault: FtcoreError | None = None
        self._thread = threading.Thread(target=self._work, name="curve", daemon=True)

    def start(self) -> None:
        """Start to send; a line that a crash cut off is taken out of the file, so that no other is joined to it."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        if self.file.exists():
            self._rewrite()
        self._thread.start()

    def add(self, points: Sequence[Point]) -> None:
        """Keep points and send them when MLflow answers.

        Raises:
            FtcoreError: MLflow refused earlier ones.
        """
        points = [point for point in points if point[1]]
        with self._change:
            if self._fault:
                raise self._fault
            with self.file.open("a", encoding="utf-8") as out:
                out.writelines(json.dumps(point) + "\n" for point in points)
                out.flush()
                os.fsync(out.fileno())
            self._waiting += points
            self._change.notify()

    def close(self) -> None:
        """Send what is left, for as long as the patience of this thread lasts.

        Raises:
            AwayError: MLflow is away; the file keeps the points for the next try.
            FtcoreError: MLflow refuses them.
        """
        self._stop()
        self._thread.join()
        if self._fault:
            raise self._fault
        while self._waiting:
            self._send_some()
        self.file.unlink(missing_ok=True)

    def give_up(self) -> None:
        """Send what can be sent at once; the file keeps the rest.

        Raises:
            FtcoreError: MLflow is away, or refuses it.
        """
        self._stop()
        self._thread.join(timeout=LAST_S)
        if not self._thread.is_alive():  # else a request is under way that nobody answers
            self.close()

    def _stop(self) -> None:
        with self._change:
            self._ended = True
            self._change.notify()

    def _work(self) -> None:
        told = False
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._ended)
                if self._ended:
                    return
            try:
                self._send_some()
            except AwayError as error:
                if not told:
                    log.warning("%s; the curve is kept in %s until it does", error.args[0], self.file)
                told = True
                with self._change:
                    self._change.wait_for(lambda: self._ended, AGAIN_S)
            except FtcoreError as error:
                self._fault = error
                return
            else:
                if told:
                    log.info("MLflow answers again; the curve is sent")
                told = False

    def _send_some(self) -> None:
        batch = self._waiting[:FULL]
        self._send(batch)
        with self._change:
            del self._waiting[: len(batch)]
            self._rewrite()

    def _rewrite(self) -> None:
        draft = self.file.with_suffix(".draft")
        with draft.open("w", encoding="utf-8") as out:
            out.writelines(json.dumps(point) + "\n" for point in self._waiting)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(self.file)


@contextmanager
def buffered(file: Path, send: Track) -> Iterator[Buffer]:
    """A buffer that is empty when the block ends well; where it raises, the file keeps what cannot be sent at once."""
    buffer = Buffer(file, send)
    buffer.start()
    try:
        yield buffer
    except BaseException:
        with suppress(FtcoreError), patience.lasting(0):
            buffer.give_up()
        raise
    buffer.close()


def _read(file: Path) -> list[Point]:
    """Points in a file; a line that a crash cut off is left out."""
    found: list[Point] = []
    if not file.exists():
        return found
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            step, metrics, at = json.loads(line)
        except ValueError:
            continue
        found.append((int(step), dict(metrics), float(at)))
    return found
