"""The pages for people who see, point or read otherwise: axe-core's checks and the keyboard, in a real Chromium."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from ftcore.store import run_recipe
from ftcore.tracking.registered import tag_model
from tests.dags._pages import everything, fill, looks, report
from tests.integration._accessibility import faults, stumbles
from tests.integration._chromium import browser

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi.testclient import TestClient
    from playwright.sync_api import Page

    from tests.conftest import Product

PAGES = (
    "/",
    "/?q=nothing-like-it",
    "/ledger",
    "/models/{name}",
    "/models/{name}/versions/1",
    "/models/{name}/versions/2",
    "/models/{name}/versions/2/examples",
    "/models/{name}/versions/2/card",
    "/models/{name}/compare?before=1&after=2",
    "/models/{name}/history",
    "/models/{name}/actions/hold",
    "/models/{name}/actions/reject?version=2",
    "/models/{name}/actions/rollback",
    "/models/{name}/decisions/finetune-two",
    "/models/{name}/runs/finetune-two",
    "/models/{name}/runs/monitor-one/reports/drift",
    "/models/nobody-knows-it",
)


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Addresses of an application on a port of this machine."""
    import uvicorn

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/ftcore"
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture
def page(server: Any, visit: Callable[[str], TestClient]) -> Iterator[tuple[str, Page]]:
    """Where the pages are, and a browser in which an admin is logged in."""
    token = visit("admin").cookies["_token"]
    with served(server) as url, browser() as chromium:
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        context.add_cookies([{"name": "_token", "value": token, "url": url}])
        yield url, context.new_page()


@pytest.mark.timeout(300)
def test_everybody_can_use_the_pages(page: tuple[str, Page], product: Product) -> None:
    url, view = page
    fill(product, everything)
    run_recipe.begin(product.shelf, "finetune-one", product.recipe, "")
    run_recipe.begin(product.shelf, "finetune-two", product.recipe, "")
    looks(product)
    report(product, "monitor-one")
    product.shelf.add_to_ledger("decide", "monitor-one", "retrain", "the texts have changed")
    tag_model(product.tracking, {"hold": '{"by": "ada", "reason": "it was rude", "at": "2026-11-21T05:00:00+00:00"}'})
    found = []
    for path in PAGES:
        view.goto(url + path.format(name=product.name))
        view.wait_for_function("document.readyState === 'complete'")
        _unfold(view)
        found += stumbles(view) + faults(view)
    found += _confirm(view, url, product.name)
    assert not found, "\n".join(found)


def _unfold(view: Page) -> None:
    """What is folded is looked at, too."""
    view.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")


def _confirm(view: Page, url: str, name: str) -> list[str]:
    """The second step of a change, reached by keyboard, with markup for a reason; and a form that is refused."""
    view.goto(f"{url}/models/{name}/actions/reject?version=2")
    view.get_by_role("button", name="Continue").click()
    assert view.evaluate("document.activeElement.id") == "reason", "the browser asks for the reason itself"
    view.keyboard.type("<b>too slow</b>")
    view.keyboard.press("Tab")
    view.keyboard.press("Enter")
    view.get_by_text("Nothing has been changed yet").wait_for()
    assert view.get_by_text("<b>too slow</b>").is_visible()
    found = stumbles(view) + faults(view)
    view.evaluate("document.querySelector('[name=token]').value = 'x'")
    view.get_by_role("button", name="Reject version 2").click()
    view.get_by_role("alert").wait_for()
    return found + stumbles(view) + faults(view)


@pytest.mark.timeout(120)
def test_the_first_stop_leads_past_the_navigation(page: tuple[str, Page], product: Product) -> None:
    url, view = page
    fill(product)
    view.goto(f"{url}/models/{product.name}")
    view.keyboard.press("Tab")
    assert view.evaluate("document.activeElement.textContent") == "Skip to the content"
    view.keyboard.press("Enter")
    view.keyboard.press("Tab")
    assert view.evaluate("document.activeElement.closest('main') !== null")
