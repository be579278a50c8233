"""Who may see and do what, and what waits for a person: asked of Airflow, where users and their rights are kept.

Whoever may read the DAG ``finetune__R`` may read the pages of recipe R; nobody else learns that R exists. What else a
person may do is in ``Rights``; each route that does it asks again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, get_user
from airflow.configuration import conf
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from fastapi import Depends, HTTPException, Path, Request

from ftcore.recipe.model import NAME
from ftcore.store.store import run_name

LOGGED_IN = Depends(get_user)
"""Every route depends on this: without a valid token of Airflow's the answer is 401 or 403."""
WAITS = "awaiting_input"
HASHED = re.compile(r"-[0-9a-f]{8}\Z")
"""End of a run's name that is not Airflow's own: see ``store.run_name``."""


def dag_of(recipe: str) -> str:
    """The DAG whose permission decides about a recipe."""
    return f"finetune__{recipe}"


def may_read(user: Any, recipe: str) -> bool:
    """Whether a user may read a recipe's DAG."""
    dag_id = dag_of(recipe)
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return bool(get_auth_manager().is_authorized_dag(method="GET", details=details, user=user))


def readable(user: Any, recipes: Iterable[str]) -> list[str]:
    """Those of some recipes that a user may read, in their order."""
    names = list(recipes)
    teams = DagModel.get_dag_id_to_team_name_mapping([dag_of(name) for name in names])
    by_team: dict[str | None, set[str]] = {}
    for name in names:
        by_team.setdefault(teams.get(dag_of(name)), set()).add(dag_of(name))
    allowed: set[str] = set()
    for team, dag_ids in by_team.items():
        allowed |= get_auth_manager().filter_authorized_dag_ids(dag_ids=dag_ids, user=user, team_name=team)
    return [name for name in names if dag_of(name) in allowed]


def permitted(recipe: Annotated[str, Path(pattern=NAME.pattern.replace(r"\Z", "$"))], user: GetUserDep) -> str:
    """The recipe of the path, for those who may read it.

    Raises:
        HTTPException: 403 for others, whether or not there is such a recipe.
    """
    if not may_read(user, recipe):
        raise HTTPException(403, f"You may not read {recipe}: this needs the permission to read {dag_of(recipe)}.")
    return recipe


Permitted = Annotated[str, Depends(permitted)]
User = GetUserDep


@dataclass(frozen=True)
class Rights:
    """What a user may do with one recipe besides reading its pages: each is a right of Airflow's auth manager."""

    export: bool = False
    """Download evidence and the ledger: may read the audit log of ``finetune__R``."""
    hold: bool = False
    """Pause automatic promotion: may edit ``finetune__R``, which is the right to pause the DAG as well."""
    answer: bool = False
    """Approve or reject where Airflow asks: may answer the required actions of ``finetune__R``."""
    change: bool = False
    """Roll back, reject and resume automatic promotion: may answer, and may create events of assets, which is what the
    champion is for the DAGs."""


def rights(user: Any, recipe: str) -> Rights:
    """What a user may do with a recipe, by Airflow's auth manager."""
    dag_id, manager = dag_of(recipe), get_auth_manager()
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))

    def may(method: Any, entity: DagAccessEntity | None = None) -> bool:
        return bool(manager.is_authorized_dag(method=method, access_entity=entity, details=details, user=user))

    answer = may("PUT", DagAccessEntity.HITL_DETAIL)
    change = answer and bool(manager.is_authorized_asset(method="POST", user=user))
    return Rights(may("GET", DagAccessEntity.AUDIT_LOG), may("PUT"), answer, change)


def exportable(user: Any, recipes: Iterable[str]) -> list[str]:
    """Those of some recipes whose ledger and evidence a user may download."""
    names, manager = list(recipes), get_auth_manager()
    teams = DagModel.get_dag_id_to_team_name_mapping([dag_of(name) for name in names])

    def may(name: str) -> bool:
        details = DagDetails(id=dag_of(name), team_name=teams.get(dag_of(name)))
        entity = DagAccessEntity.AUDIT_LOG
        return bool(manager.is_authorized_dag(method="GET", access_entity=entity, details=details, user=user))

    return [name for name in names if may(name)]


def name_of(user: Any) -> str:
    """Name under which Airflow keeps what a user answers, and under which the ledger names them."""
    return str(user.get_name())


@dataclass(frozen=True)
class Question:
    """A required action of Airflow that waits for an answer."""

    recipe: str
    run: str
    """Name of the run in the store."""
    subject: str
    url: str
    """Where Airflow takes the answer."""
    api: str = ""
    """Path of the question in Airflow's REST API."""


def questions(recipes: Iterable[str]) -> dict[str, list[Question]]:
    """Open approvals by recipe, oldest first: one query for all of them."""
    from sqlalchemy import select

    names = {dag_of(name): name for name in recipes}
    wanted = (
        select(TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, HITLDetail.subject)
        .join(HITLDetail, HITLDetail.ti_id == TaskInstance.id)
        .where(HITLDetail.responded_at.is_(None), TaskInstance.state == WAITS, TaskInstance.dag_id.in_(names))
        .order_by(HITLDetail.created_at)
    )
    found: dict[str, list[Question]] = {}
    with create_session() as session:
        for dag_id, run_id, task_id, subject in session.execute(wanted):
            url = f"{_run_url(dag_id, run_id)}/tasks/{quote(task_id, safe='')}/required_actions"
            ids = (quote(one, safe="") for one in (dag_id, run_id, task_id))
            api = "/api/v2/dags/{}/dagRuns/{}/taskInstances/{}/-1/hitlDetails".format(*ids)
            recipe = names[dag_id]
            found.setdefault(recipe, []).append(Question(recipe, run_name("finetune", run_id), subject, url, api))
    return found


def run_url(recipe: str, run: str, verb: str = "finetune") -> str:
    """Airflow's page of the DAG run that has this name in the store; empty where there is none."""
    from sqlalchemy import or_, select

    dag_id, given = f"{verb}__{recipe}", run.removeprefix(f"{verb}-")
    of_that_name = DagRun.run_id == given
    if HASHED.search(given):  # or one with a character that no path holds, in whose place a "-" stands
        of_that_name = or_(of_that_name, DagRun.run_id.like(f"{given[:-9].replace('-', '_')}%"))
    wanted = select(DagRun.run_id).where(DagRun.dag_id == dag_id, of_that_name)
    with create_session() as session:
        found = next((one for one in session.scalars(wanted) if run_name(verb, one) == run), None)
    return _run_url(dag_id, found) if found else ""


def base_path() -> str:
    """Path of Airflow's UI, such as ``/airflow``; empty where it has the whole host."""
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


def _run_url(dag_id: str, run_id: str) -> str:
    return f"{base_path()}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def login_url(request: Request) -> str:
    """Where one logs in; afterwards it goes on to the page that was asked for."""
    url = get_auth_manager().get_url_login()
    return f"{url}{'&' if '?' in url else '?'}next={quote(request.url.path, safe='/')}"
