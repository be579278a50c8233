"""Forms that only we have made: each holds a token for one person, one action and one state of the registry.

Airflow's session cookie is ``SameSite=Lax``, so that a form of another site comes without it. The token is the second
lock: a page that cannot read ours has none. It also ends a decision that was made on what is true no longer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from itsdangerous import BadSignature, URLSafeTimedSerializer

from ftcore.errors import FtcoreError
from ftcore.recipe.canonical import canonical, sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

LASTS_S = 3600
"""How long a form may stay open, in seconds."""
OWN = frozenset({"same-origin", "none"})


class ForgedError(FtcoreError):
    """A form that we did not make, or not for this person, this action or this state."""


def sign(facts: Mapping[str, Any]) -> str:
    """The token of a form, for some facts."""
    return str(_signer().dumps(_digest(facts)))


def check(request: Request, token: str, facts: Mapping[str, Any]) -> None:
    """Refuse a form whose token was not made for these facts.

    Raises:
        ForgedError: another site sent it, it is too old, or it was made for something else.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in OWN:
        raise ForgedError("This form was sent by another site, so nothing was done.")
    try:
        signed = _signer().loads(token, max_age=LASTS_S)
    except BadSignature:
        signed = ""
    if signed != _digest(facts):
        raise ForgedError("This form is out of date or was not made for you, so nothing was done. Open it again.")


def _digest(facts: Mapping[str, Any]) -> str:
    return sha256(canonical(dict(facts)))


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(conf.get_mandatory_value("api", "secret_key"), salt="ftcore-pages")
