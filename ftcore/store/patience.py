"""How long work waits for a service that is away: one policy for MLflow, the store and the sources.

A step is as patient as ``FTCORE_PATIENCE_S`` says; a command that somebody types, a page and a thread beside the work
are not patient at all. Within its patience a step asks again, ever later, and says so; an outage that is shorter costs
a wait and no try of the scheduler's.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from ftcore.errors import AwayError, FtcoreError, without_passwords

if TYPE_CHECKING:
    from tenacity import RetryCallState

log = logging.getLogger(__name__)
FIRST_WAIT_S, LONGEST_WAIT_S, SAY_EVERY_S = 0.5, 10.0, 30.0
_REMOTE = frozenset({"aiobotocore", "aiohttp", "botocore", "fsspec", "google", "gcsfs", "adlfs", "azure", "urllib3"})
"""Packages that speak to a store on another machine."""
_ABOUT_US = frozenset({400, 401, 403, 404, 405, 409, 411, 412, 416})
"""Answers of a server that says what is wrong with the request: no wait helps."""
_NETWORK = frozenset(
    {errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.ESTALE}
    | {errno.EPIPE, errno.EREMOTEIO}
)
_patience_s: ContextVar[float] = ContextVar("ftcore_patience_s", default=0.0)
T = TypeVar("T")


@contextmanager
def lasting(seconds: float) -> Iterator[None]:
    """Within it, this thread waits up to so many seconds for each service that is away."""
    before = _patience_s.set(seconds)
    try:
        yield
    finally:
        _patience_s.reset(before)


def ask(
    call: Callable[[], T],
    is_away: Callable[[BaseException], bool],
    who: str,
    words: Callable[[object], str] = without_passwords,
) -> T:
    """Call it, and again while the service is away, for as long as the patience lasts.

    Args:
        call: what may be done twice.
        is_away: whether an error means that the service is away, and not that the request is wrong.
        who: the service, as a person knows it.
        words: an error's text, fit for a log.

    Raises:
        Exception: what the last call raised.
    """
    patience_s = _patience_s.get()
    return _Outage(who, patience_s, words=words).asking(call, is_away) if patience_s else call()


def through(work: Callable[[], T]) -> T:
    """Do work that may be done twice from its start, such as a step, and again where a service was away.

    Only waiting counts: what the work itself took says nothing about the outage.

    Raises:
        AwayError: a service was away for longer than the patience lasts.
    """

    def spoken() -> T:
        try:
            return work()
        except Exception as error:
            if isinstance(error, FtcoreError) or not is_outage(error):
                raise
            raise AwayError(f"a service is away: {_words(error)}") from error

    patience_s = _patience_s.get()
    if not patience_s:
        return spoken()
    outage = _Outage("a service", patience_s, only_waits=True)
    return outage.asking(spoken, lambda error: isinstance(error, AwayError) and not error.waited)


def is_outage(error: BaseException) -> bool:
    """Whether an error of a store or a network means that the other side is away, and would come back."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        if _is_outage(one):
            return True
        one = one.__cause__ or one.__context__
    return False


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, FtcoreError | FileNotFoundError | PermissionError | FileExistsError | IsADirectoryError):
        return False
    status = _status(error)
    if status is not None:
        return status not in _ABOUT_US
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in _NETWORK:
        return True
    name = type(error).__name__
    remote = type(error).__module__.split(".")[0] in _REMOTE
    return remote and any(word in name for word in ("Connect", "Timeout", "HTTPClient", "Payload", "Disconnected"))


def _status(error: BaseException) -> int | None:
    """What a server answered, where it did."""
    answer = getattr(error, "response", None)
    found = answer.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(answer, dict) else None
    found = found or getattr(error, "status", None)
    return found if isinstance(found, int) and found >= 400 else None


class _Outage:
    """One wait for a service that is away."""

    def __init__(
        self,
        who: str,
        patience_s: float,
        *,
        only_waits: bool = False,
        words: Callable[[object], str] = without_passwords,
    ) -> None:
        self.who, self.patience_s, self.only_waits, self.words = who, patience_s, only_waits, words
        self.since: float | None = None
        self.said_s = 0.0

    def asking(self, call: Callable[[], T], is_away: Callable[[BaseException], bool]) -> T:
        from tenacity import Retrying, retry_if_exception, wait_exponential

        wait = wait_exponential(FIRST_WAIT_S, max=min(LONGEST_WAIT_S, max(self.patience_s, FIRST_WAIT_S)))
        trying = Retrying(
            retry=retry_if_exception(is_away), wait=wait, stop=self._is_over, before_sleep=self._say, reraise=True
        )
        answer = trying(call)
        if self.since is not None:
            log.info("%s answers again, after %.0f s", self.who, time.monotonic() - self.since)
        return answer

    def _is_over(self, state: RetryCallState) -> bool:
        self.since = time.monotonic() if self.since is None else self.since
        waited = state.idle_for if self.only_waits else time.monotonic() - self.since
        return waited >= self.patience_s

    def _say(self, state: RetryCallState) -> None:
        waited = time.monotonic() - (self.since or 0.0)
        if state.attempt_number > 1 and waited - self.said_s < SAY_EVERY_S:
            return
        self.said_s = waited
        error = state.outcome.exception() if state.outcome else None
        so_far = f", {waited:.0f} s so far" if waited >= 1 else ""
        log.warning(
            "%s does not answer; waiting up to %g s%s: %s", self.who, self.patience_s, so_far, _words(error, self.words)
        )


def _words(error: BaseException | None, words: Callable[[object], str] = without_passwords) -> str:
    text = words(error).strip() if error else ""
    return (text or type(error).__name__).splitlines()[0][:120]
