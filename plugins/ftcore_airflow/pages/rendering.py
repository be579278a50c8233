"""The templates: how a route's values become a page."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from fastapi.responses import HTMLResponse, RedirectResponse

from ftcore.reports.rendering import pages
from ftcore_airflow.pages import access
from ftcore_airflow.pages.formats import FILTERS

if TYPE_CHECKING:
    from fastapi import Request
    from jinja2 import Environment

LOOKS = {
    "champion": "good",
    "candidate": "wait",
    "rejected": "bad",
    "rolled back": "bad",
    "refused": "bad",
    "failed": "bad",
}
"""Class of the badge of a version's state; calm for every other."""


@cache
def templates() -> Environment:
    """The environment of all pages; what rows or people wrote is escaped."""
    made = pages("ftcore_airflow.pages")
    made.filters |= FILTERS
    made.globals["looks"] = LOOKS
    return made


def root_of(request: Request) -> str:
    """Path below which the pages are mounted."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page of a template and its values."""
    known = {"root": root_of(request), "airflow": access.base_path(), "status": status}
    return HTMLResponse(templates().get_template(template).render(**known, **values), status)


def to(request: Request, path: str) -> RedirectResponse:
    """Lead the browser to another page."""
    return RedirectResponse(root_of(request) + path, 303)
