"""The web application that Airflow's API server mounts: routes, all of them behind Airflow's login."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from ftcore import settings
from ftcore.errors import FtcoreError, TransientError
from ftcore_airflow.pages import access, diff, forms, overview, rendering, version, views
from ftcore_airflow.pages.access import LOGGED_IN

log = logging.getLogger("ftcore")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}
SLOW = ("pyarrow.parquet", "scipy.special")
"""What confusion matrices, examples and comparisons import: seconds, on a busy machine."""
ROUTES: dict[str, Callable[..., Response]] = {**views.ROUTES, **forms.FORMS}
"""What is read."""
CHANGES: dict[str, Callable[..., Response]] = dict.fromkeys(forms.FORMS, forms.take_form)
"""What is sent."""


@asynccontextmanager
async def _warmed(_: FastAPI) -> AsyncIterator[None]:
    threading.Thread(target=warm, name="ftcore-pages", daemon=True).start()
    yield


def warm() -> None:
    """Import what is slow, read the ledgers and compile the templates, so that the first visitor does not wait."""
    for name in rendering.templates().list_templates():
        rendering.templates().get_template(name)
    try:
        conf, trouble = settings.load(), list[str]()
        overview.overview(conf, overview.names(conf, trouble), {}, trouble=trouble)
    except (FtcoreError, OSError):
        pass  # the pages will say what is wrong
    for name in SLOW:
        importlib.import_module(name)


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
    for error in (AnyHTTPException, RequestValidationError, FtcoreError, OSError):
        made.exception_handler(error)(_error)
    for path, route in ROUTES.items():
        made.get(path)(route)
    for path, route in CHANGES.items():
        made.post(path)(route)
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
    elif isinstance(error, OSError):
        log.error("a page cannot be made", exc_info=error)
        status, message = 503, f"The store cannot be read or written: {error.strerror or type(error).__name__}."
    elif isinstance(error, version.NoSuchVersionError | diff.UnknownVersionError):
        status, message = 404, str(error)
    elif isinstance(error, RequestValidationError):
        asked = request.method in ("GET", "HEAD")
        status, message = (404, "There is no such page.") if asked else (400, "This form cannot be read.")
    else:
        status, message = 500, str(error)
    login = access.login_url(request) if status == 401 else ""
    return rendering.page(request, "error.html", status, message=message, login=login)
