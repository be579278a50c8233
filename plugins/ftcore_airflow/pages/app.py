"""The web application that Airflow's API server mounts: thin routes, all of them behind Airflow's login."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date
from functools import cache
from pathlib import Path as File
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from ftcore import settings
from ftcore.errors import FtcoreError, TransientError
from ftcore.recipe import NAME
from ftcore.store import RUN_ID, run_name
from ftcore_airflow.pages import access, decisions, examples, overview, reading, reports, runs, version, versions
from ftcore_airflow.pages.access import LOGGED_IN, Permitted, User
from ftcore_airflow.pages.formats import FILTERS

if TYPE_CHECKING:
    from jinja2 import Environment

STATIC = File(__file__).parent / "static"
FILES = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}
RunId = Annotated[str, Path(pattern=RUN_ID.pattern.replace(r"\Z", "$"))]
Number = Annotated[int, Path(ge=1, le=10**9)]
PageNumber = Annotated[int, Query(ge=1, le=10**6)]
Word = Annotated[str, Query(max_length=100)]


@asynccontextmanager
async def _warmed(_: FastAPI) -> AsyncIterator[None]:
    threading.Thread(target=warm, name="ftcore-pages", daemon=True).start()
    yield


def warm() -> None:
    """Import MLflow, read the ledgers and compile the templates, so that the first visitor does not wait for them."""
    for name in _templates().list_templates():
        _templates().get_template(name)
    try:
        conf, trouble = settings.load(), list[str]()
        overview.overview(conf, overview.names(conf, trouble), {}, trouble=trouble)
    except (FtcoreError, OSError):
        return  # the pages will say what is wrong


def create_app() -> FastAPI:
    """The pages. There is no documentation route, which would be open to everybody."""
    made = FastAPI(
        title="ftcore",
        dependencies=[LOGGED_IN],
        lifespan=_warmed,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        default_response_class=HTMLResponse,
    )
    made.middleware("http")(_with_headers)
    for error in (AnyHTTPException, RequestValidationError, FtcoreError):
        made.exception_handler(error)(_error)
    for path, route in ROUTES.items():
        made.get(path)(route)
    return made


async def _with_headers(request: Request, following: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await following(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _error(request: Request, error: Exception) -> Response:
    if isinstance(error, AnyHTTPException):
        status, message = error.status_code, str(error.detail)
    elif isinstance(error, TransientError):
        status, message = 503, str(error)
    elif isinstance(error, version.NoSuchVersionError):
        status, message = 404, str(error)
    elif isinstance(error, RequestValidationError):
        status, message = 404, "There is no such page."
    else:
        status, message = 500, str(error)
    login = access.login_url(request) if status == 401 else ""
    return _page(request, "error.html", status, message=message, login=login)


@cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("ftcore_airflow.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= FILTERS
    return made


def _page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    root = request.scope.get("root_path", "").rstrip("/")
    text = _templates().get_template(template).render(root=root, airflow=access.base_path(), status=status, **values)
    return HTMLResponse(text, status)


def show_overview(request: Request, user: User, q: Word = "", page: PageNumber = 1) -> Response:
    """All models and their state."""
    conf, trouble = settings.load(), list[str]()
    found = overview.names(conf, trouble)
    mine = {name: found[name] for name in access.readable(user, found)}
    view = overview.overview(conf, mine, access.questions(mine), query=q, page=page, trouble=trouble)
    return _page(request, "overview.html", view=view, q=q)


def show_ledger(
    request: Request,
    user: User,
    recipe: Word = "",
    step: Word = "",
    outcome: Word = "",
    first: Annotated[str, Query(alias="from", max_length=10)] = "",
    last: Annotated[str, Query(alias="to", max_length=10)] = "",
    page: PageNumber = 1,
) -> Response:
    """The ledger with filters."""
    conf = settings.load()
    names = access.readable(user, [one.name for one in reading.products(conf)])
    wanted = decisions.Wanted(recipe, step, outcome, _day(first), _day(last), page)
    return _page(request, "ledger.html", view=decisions.decisions(conf, names, wanted))


def show_model(request: Request, recipe: Permitted, page: PageNumber = 1) -> Response:
    """One model with its versions."""
    product = _product(recipe)
    view = versions.versions(settings.load(), product, page)
    return _page(request, "model.html", view=view, questions=access.questions([recipe]).get(recipe, []))


def show_version(request: Request, recipe: Permitted, number: Number, form: Word = "") -> Response:
    """One version beside the one it was compared with."""
    view = version.version(settings.load(), _product(recipe), number, form)
    open_ones = access.questions([recipe]).get(recipe, [])
    question = next((one for one in open_ones if one.run == view.facts["run_id"]), None)
    run_url = access.run_urls(recipe).get(view.facts["run_id"], "")
    return _page(request, "version.html", view=view, question=question, run_url=run_url)


def show_examples(
    request: Request, recipe: Permitted, number: Number, show: Word = "", dataset: Word = "", page: PageNumber = 1
) -> Response:
    """Rows on which the two disagree."""
    product, conf = _product(recipe), settings.load()
    found = version.facts(conf, product, number)
    shelf = reading.shelf_of(conf, recipe)
    view, trouble = None, ""
    try:
        if found["run_id"]:
            view = examples.examples(shelf, product, found["run_id"], kind=show, dataset=dataset, page=page)
    except ValueError as error:
        trouble = f"The predictions cannot be read: {error}."
    kinds = examples.KINDS
    return _page(request, "examples.html", product=product, number=number, view=view, trouble=trouble, kinds=kinds)


def show_run(request: Request, recipe: Permitted, run_id: RunId) -> Response:
    """What the steps of a run said."""
    product, conf = _product(recipe), settings.load()
    view = runs.run(reading.shelf_of(conf, recipe), run_id)
    verb = view.verb if view.verb in ("data", "finetune", "monitor") else "finetune"
    run_url = access.run_urls(recipe, verb).get(run_id, "")
    return _page(request, "run.html", product=product, view=view, run_url=run_url)


def show_report(request: Request, recipe: Permitted, run_id: RunId, kind: str) -> Response:
    """A report in a frame of its own."""
    return _page(request, "report.html", product=_product(recipe), run_id=run_id, report=_report(recipe, run_id, kind))


def show_report_content(recipe: Permitted, run_id: RunId, kind: str) -> Response:
    """The report itself, which may do nothing but draw."""
    report = _report(recipe, run_id, kind)
    return Response(
        report.path.read_bytes(), media_type="text/html", headers={"Content-Security-Policy": reports.POLICY}
    )


def show_dag(request: Request, user: User, dag_id: str) -> Response:
    """The tab of a DAG: its model."""
    return _to(request, f"/models/{_recipe_of(dag_id, user)}")


def show_dag_run(request: Request, user: User, dag_id: str, run_id: str) -> Response:
    """The tab of a DAG run: the version that it made, else what its steps said."""
    recipe, verb = _recipe_of(dag_id, user), dag_id.partition("__")[0]
    name = run_name(verb, run_id)
    found = runs.run(reading.shelf_of(settings.load(), recipe), name)
    evaluated = any(step.name == "evaluate" and step.record for step in found.steps)
    if found.version and evaluated:
        return _to(request, f"/models/{recipe}/versions/{found.version}")
    return _to(request, f"/models/{recipe}/runs/{name}")


def show_file(name: str) -> Response:
    """The style sheet, the script and the icon."""
    if name not in FILES:
        raise HTTPException(404, "There is no such file.")
    return FileResponse(STATIC / name, media_type=FILES[name], headers={"Cache-Control": "private, max-age=600"})


ROUTES: dict[str, Callable[..., Response]] = {
    "/": show_overview,
    "/ledger": show_ledger,
    "/models/{recipe}": show_model,
    "/models/{recipe}/versions/{number}": show_version,
    "/models/{recipe}/versions/{number}/examples": show_examples,
    "/models/{recipe}/runs/{run_id}": show_run,
    "/models/{recipe}/runs/{run_id}/reports/{kind}": show_report,
    "/models/{recipe}/runs/{run_id}/reports/{kind}/content": show_report_content,
    "/dags/{dag_id}": show_dag,
    "/dags/{dag_id}/runs/{run_id:path}": show_dag_run,
    "/static/{name}": show_file,
}


def _product(recipe: str) -> reading.Product:
    conf = settings.load()
    product = reading.product(conf, recipe)
    there = (conf.recipes / f"{recipe}.yaml").is_file() or reading.shelf_of(conf, recipe).root.exists()
    if not there:
        raise HTTPException(404, f"There is no model called {recipe}.")
    return product


def _recipe_of(dag_id: str, user: Any) -> str:
    verb, _, recipe = dag_id.partition("__")
    if verb not in ("data", "finetune", "monitor") or not NAME.match(recipe):
        raise HTTPException(404, f"{dag_id} is none of ftcore's DAGs, so there is no model to show.")
    return access.permitted(recipe, user)


def _report(recipe: str, run_id: str, kind: str) -> reports.Report:
    if kind not in reports.KINDS:
        raise HTTPException(404, "There is no such report.")
    report = reports.find(reading.shelf_of(settings.load(), recipe), kind, run_id)
    if report is None:
        raise HTTPException(404, f"Run {run_id} has left no {kind} report.")
    return report


def _to(request: Request, path: str) -> RedirectResponse:
    return RedirectResponse(request.scope.get("root_path", "").rstrip("/") + path, 303)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None
