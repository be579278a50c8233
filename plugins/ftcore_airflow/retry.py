"""Which failures are tried again, and after how long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowException

from ftcore.errors import TransientError


class StepFailed(AirflowException):
    """The step said that a second try would fail as well."""


class StepInterrupted(AirflowException):
    """The step was killed or said that a second try may succeed; steps are idempotent, so trying again is safe."""


def failure(step: str, returncode: int, last_words: str, kills: int = 1) -> AirflowException:
    """The exception for a process that ended with something other than 0; ``kills`` of its tries ended by a signal."""
    if returncode < 0:
        kind = StepInterrupted if kills <= KILLS else StepFailed
        return kind(f"{step} was killed by signal {-returncode}" + (f", {kills} times" if kills > 1 else ""))
    kind = StepInterrupted if returncode == TransientError.exit_code else StepFailed
    return kind(f"{step} ended with exit code {returncode}" + (f": {last_words}" if last_words else ""))


KILLS = 3
"""Times that a step may be killed by a signal and is tried again: what takes all memory takes it each time."""
RETRIES: dict[str, Any] = {
    "retries": 10,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=2),
    "retry_policy": ExceptionRetryPolicy(
        rules=[
            RetryRule(exception=StepFailed, action=RetryAction.FAIL, reason="would fail again"),
            RetryRule(exception=StepInterrupted, action=RetryAction.DEFAULT, reason="may succeed the next time"),
        ]
    ),
}
"""Default arguments of every task: more tries after 10, 20, 40, 80 and then 120 s, for failures that may pass.

So many, since a service that is away for longer than a step's own patience, and each restart of Airflow, cost one.
"""
