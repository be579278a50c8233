"""The pages inside a real Airflow, driven by a real Chromium: login, review, approval, promotion."""

from __future__ import annotations

import json
import re
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ftcore import settings
from ftcore.local import airflow_config, processes, services
from ftcore.local.airflow_api import FINAL
from ftcore.tracking import mlflow_login
from ftcore.tracking.client import CHAMPION, Tracking
from tests.integration._accessibility import faults as faults_of
from tests.integration._accessibility import stumbles
from tests.integration._chromium import browser
from tests.integration.conftest import write_recipe

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Page

    from ftcore.local.airflow_api import AirflowApi
    from ftcore.settings import Settings

WAIT_MS = 60_000


@pytest.mark.timeout(900)
def test_a_person_reviews_approves_and_promotes_in_the_browser(
    home: Path, airflow: services.Running, tiny: Path
) -> None:
    write_recipe(home, "reviewed", base=str(tiny / "model"), approval={"required": 1})
    conf = settings.load()
    _refuses_strangers(airflow.airflow_url)
    _mlflow_asks_for_a_login(airflow, conf)
    with airflow.api(conf) as api, browser() as chromium:
        _wait_for_the_question(api)
        page = chromium.new_context(viewport={"width": 1400, "height": 1000}).new_page()
        page.set_default_timeout(WAIT_MS)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        _log_in(page, airflow, conf)
        _review(page)
        _read_on(page, airflow)
        _approve(page, airflow, api)
        _see_the_champion(page, airflow, conf)
        _viewers_only_look(airflow, conf)
        _tabs(page, airflow, api)
        assert not faults
        _everybody_can_use_them(page, airflow)


def _refuses_strangers(url: str) -> None:
    for path in ("/", "/ledger", "/models/reviewed", "/static/page.css", "/models/reviewed/versions/1"):
        assert httpx.get(f"{url}/ftcore{path}").status_code == 401, path


def _mlflow_asks_for_a_login(airflow: services.Running, conf: Settings) -> None:
    """Whatever is asked without a login is refused, artefacts included; and the login itself is nowhere to be seen."""
    login, url = mlflow_login.read(conf.home), airflow.mlflow_url
    assert login is not None
    api, files = "/api/2.0/mlflow", "/api/2.0/mlflow-artifacts/artifacts"
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/", {}),
        ("GET", f"{api}/experiments/search?max_results=1", {}),
        ("GET", f"{api}/registered-models/search", {}),
        ("POST", f"{api}/experiments/create", {"json": {"name": "theirs"}}),
        ("POST", f"{api}/registered-models/set-tag", {"json": {"name": "reviewed", "key": "k", "value": "v"}}),
        ("POST", f"{api}/registered-models/alias", {"json": {"name": "reviewed", "alias": "champion", "version": "1"}}),
        ("GET", f"{files}/0/run/artifacts/x", {}),
        ("PUT", f"{files}/0/run/artifacts/x", {"content": b"theirs"}),
        ("DELETE", f"{files}/0/run/artifacts/x", {}),
    ]
    for method, path, body in requests:
        assert httpx.request(method, url + path, **body).status_code == 401, (method, path)
        wrong = httpx.request(method, url + path, auth=(login.username, "guessed"), **body)
        assert wrong.status_code == 401, (method, path)
    assert httpx.get(f"{url}{api}/experiments/search?max_results=1", auth=(login.username, login.password)).is_success
    seen = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes.everyone(airflow.mark, [])]
    seen += [log.read_bytes() for log in (conf.home / "logs").iterdir()]
    assert not any(secret.encode() in text for text in seen for secret in (login.password, login.secret_key))


def _wait_for_the_question(api: AirflowApi) -> None:
    api.wait_for_dags(["data__reviewed", "finetune__reviewed"])
    run_id = api.trigger("data__reviewed", run_id="first")
    assert api.wait("data__reviewed", run_id, 180)["state"] == "success"
    run_id = api.wait_for_next("finetune__reviewed")

    deadline = time.monotonic() + 240
    while not api.questions("finetune__reviewed", run_id):
        state = api.dag_run("finetune__reviewed", run_id)["state"]
        assert state not in FINAL, f"the run ended as {state} without a question: {_failures(api, run_id)}"
        assert time.monotonic() < deadline, api.task_instances("finetune__reviewed", run_id)
        time.sleep(0.5)


def _failures(api: AirflowApi, run_id: str) -> str:
    tasks = [task for task in api.task_instances("finetune__reviewed", run_id) if task["state"] == "failed"]
    logs = [api.task_log("finetune__reviewed", run_id, t["task_id"], attempt=t["try_number"]) for t in tasks]
    return "\n".join(logs)


def _log_in(page: Page, airflow: services.Running, conf: Settings) -> None:
    page.goto(airflow.airflow_url)
    page.fill("input[name=username]", "olga")  # admin has started the data run, and may not approve what came of it
    page.fill("input[name=password]", _password(conf, "olga"))
    page.click("[type=submit]")
    page.get_by_role("link", name="Models").or_(page.get_by_role("button", name="Models")).first.click()


def _password(conf: Settings, name: str) -> str:
    return str(json.loads((airflow_config.airflow_home(conf) / airflow_config.PASSWORDS).read_text())[name])


def _inside(page: Page) -> FrameLocator:
    return page.frame_locator("iframe")


