"""An answer to a question that Airflow asks, given to Airflow as the person who is logged in.

It goes through Airflow's own REST API with the person's own token, so that Airflow checks the permission, keeps the
answer and names the person as it does for its own pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.configuration import conf

from ftcore.errors import FtcoreError, TransientError

if TYPE_CHECKING:
    from fastapi import Request

    from ftcore_airflow.pages.access import Question

OPTIONS = {"approve": "Approve", "reject": "Reject"}
"""Airflow's names of the answers."""
TIMEOUT_S = 20.0


def give(request: Request, question: Question, decision: str, reason: str) -> None:
    """Answer a question.

    Args:
        request: of the person, whose token is passed on.
        question: what Airflow asks.
        decision: ``approve`` or ``reject``.
        reason: why; may be empty for an approval.

    Raises:
        FtcoreError: Airflow refuses the answer, and why.
        TransientError: Airflow's API cannot be reached.
    """
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    given = request.headers.get("Authorization", "")
    token = given if given.lower().startswith("bearer ") else f"Bearer {request.cookies.get(COOKIE_NAME_JWT_TOKEN, '')}"
    body = {"chosen_options": [OPTIONS[decision]], "params_input": {"reason": reason or None}}
    try:
        answer = httpx.patch(f"{base}{question.api}", json=body, headers={"Authorization": token}, timeout=TIMEOUT_S)
    except httpx.HTTPError as error:
        raise TransientError(f"Airflow's API at {base} does not answer, so the answer was not given.") from error
    if answer.status_code != 200:
        raise FtcoreError(f"Airflow did not take the answer: {_detail(answer)}")


def _detail(answer: httpx.Response) -> str:
    try:
        found = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"
    return found if isinstance(found, str) else f"status {answer.status_code}"
