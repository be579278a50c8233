"""How long work waits for a service that is away, and what counts as away."""

from __future__ import annotations

import errno
import logging
import threading
import time
from typing import Any

import pytest

from ftcore.errors import AwayError, BusyError, DataRejectedError, FtcoreError, StoppedError
from ftcore.store import patience


class Flaky:
    """Fails so many times, then gives its answer."""

    def __init__(self, failures: int, error: BaseException | None = None) -> None:
        self.left, self.calls = failures, 0
        self.error = error or AwayError("away")

    def __call__(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return "answer"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(patience, "LONGEST_WAIT_S", 0.02)


def away(error: BaseException) -> bool:
    return isinstance(error, AwayError)


def test_without_patience_nothing_is_asked_twice() -> None:
    flaky = Flaky(1)
    with pytest.raises(AwayError):
        patience.ask(flaky, away, "MLflow")
    assert flaky.calls == 1


def test_an_outage_is_waited_for_and_told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("ftcore"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("ftcore"), "handlers", [])
    with patience.lasting(5), caplog.at_level(logging.INFO, "ftcore"):
        assert patience.ask(Flaky(3), away, "MLflow at there") == "answer"
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "MLflow at there does not answer; waiting up to 5 s: away"
    assert said[-1].startswith("MLflow at there answers again, after ")
    assert len(said) == 2, "said once in a while, not each time"


def test_patience_ends_and_a_fault_is_no_outage() -> None:
    started, endless = time.monotonic(), Flaky(10**6)
    with patience.lasting(0.2), pytest.raises(AwayError):
        patience.ask(endless, away, "MLflow")
    assert time.monotonic() - started >= 0.2
    assert endless.calls > 1
    fault = Flaky(1, ValueError("wrong"))
    with patience.lasting(5), pytest.raises(ValueError, match="wrong"):
        patience.ask(fault, away, "MLflow")
    assert fault.calls == 1


def test_a_thread_beside_the_work_is_not_patient() -> None:
    flaky, raised = Flaky(1), list[BaseException]()

    def work() -> None:
        try:
            patience.ask(flaky, away, "MLflow")
        except AwayError as error:
            raised.append(error)

    with patience.lasting(60):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(raised) == flaky.calls == 1


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (AwayError("the source is away"), 3),
        (ConnectionResetError("the store is away"), 3),
        (AwayError("MLflow was waited for already", waited=True), 1),
        (BusyError("another run is at work"), 1),
        (StoppedError("stopped by a signal"), 1),
        (DataRejectedError("bad rows"), 1),
        (ValueError("a fault of ours"), 1),
        (FileNotFoundError("no such file"), 1),
    ],
)
def test_a_step_is_done_again_for_an_outage_alone(error: Exception, calls: int) -> None:
    flaky = Flaky(2, error)
    with patience.lasting(60):
        if calls == 3:
            assert patience.through(flaky) == "answer"
        else:
            with pytest.raises(type(error)):
                patience.through(flaky)
    assert flaky.calls == calls


def test_an_error_of_the_store_is_one_of_ours_once_patience_is_over() -> None:
    with pytest.raises(AwayError, match="a service is away: nobody there") as told:
        patience.through(Flaky(9, ConnectionRefusedError("nobody there")))
    assert told.value.exit_code == 75


def test_work_before_an_outage_is_no_wait() -> None:
    """A step that worked for longer than its patience and then met an outage is still patient."""
    flaky = Flaky(1)

    def work() -> str:
        time.sleep(0.15)
        return flaky()

    with patience.lasting(0.1):
        assert patience.through(work) == "answer"


def answered(status: int) -> Exception:
    from botocore.exceptions import ClientError

    return ClientError({"Error": {}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")


def endpoint() -> Exception:
    from botocore.exceptions import EndpointConnectionError

    return EndpointConnectionError(endpoint_url="http://nowhere")


def wrapped(error: Exception) -> Exception:
    outer = OSError("cannot write")
    outer.__cause__ = error
    return outer


OUTAGES: list[Any] = [endpoint(), answered(500), answered(503), answered(429), TimeoutError(), BrokenPipeError()]
OUTAGES += [OSError(errno.EHOSTUNREACH, "no route"), wrapped(endpoint()), wrapped(answered(503))]
FAULTS: list[Any] = [answered(403), answered(404), answered(400), OSError(errno.ENOSPC, "full"), KeyError("x")]
FAULTS += [PermissionError(), FtcoreError("ours"), wrapped(answered(403))]


@pytest.mark.parametrize("error", OUTAGES, ids=repr)
def test_outages(error: Exception) -> None:
    assert patience.is_outage(error)


@pytest.mark.parametrize("error", FAULTS, ids=repr)
def test_faults(error: Exception) -> None:
    assert not patience.is_outage(error)