def _review(page: Page) -> None:
    frame = _inside(page)
    frame.get_by_text("waits for approval").first.wait_for()
    frame.get_by_role("link", name="reviewed", exact=True).click()
    frame.get_by_role("link", name="Version 1", exact=True).click()
    frame.get_by_role("heading", name=re.compile("^Verdict")).wait_for()
    assert frame.locator(".gates li").filter(has_text="threshold").get_by_text("passed").is_visible()
    frame.get_by_role("heading", name="Confusion matrix").wait_for()
    assert frame.locator("svg.chart").count() >= 2, "learning curves are drawn"
    frame.get_by_role("link", name="Examples").click()
    frame.get_by_text("The candidate is wrong").wait_for()
    assert frame.locator("article.example").count() > 0
    frame.get_by_role("link", name="version 1", exact=True).click()
    frame.get_by_role("link", name="Validation report").click()
    report = frame.frame_locator("iframe.report")
    report.get_by_text("Expectation Suite").first.wait_for()
    frame.get_by_role("link", name="reviewed", exact=True).click()
    frame.get_by_role("link", name="Version 1", exact=True).click()


def _read_on(page: Page, airflow: services.Running) -> None:
    """Open the question in Airflow, and follow the links of its text."""
    _inside(page).get_by_role("link", name=re.compile("Approve or reject")).click()
    page.wait_for_url(re.compile("/dags/finetune__reviewed/runs/.*/tasks/.*/required_actions"))
    for name, heading in (("The model's page", "reviewed version 1"), ("Snapshot report", "Snapshot report")):
        address = page.get_by_role("link", name=name).get_attribute("href")
        tab = page.context.new_page()
        tab.goto(f"{airflow.airflow_url}{address}")
        _inside(tab).get_by_role("heading", name=heading, exact=True, level=1).wait_for()
        tab.close()


def _approve(page: Page, airflow: services.Running, api: AirflowApi) -> None:
    """On our page, through Airflow's question, in two steps."""
    page.goto(f"{airflow.airflow_url}/plugin/models/ftcore/models/reviewed/versions/1")
    frame = _inside(page)
    frame.get_by_role("link", name="Approve…").click()
    frame.get_by_label("Reason").fill("good <b>enough</b>")
    frame.get_by_role("button", name="Continue").click()
    frame.get_by_text("Nothing has been changed yet").wait_for()
    frame.get_by_role("button", name="Approve version 1").click()
    frame.get_by_text("Airflow has recorded your answer").wait_for()
    run_id = api.dag_runs("finetune__reviewed")[0]["dag_run_id"]
    assert api.wait("finetune__reviewed", run_id, 120)["state"] == "success"


def _take_the_evidence(page: Page) -> None:
    with page.expect_download() as download:
        _inside(page).get_by_role("link", name="Evidence (zip)").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
        approvals = archive.read("reviewed-v1-evidence/approvals.json").decode()
    assert {"index.html", "verdict.json", "ledger.json", "card.md"} <= names
    assert "good <b>enough</b>" in approvals


def _viewers_only_look(airflow: services.Running, conf: Settings) -> None:
    """A person whom the setting makes a viewer logs in with a password of their own, and may change nothing."""
    login = {"username": "vera", "password": _password(conf, "vera")}
    token = httpx.post(f"{airflow.airflow_url}/auth/token", json=login).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{airflow.airflow_url}/ftcore", headers=headers) as pages:
        page = pages.get("/models/reviewed")
        assert page.status_code == 200
        assert "/actions/" not in page.text
        for action in ("hold", "rollback", "release", "reject?version=1", "approve?version=1"):
            assert pages.post(f"/models/reviewed/actions/{action}").status_code == 403, action


def _see_the_champion(page: Page, airflow: services.Running, conf: Settings) -> None:
    champion = Tracking(conf.model_copy(update={"tracking_uri": airflow.mlflow_url}), "reviewed").alias(CHAMPION)
    assert champion is not None
    assert champion.number == 1
    page.goto(f"{airflow.airflow_url}/plugin/models/ftcore/models/reviewed/versions/1")
    frame = _inside(page)
    frame.get_by_role("heading", name="Approvals").wait_for()
    assert frame.get_by_role("row").filter(has_text="olga").first.is_visible(), "the page names who approved"
    assert frame.get_by_text("champion").first.is_visible()
    _take_the_evidence(page)
    frame.get_by_role("link", name="Ledger").click()
    frame.get_by_text("Every line is as it was signed").or_(frame.get_by_text("In all 1 ledgers")).first.wait_for()
    frame.locator("select[name=step]").select_option("promote")
    frame.get_by_role("button", name="Show").click()
    frame.get_by_text("1 decision", exact=True).wait_for()


def _tabs(page: Page, airflow: services.Running, api: AirflowApi) -> None:
    run_id = api.dag_runs("finetune__reviewed")[0]["dag_run_id"]
    for path, heading in (
        ("/dags/finetune__reviewed/plugin/model", "reviewed"),
        (f"/dags/finetune__reviewed/runs/{run_id}/plugin/model-of-run", "reviewed version 1"),
        ("/dags/data__reviewed/runs/first/plugin/model-of-run", "Steps of a run"),
    ):
        page.goto(airflow.airflow_url + path)
        _inside(page).get_by_role("heading", name=heading, exact=True, level=1).wait_for()


def _everybody_can_use_them(page: Page, airflow: services.Running) -> None:
    """axe-core and the keyboard on what a real run left, without Airflow's own frame around it."""
    version = "/models/reviewed/versions/1"
    found = []
    for path in (
        "/",
        "/ledger",
        "/models/reviewed",
        version,
        f"{version}/examples",
        "/models/reviewed/runs/data-first",
    ):
        page.goto(f"{airflow.airflow_url}/ftcore{path}")
        page.locator("main").wait_for()
        found += stumbles(page) + faults_of(page)
    assert not found, "\n".join(found)
