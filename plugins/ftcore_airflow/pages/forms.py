"""The routes that change something: a form, a second step that shows what will be, and the ledger's line of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Form, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.background import BackgroundTask

from ftcore import settings
from ftcore.errors import FtcoreError
from ftcore_airflow.pages import access, actions, answers, changes, reading, rendering, seal
from ftcore_airflow.pages.access import Permitted, User

Name = Annotated[str, Path(pattern=f"^({'|'.join(actions.ACTIONS)})$")]
Number = Annotated[int | None, Query(ge=1, le=10**9)]
NOT_ALLOWED = "You may read the pages of {recipe}, but not do this: it needs {needed}."


def _proposal(
    request: Request, recipe: Permitted, action: Name, user: User, version: Number = None
) -> actions.Proposal:
    """What the person wants to do, if they may.

    Raises:
        HTTPException: 403 without the right, 404 where the action is about a version and none, or an unknown one, is
            named, 400 where it is about the model and a version is named.
    """
    conf = settings.load()
    known = actions.ACTIONS[action]
    if known.of_version != (version is not None):
        raise HTTPException(404 if known.of_version else 400, f"{known.title}: the address does not fit the action.")
    state = actions.State.read(conf, recipe)
    if version is not None and version not in state.versions:
        raise HTTPException(404, f"{recipe} has no version {version}.")
    run = state.versions[version]["run_id"] if version is not None else None
    question = next((one for one in access.questions([recipe]).get(recipe, []) if run and one.run == run), None)
    wanted = actions.Proposal(known, reading.product(conf, recipe), state, version, question)
    if not wanted.allowed(access.rights(user, recipe)):
        raise HTTPException(403, NOT_ALLOWED.format(recipe=recipe, needed=wanted.needed))
    return wanted


Wanted = Annotated[actions.Proposal, Depends(_proposal)]


class Sent(BaseModel):
    """What the person's browser sent."""

    token: Annotated[str, Field(max_length=500)] = ""
    reason: Annotated[str, Field(max_length=20_000)] = ""
    confirmed: Annotated[str, Field(max_length=3)] = ""


def show_form(request: Request, user: User, wanted: Wanted) -> Response:
    """Ask for the reason."""
    return _form(request, user, wanted)


def take_form(request: Request, user: User, wanted: Wanted, sent: Annotated[Sent, Form()]) -> Response:
    """Show what will be done; or, where that was confirmed, do it."""
    facts = wanted.facts(str(user.get_id()))
    try:
        reason = changes.plain(sent.reason)
        seal.check(request, sent.token, facts | ({"reason": reason} if sent.confirmed else {}))
    except (seal.ForgedError, ValueError) as error:
        return _form(request, user, wanted, fault=str(error), reason=sent.reason, status=400)
    if wanted.obstacle_for(access.name_of(user)):
        return _form(request, user, wanted, reason=reason, status=409)
    if wanted.action.reason_needed and not reason:
        return _form(request, user, wanted, fault="Give a reason: it is kept in the ledger.", status=400)
    if sent.confirmed:
        return _done(request, user, wanted, reason)
    token = seal.sign(facts | {"reason": reason})
    person = access.name_of(user)
    return rendering.page(request, "confirm.html", wanted=wanted, person=person, reason=reason, token=token)


def _done(request: Request, user: Any, wanted: actions.Proposal, reason: str) -> Response:
    recipe, conf = wanted.product.name, settings.load()
    try:
        if wanted.through_airflow and wanted.question:
            answers.give(request, wanted.question, wanted.action.name, reason)
            return rendering.to(request, f"/models/{recipe}/decisions/{wanted.question.run}?answered=yes")
        line = changes.carry_out(conf, wanted, access.name_of(user), reason)
    except FtcoreError as error:
        fault = f"Nothing was changed: {error.args[0]}."
        return _form(request, user, wanted, fault=fault, reason=reason, status=503 if error.retryable else 409)
    response = rendering.to(request, f"/models/{recipe}/decisions/{line['run_id']}")
    response.background = BackgroundTask(changes.refresh_cards, conf, wanted, line)
    return response


def _form(
    request: Request, user: Any, wanted: actions.Proposal, *, fault: str = "", reason: str = "", status: int = 200
) -> Response:
    token = seal.sign(wanted.facts(str(user.get_id())))
    person = access.name_of(user)
    values: dict[str, Any] = {"wanted": wanted, "person": person, "fault": fault, "reason": reason, "token": token}
    values["obstacle"] = wanted.obstacle_for(person)
    return rendering.page(request, "action.html", status, **values)


FORMS: dict[str, Callable[..., Response]] = {"/models/{recipe}/actions/{action}": show_form}
"""Each is read, and sent to the same address."""
