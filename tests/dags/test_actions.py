"""What people may change from the pages: by role, with a form that only we have made, confirmed, and once."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

import pytest

from ftcore.registry import versions as registry
from ftcore.store import ledger
from ftcore.tracking.client import CANDIDATE, CHAMPION, PREVIOUS
from tests.dags import _auth

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastapi.testclient import TestClient
    from httpx import Response

    from tests.conftest import Product

PREFIX = "/ftcore"
ACTIONS = {"rollback": "", "reject": "?version=3", "hold": "", "release": "", "approve": "?version=3"}
ALLOWED = {
    "admin": set(ACTIONS),
    "olga": set(ACTIONS),
    "uma": {"hold", "approve"},
    "vera": set(),
    "stranger": set(),
}
"""By person what they may do: admin, approver, data engineer, viewer."""
MARKUP = "<script>alert('x')</script> & \"quoted\""


@pytest.fixture
def crowned(product: Product, tmp_path: Path) -> Product:
    """Version 2 is champion after version 1, and version 3 is candidate."""
    folder = tmp_path / "onnx-int8"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"graph")
    versions = [product.register(f"finetune-{word}", folders=[folder]) for word in ("one", "two", "three")]
    product.tracking.set_alias(PREVIOUS, versions[0])
    product.tracking.set_alias(CHAMPION, versions[1])
    return product


def _path(product: Product, action: str, query: str | None = None) -> str:
    return f"{PREFIX}/models/{product.name}/actions/{action}{ACTIONS[action] if query is None else query}"


def _token(page: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', page)
    assert found, page
    return found.group(1)


def _confirm(client: TestClient, path: str, reason: str) -> Response:
    """Go through both steps."""
    first = client.post(path, data={"token": _token(client.get(path).text), "reason": reason})
    assert first.status_code == 200, first.text
    kept = re.search(r'name="reason" value="([^"]*)"', first.text)
    assert kept
    sent = {"token": _token(first.text), "reason": html.unescape(kept.group(1)), "confirmed": "yes"}
    return client.post(path, data=sent)


def _aliases(product: Product) -> dict[str, int]:
    return registry.book(product.tracking).model.aliases


@pytest.mark.parametrize("person", ALLOWED)
def test_each_role_may_do_what_airflow_lets_it(
    visit: Callable[[str], TestClient], crowned: Product, person: str
) -> None:
    client = visit(person)
    for action in ACTIONS:
        path = _path(crowned, action)
        for answer in (client.get(path), client.post(path, data={"reason": "no"})):
            assert (answer.status_code == 403) == (action not in ALLOWED[person]), (person, action)
            if answer.status_code == 403:
                assert "it needs the permission" in html.unescape(answer.text), (person, action)
    page = client.get(f"{PREFIX}/models/{crowned.name}").text
    offered = set(re.findall(r"/actions/([a-z]+)", page))
    assert offered == {"rollback", "hold"} & ALLOWED[person], "only what is possible now is offered"
    assert _aliases(crowned) == {PREVIOUS: 1, CHAMPION: 2, CANDIDATE: 3}
    assert ledger.lines(crowned.shelf) == []


def test_nobody_changes_anything_without_logging_in(visit: Callable[[str], TestClient], crowned: Product) -> None:
    for action in ACTIONS:
        assert visit("").post(_path(crowned, action), data={"confirmed": "yes"}).status_code == 401
    client = visit("admin")
    for method in ("put", "patch", "delete"):
        assert getattr(client, method)(_path(crowned, "rollback")).status_code == 405, method
    assert client.post(f"{PREFIX}/models/{crowned.name}").status_code == 405


def test_a_rollback_takes_a_reason_a_confirmation_and_is_done_once(
    visit: Callable[[str], TestClient], crowned: Product
) -> None:
    client, path = visit("olga"), _path(crowned, "rollback")
    token = _token(client.get(path).text)
    assert "Give a reason" in client.post(path, data={"token": token, "reason": "  "}).text
    shown = client.post(path, data={"token": token, "reason": MARKUP})
    assert "Nothing has been changed yet" in shown.text
    assert "<script>alert" not in shown.text
    assert _aliases(crowned)[CHAMPION] == 2, "nothing was done yet"
    sent = {"token": _token(shown.text), "reason": MARKUP, "confirmed": "yes"}
    done = client.post(path, data=sent)
    assert done.status_code == 303
    assert _aliases(crowned)[CHAMPION] == 1
    line = ledger.lines(crowned.shelf)[0]
    assert (line["kind"], line["by"], line["version"], line["instead_of"]) == ("rollback", "olga", 1, 2)
    assert MARKUP in line["reason"]
    page = client.get(done.headers["Location"]).text
    assert "Recorded." in page
    assert html.escape(MARKUP, quote=False) in page.replace("&#34;", '"').replace("&#39;", "'")
    again = client.post(path, data=sent)
    assert again.status_code == 400, "the registry is not as this form knew it"
    assert len(ledger.lines(crowned.shelf)) == 1


def test_a_form_is_for_one_person_one_action_one_version_and_one_reason(
    visit: Callable[[str], TestClient], crowned: Product, new_product: Callable[[], Product]
) -> None:
    other = new_product()
    other.register("finetune-one")
    admin, path = visit("admin"), _path(crowned, "reject")
    token = _token(admin.get(path).text)
    confirmed = _token(admin.post(path, data={"token": token, "reason": "too slow"}).text)

    def refused(client: TestClient, path: str, **sent: str) -> None:
        answer = client.post(path, data={"token": confirmed, "reason": "too slow", "confirmed": "yes"} | sent)
        assert answer.status_code == 400, (path, sent)
        assert "nothing was done" in answer.text

    refused(visit("olga"), path)
    refused(admin, path, reason="another")
    refused(admin, path, token="")
    refused(admin, path, token=token)
    refused(admin, path, token=confirmed[:-1] + ("A" if confirmed[-1] != "A" else "B"))
    refused(admin, _path(crowned, "reject", "?version=1"))
    refused(admin, _path(crowned, "hold"))
    refused(admin, _path(other, "reject", "?version=1"))
    answer = admin.post(
        path,
        data={"token": confirmed, "reason": "too slow", "confirmed": "yes"},
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    assert (answer.status_code, "another site" in answer.text) == (400, True)
    assert ledger.lines(crowned.shelf) == [] == ledger.lines(other.shelf)
    assert _confirm(admin, path, "too slow").status_code == 303


def test_who_may_not_read_the_dag_changes_nothing(
    visit: Callable[[str], TestClient], crowned: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_auth, "HIDDEN", {f"finetune__{crowned.name}"})
    for action in ACTIONS:
        answer = visit("stranger").post(_path(crowned, action), data={"confirmed": "yes"})
        assert answer.status_code == 403
        assert "version 3" not in answer.text


def test_pause_resume_and_reject_leave_their_lines(visit: Callable[[str], TestClient], crowned: Product) -> None:
    uma, olga = visit("uma"), visit("olga")
    assert _confirm(uma, _path(crowned, "hold"), "the labels are wrong").status_code == 303
    assert "the labels are wrong" in olga.get(f"{PREFIX}/models/{crowned.name}").text
    assert "Already on hold" in olga.get(_path(crowned, "hold")).text
    assert _confirm(olga, _path(crowned, "release"), "labels are mended").status_code == 303
    assert "not paused" in olga.get(_path(crowned, "release")).text
    assert _confirm(olga, _path(crowned, "reject"), "too slow").status_code == 303
    assert CANDIDATE not in _aliases(crowned)
    lines = [(line["kind"], line["decision"], line["by"]) for line in reversed(ledger.lines(crowned.shelf))]
    assert lines == [("hold", "held", "uma"), ("release", "released", "olga"), ("reject", "rejected", "olga")]
    page = olga.get(f"{PREFIX}/models/{crowned.name}/versions/3").text
    assert "too slow" in page
    assert "/actions/reject" not in page


def test_who_started_the_run_is_told_before_they_approve(visit: Callable[[str], TestClient], crowned: Product) -> None:
    crowned.shelf.add_to_ledger("plan", "finetune-three", "train", "a person asked", started_by=["Olga "])
    path = _path(crowned, "approve")
    assert "You started the run that made version 3" in visit("olga").get(path).text
    assert "no open question about version 3" in visit("admin").get(path).text


def test_what_is_not_possible_says_why(admin: TestClient, crowned: Product, product: Product) -> None:
    cases: dict[str, tuple[int, str]] = {
        _path(crowned, "reject", "?version=2"): (200, "Version 2 is champion"),
        _path(crowned, "approve"): (200, "Airflow has no open question about version 3"),
        _path(crowned, "reject", "?version=9"): (404, "has no version 9"),
        _path(crowned, "reject", ""): (404, "does not fit"),
        _path(crowned, "rollback", "?version=2"): (400, "does not fit"),
        _path(crowned, "rollback").replace("rollback", "delete"): (404, "no such page"),
    }
    for path, (status, words) in cases.items():
        answer = admin.get(path)
        assert (answer.status_code, words in answer.text) == (status, True), path
    token = _token(admin.get(_path(crowned, "hold")).text)
    long = admin.post(_path(crowned, "hold"), data={"token": token, "reason": "x" * 2001})
    assert (long.status_code, "at most 2,000 characters" in long.text) == (400, True)
    assert admin.post(_path(crowned, "hold"), data={"reason": "x" * 20_001}).status_code == 400
    crowned.change(gates=[{"kind": "threshold", "minimum": "high"}])
    assert "recipe cannot be read" in admin.get(_path(crowned, "hold")).text


def test_mlflow_away_changes_nothing_and_says_so(
    admin: TestClient, crowned: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before = _path(crowned, "hold"), dict[str, Any](_aliases(crowned))
    token = _token(admin.get(path).text)
    confirmed = _token(admin.post(path, data={"token": token, "reason": "why"}).text)
    with monkeypatch.context() as away:
        away.setenv("FTCORE_TRACKING_URI", "http://127.0.0.1:9")
        away.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        answer = admin.post(path, data={"token": confirmed, "reason": "why", "confirmed": "yes"})
        assert (answer.status_code, "does not answer" in answer.text) == (503, True)
    assert _aliases(crowned) == before
    assert ledger.lines(crowned.shelf) == []
