"""The pages in Airflow's own web application, with its real login, permissions and database."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from ftcore.data import snapshot
from ftcore.registry.acknowledgement import acknowledge
from ftcore.registry.approvals import Answer
from ftcore.registry.login import Person
from ftcore.registry.promotion import ModelRegistry
from ftcore.store import run_recipe, store
from ftcore.store.records import now
from ftcore.tracking.client import RUN_TAG
from ftcore_airflow.pages import proofs, reading
from tests.dags import _auth
from tests.dags._pages import TEXTS, estimate, everything, fill, looks, predictions, record, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi.testclient import TestClient

    from tests.conftest import Product

PREFIX = "/ftcore"


def _every_path(product: Product) -> list[str]:
    from ftcore_airflow.pages.app import ROUTES

    words = {
        "recipe": product.name,
        "number": "2",
        "run_id": "finetune-two",
        "run_id:path": "two",
        "kind": "drift",
        "dag_id": f"finetune__{product.name}",
        "name": "page.css",
        "action": "hold",
        "form": "csv",
    }
    return [PREFIX + re.sub(r"{([a-z_:]+)}", lambda found: words[found.group(1)], path) for path in ROUTES]


def test_nobody_sees_anything_without_logging_in(visit: Callable[[str], TestClient], product: Product) -> None:
    fill(product)
    stranger = visit("")
    for path in _every_path(product):
        answer = stranger.get(path)
        assert answer.status_code == 401, path
        assert product.name not in answer.text.replace(path, ""), path
    stranger.cookies.set("_token", "not a token")
    for path in _every_path(product):
        assert stranger.get(path).status_code in (401, 403), path
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert stranger.get(PREFIX + path).status_code == 404, "no list of routes is open to everybody"


def test_every_mounted_route_is_one_that_the_tests_above_ask_for(server: Any) -> None:
    from starlette.routing import Mount

    from ftcore_airflow.pages.app import CHANGES, ROUTES

    ours = next(route for route in server.routes if isinstance(route, Mount) and route.path == PREFIX)
    assert {route.path for route in ours.app.routes if route.methods == {"GET"}} == set(ROUTES)
    assert {route.path for route in ours.app.routes if route.methods == {"POST"}} == set(CHANGES) <= set(ROUTES)
    assert len(ours.app.routes) == len(ROUTES) + len(CHANGES), "no route takes another method"


def test_who_may_not_read_the_dag_may_not_read_the_pages(
    visit: Callable[[str], TestClient], new_product: Callable[[], Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, open_one = new_product(), new_product()
    for product in (secret, open_one):
        fill(product)
    monkeypatch.setattr(_auth, "HIDDEN", {f"finetune__{secret.name}"})
    stranger = visit("stranger")
    for path in _every_path(secret):
        if secret.name in path:
            assert stranger.get(path).status_code == 403, path
    for path in ("/", "/ledger", f"/ledger?recipe={secret.name}"):
        text = stranger.get(PREFIX + path).text
        assert f"/models/{secret.name}" not in text, path
    assert open_one.name in stranger.get(f"{PREFIX}/").text
    assert stranger.get(f"{PREFIX}/models/{open_one.name}").status_code == 200
    assert visit("admin").get(f"{PREFIX}/models/{secret.name}").status_code == 200


def test_every_page_says_what_it_may_load_and_is_never_kept(admin: TestClient, product: Product) -> None:
    fill(product)
    report(product, "finetune-two")
    for path in _every_path(product):
        answer = admin.get(path)
        assert answer.status_code in (200, 303), path
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        if path.endswith("/content"):
            assert "sandbox allow-scripts" in policy
            assert "allow-same-origin" not in policy, "a report shares nothing with Airflow"
        else:
            assert "unsafe" not in policy
        if "/static/" not in path:
            assert answer.headers["Cache-Control"] == "private, no-store"
        assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", answer.text), "nothing comes from elsewhere"
        assert " style=" not in answer.text, "the policy would refuse it"


def test_models_and_their_state(admin: TestClient, product: Product) -> None:
    fill(product)
    text = _text(admin.get(f"{PREFIX}/?q={product.name}").text)
    assert f"{product.name} ✓ in production v1 v2 – v2 ✓ passed" in text, "which version the verdict is about"
    assert "promote: promoted" in text or "gate: passed" in text
    assert "in its name or description" in admin.get(f"{PREFIX}/?q=nothing-like-it").text


def test_a_version_beside_the_champion(admin: TestClient, product: Product) -> None:
    fill(product)
    page = admin.get(f"{PREFIX}/models/{product.name}/versions/2").text
    text = _text(page)
    assert "threshold ✓ passed 0.8600 [0.8400, 0.8800] 0.8000 400 accuracy 0.860 reaches 0.8" in text
    assert "parity ● undecided" in text
    decided = "the recipe's setting on_undecided: ask passes the candidate on to the people who approve."
    assert f"No gate failed; undecided: parity; {decided}" in text
    assert "test 400 0.860 [0.840, 0.880] 0.800 [0.780, 0.820] ▲ +0.060 better" in text
    assert "tweets 400 0.760 [0.740, 0.780] 0.900 [0.880, 0.920] ▼ −0.140 worse" in text
    assert "Training loss" in text
    assert "23.0 MB" in text
    assert page.count('<svg class="chart"') == 2


def test_the_verdict_is_a_short_list_with_its_details_folded(admin: TestClient, product: Product) -> None:
    fill(product)
    page = admin.get(f"{PREFIX}/models/{product.name}/versions/2").text
    listed = _text(page[page.index('<ul class="gates') : page.index("</ul>", page.index('<ul class="gates'))])
    assert listed == "● undecided parity undecided: 20 rows are too few ✓ passed threshold accuracy 0.860 reaches 0.8"
    folded = page[page.index("Figures and full reasons") :]
    assert folded.index("Against the bound") < folded.index("</details>")


def test_what_a_version_takes_for_what(admin: TestClient, product: Product) -> None:
    fill(product)
    text = _text(admin.get(f"{PREFIX}/models/{product.name}/versions/2").text)
    assert "Rows of test 1 of 2 right" in text
    assert "True label negative positive All negative 1 50 % 1 50 % 2 positive 0 – 0 – 0 All 1 1 2" in text
    assert "Most often mixed up: negative predicted as positive , 1 of 2 rows (50 %)." in text
    assert "negative 2 1 1 50 % 100 % positive 0 1 0 – 0 %" in text, "a label without rows has no recall"


def test_a_version_is_shown_with_the_recipe_and_parameters_of_its_own_run(admin: TestClient, product: Product) -> None:
    runs = fill(product)
    run_recipe.begin(product.shelf, runs[1], product.recipe, "")
    path = f"{PREFIX}/models/{product.name}/versions/2"
    text = _text(admin.get(path).text)
    assert "Base model package://nowhere/model Licence: base model not stated Licence: weights not stated" in text
    assert "learning_rate" in text.replace(" ", "_")
    product.path.unlink()
    text = _text(admin.get(path).text)
    assert "Base model package://nowhere/model" in text, "the recipe's file is gone, the run's is there"
    card = admin.get(f"{path}/card")
    assert card.status_code == 200
    assert f"{product.name}, version 2" in _text(card.text)
    assert admin.get(f"{PREFIX}/models/{product.name}/versions/1").status_code == 200, "a run that kept none"


def test_evidence_is_collected_when_it_is_asked_for(
    visit: Callable[[str], TestClient], product: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = fill(product)
    run_recipe.begin(product.shelf, runs[1], product.recipe, "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = f"{PREFIX}/models/{product.name}/versions/2/evidence.zip"
    answer = visit("vera").get(path)
    assert answer.headers["Content-Type"] == "application/zip"
    assert f"{product.name}-v2-evidence.zip" in answer.headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
        assert {"index.html", "verdict.json", "ledger.json", "card.md"} <= names
        assert archive.read(f"{product.name}-v2-evidence/verdict.json")
    assert not list(tmp_path.glob("ftcore-evidence-*")), "nothing is left on the server"
    monkeypatch.setattr(_auth, "NO_AUDIT", {"vera"})
    refused = visit("vera").get(path)
    assert (refused.status_code, "permission to read the audit log" in refused.text) == (403, True)
    assert "evidence.zip" not in visit("vera").get(path.rpartition("/")[0]).text
    assert visit("admin").get(path.replace("/2/", "/9/")).status_code == 404


def test_an_answer_that_did_not_count_says_why(admin: TestClient, product: Product) -> None:
    runs = fill(product)
    why = "mira rejected without a reason; a rejection needs one"
    about = {"version": 2, "by": "mira"}
    product.shelf.add_to_ledger("approve", runs[1], "refused", why, key="one", **about)
    path = f"{PREFIX}/models/{product.name}/versions/2"
    assert f"The last answer was not counted: {why}." in _text(admin.get(path).text)
    product.shelf.add_to_ledger("approve", runs[1], "approved", "mira approved version 2", key="two", **about)
    assert "not counted" not in admin.get(path).text


def test_each_approval_says_whether_it_counts(admin: TestClient, product: Product) -> None:
    runs = fill(product)
    product.change(approval={"required": 1})
    version = product.tracking.version(2)
    registrar = ModelRegistry(product.recipe, product.shelf, product.tracking)
    for person, witness in (("mira", {"by": "airflow", "task_id": "approve"}), ("noa", {})):
        answer = {"person": person, "decision": "approve", "at": now(), "run_id": runs[1], "witness": witness}
        refused = registrar.answer(version, Answer.model_validate(answer))
        assert bool(refused) == (not witness), "no record, no approval"
    text = _text(admin.get(f"{PREFIX}/models/{product.name}/versions/2").text)
    assert re.search(r"mira ✓ approved [\d: -]+ – Airflow's record by airflow task id approve", text)
    assert "The last answer was not counted: Airflow has no record that noa answered." in text
    product.shelf.add_to_ledger("gate", "again", "passed", "again", candidate=2, verdict_sha256="another")
    text = _text(admin.get(f"{PREFIX}/models/{product.name}/versions/2").text)
    assert "does not count: it is about an earlier verdict" in text


def test_a_model_over_time(admin: TestClient, product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{PREFIX}/models/{product.name}/history"
    text = _text(admin.get(path).text)
    for why in (
        "No version has been evaluated yet",
        "has not looked at any predictions yet",
        "No version has been promoted",
    ):
        assert why in text, "what is empty says why"
    fill(product)
    looks(product, 1)
    assert "No label has come back" in _text(admin.get(path).text)
    looks(product)
    page = admin.get(path).text
    text = _text(page)
    assert page.count('<svg class="chart"') == 3, "quality, one detector that measured, accuracy in production"
    assert page.count('class="mark"') >= 1, "the promotion of version 1"
    assert "version 1 0.700 – alarm" in text
    assert "version 1 0.800 [0.666, 0.914] 50 labelled rows" in text
    assert "version 2 0.860 [0.840, 0.880]" in text
    monkeypatch.setenv("FTCORE_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    text = _text(admin.get(path).text)
    assert "The versions are missing" in text
    assert "version 1 0.700 – alarm" in text, "what the store knows is there"


def test_what_a_judge_and_general_texts_say_is_on_the_page(admin: TestClient, product: Product) -> None:
    fill(product, everything)
    page = admin.get(f"{PREFIX}/models/{product.name}/versions/2").text
    text = _text(page)
    assert "a <b>judge at judge.example compared the answers to 200 test rows" in text
    assert (
        "Version 2 Neither Version 1 Unclear, left out Win rate Win rate vs. 50 % 0 1 Both orders agree 90 60 48 2"
        in text
    )
    assert "▲ 0.610 [0.550, 0.670] better 0.800 [0.750, 0.850]" in text
    assert "1,500 texts that are not about the task" in text
    assert "base 1,500 3.600 [3.580, 3.620] 3.600 [3.580, 3.620] ▼ +0.400 [+0.300, +0.500] worse" in text
    assert "On 200 of the test rows" in text
    assert "cannot be read" not in text


def test_metrics_name_their_class_and_say_why_they_are_undefined(admin: TestClient, product: Product) -> None:
    nothing = {"value": None, "low": None, "high": None, "rows": 400, "undefined": "every row has the same label"}

    def judge(candidate: int, champion: int) -> dict[str, Any]:
        found = everything(candidate, champion) | {"labels": ["no", "Very_good"]}
        for forms in (found["metrics"]["candidate"], found["metrics"]["champion"]):
            for parts in forms.values():
                parts["test"]["f1"], parts["tweets"]["f1"] = estimate(0.7), nothing
        return found

    fill(product, judge)
    model = f"{PREFIX}/models/{product.name}"
    for path in (f"{model}/versions/2", f"{model}/compare?before=1&after=2"):
        text = _text(admin.get(path).text)
        assert "F1 (of Very_good)" in text, path
        assert "– every row has the same label" in text, path


def test_any_two_versions_side_by_side(admin: TestClient, product: Product) -> None:
    runs = fill(product, everything)
    path = f"{PREFIX}/models/{product.name}/compare"
    first = product.recipe
    product.change(description=TEXTS[0], method={"kind": "lora", "rank": 3})
    run_recipe.begin(product.shelf, runs[0], first, "")
    assert "The run of version 2 kept no recipe." in _text(admin.get(path).text)
    run_recipe.begin(product.shelf, runs[1], product.recipe, "")
    page = admin.get(f"{path}?before=1&after=2").text
    text = _text(page)
    assert "On the rows that both were judged on (test 200, tweets 200)" in text
    assert "test 400 0.860 [0.840, 0.880] 0.800 [0.780, 0.820] ▲ +0.040 [+0.030, +0.050] better" in text
    assert "method.rank 16 3 changed" in text, text[text.index(" Recipe ") :][:400]
    assert TEXTS[0] not in page
    assert TEXTS[0] in text, "it is shown, as text"
    assert "The data cannot be compared" in text
    back = _text(admin.get(f"{path}?before=2&after=1").text)
    assert "The predictions of one of them are not in the store, so no rows could be paired." in back
    assert "Each version on its own rows" in back
    same = admin.get(f"{path}?before=2&after=2")
    assert "Both were made with the same recipe." in same.text
    for query, status in (("?before=9", 404), ("?before=x", 404), ("?before=-1", 404), ("", 200)):
        assert admin.get(path + query).status_code == status, query


def test_the_data_of_two_versions(admin: TestClient, product: Product) -> None:
    for run, numbers in (("finetune-one", range(30)), ("finetune-two", range(5, 40))):
        rows = product.rows(numbers)
        labels = {name: rows["label"].to_pylist().count(name) for name in ("negative", "positive")}
        facts = {"rows": rows.num_rows, "labels": labels, "splits": {"train": rows.num_rows}}
        product.register(run, snapshot.publish(product.shelf, lambda made=rows: [made], rows.slice(0, 0), facts))
    text = _text(admin.get(f"{PREFIX}/models/{product.name}/compare").text)
    assert "10 added 5 removed 0 changed 0 moved to another split 25 kept" in text
    assert "Version 1 and 2 has no evaluation in the store." in text


def test_what_a_page_asks_of_mlflow_and_the_store_does_not_grow_with_versions(
    admin: TestClient, new_product: Callable[[], Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    calls: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return real(*args, **kwargs)

        return call

    few, many = new_product(), new_product()
    for product in (few, many):
        fill(product)
    for number in range(30):
        many.register(f"finetune-more-{number}")
    for name in [name for name in dir(MlflowClient) if name[0] != "_"]:
        if callable(real := getattr(MlflowClient, name)):
            monkeypatch.setattr(MlflowClient, name, counted(name, real))
    monkeypatch.setattr(reading, "document", counted("document", reading.document))
    for path in ("", "/versions/2", "/compare?before=1&after=2", "/history", "/actions/hold", "/versions/2/card"):
        asked = []
        for product in (few, many):
            calls.clear()
            assert admin.get(f"{PREFIX}/models/{product.name}{path}").status_code == 200
            asked.append({name: calls.count(name) for name in set(calls)})
        files = [one.pop("document", 0) for one in asked]
        assert asked[0] == asked[1], path
        assert sum(asked[0].values()) <= 12, path
        assert files[1] <= files[0] + 60, path


def test_examples_are_escaped_and_told_apart(admin: TestClient, product: Product) -> None:
    fill(product)
    base = f"{PREFIX}/models/{product.name}/versions/2/examples"
    page = admin.get(base).text
    assert TEXTS[0] not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "positive 90 % confidence" in _text(page)
    assert TEXTS[1] in admin.get(f"{base}?show=better").text
    assert TEXTS[3] in admin.get(f"{base}?show=both&dataset=tweets").text
    assert "No row is of this kind" in admin.get(f"{base}?show=both&dataset=test").text


def test_markup_in_any_value_is_text_on_every_page(admin: TestClient, product: Product) -> None:
    import pyarrow as pa

    from tests._markup import MARK, ROW, faults, text

    def judge(candidate: int, champion: int) -> dict[str, Any]:
        found = everything(candidate, champion)
        found["slices"] = {f"{ROW}=a": next(iter(found["slices"].values()))}
        found["rows"] |= {ROW: 70}
        found["judge"] |= {"model": ROW, "host": ROW}
        return found

    fill(product, judge)
    product.edit(description=ROW)
    number, run_id = product.tracking.version(2), "finetune-two"
    product.tracking.tag(number, {"verdict.reason": ROW, "started_by": ROW, "approved_by": ROW})
    product.shelf.add_to_ledger("reject", run_id, "rejected", ROW, version=2, by=ROW)
    rule = {"gate": ROW, "passed": True, "reason": ROW, "measured": 0.86, "bound": 0.8}
    verdict = {"passed": True, "rules": [rule], "candidate": 2, "champion": 1, "reason": ROW}
    store.write_json(product.shelf.folder(run_id, "gate") / "verdict.json", verdict)
    rows = {name: [ROW] * 3 for name in ("text", "label", "source", "dataset", "candidate.onnx-int8")}
    rows["champion.onnx-int8"] = ["fine", ROW, "other"]
    store.write_table(product.shelf.folder(run_id, "evaluate") / "predictions.parquet", pa.table(rows))
    shown = 0
    paths = [path for path in _every_path(product) if not path.endswith((".css", "csv", "evidence"))]
    for path in [
        *paths,
        *(f"{PREFIX}/models/{product.name}/versions/2/examples?show={kind}" for kind in ("worse", "both")),
    ]:
        page = admin.get(path).text
        assert faults(page) == [], path
        shown += MARK in text(page)
    assert shown >= 5


def test_a_version_that_was_not_evaluated_and_one_whose_evaluation_is_broken(
    admin: TestClient, product: Product
) -> None:
    product.register("finetune-new")
    path = f"{PREFIX}/models/{product.name}/versions/1"
    assert "has not been evaluated" in admin.get(path).text
    file = product.shelf.folder("finetune-new", "evaluate") / "evaluation.json"
    file.parent.mkdir(parents=True)
    for broken in (
        "{",
        "[]",
        '{"metrics": {"candidate": {"onnx-int8": {"test": [1]}}}}',
        '{"metrics": 7, "slices": 3}',
    ):
        file.write_text(broken)
        answer = admin.get(path)
        assert answer.status_code == 200, broken
        assert admin.get(f"{PREFIX}/models/{product.name}").status_code == 200, broken
    file.write_text("{")
    assert "evaluation.json is not JSON" in admin.get(path).text


def test_no_such_thing_is_a_page_that_says_so(admin: TestClient, product: Product) -> None:
    fill(product)
    for path in (
        "/models/nobody_knows_it",
        f"/models/{product.name}/versions/99",
        f"/models/{product.name}/versions/zero",
        f"/models/{product.name}/runs/..%2F..%2Fetc",
        f"/models/{product.name}/runs/finetune-two/reports/passwd",
        f"/models/{product.name}/runs/finetune-two/reports/drift",
        "/models/..%2F..%2Fetc",
        "/static/..%2Fapp.py",
        "/static/app.py",
        "/dags/somebody_elses_dag",
    ):
        answer = admin.get(PREFIX + path)
        assert answer.status_code == 404, path
        if "text/html" in answer.headers["Content-Type"]:  # else Airflow itself has no such path
            assert "Not found" in answer.text, path


def test_a_report_is_found_by_ids_and_never_leaves_the_store(
    admin: TestClient, product: Product, tmp_path: Path
) -> None:
    fill(product)
    outside = tmp_path / "outside.html"
    outside.write_text("<p>not yours</p>")
    path = f"{PREFIX}/models/{product.name}/runs/monitor-one/reports/drift"
    inside = report(product, "monitor-one")
    assert "drift of a report" in admin.get(f"{path}/content").text
    assert 'sandbox="allow-scripts"' in admin.get(path).text
    for bad in (
        "../../../outside.html",
        str(outside),
        "file://" + str(outside),
        "runs/../../../outside.html",
        "ledger",
    ):
        record(product, "monitor-one", "watch", paths={"html": bad})
        assert admin.get(f"{path}/content").status_code == 404, bad
    inside.unlink()
    inside.symlink_to(outside)
    record(product, "monitor-one", "watch", paths={"html": "runs/monitor-one/watch/drift.html"})
    assert admin.get(f"{path}/content").status_code == 404, "a link that leads out"


def test_the_page_of_a_snapshot_is_found_by_the_run_that_validated_it(admin: TestClient, product: Product) -> None:
    path = product.shelf.root / "snapshots" / "ab12" / "report.html"
    store.write_bytes(path, b"<h1>what came in</h1>")
    record(product, "data-one", "validate", paths={"report": product.shelf.relative(path)})
    run = f"{PREFIX}/models/{product.name}/runs/data-one"
    page = admin.get(run).text
    assert f"{run}/reports/snapshot" in page
    assert f"{run}/reports/validation" not in page, "it left none"
    assert "what came in" in admin.get(f"{run}/reports/snapshot/content").text
    assert "<h1>Snapshot report</h1>" in admin.get(f"{run}/reports/snapshot").text


def test_a_report_that_is_not_there_is_not_linked_to(admin: TestClient, product: Product) -> None:
    rows = product.rows(range(9))
    identity = snapshot.publish(product.shelf, lambda: [rows], rows.slice(0, 0), {"rows": 9, "run_id": "data-one"})
    product.register("finetune-one", identity)
    pages = [f"{PREFIX}/models/{product.name}", f"{PREFIX}/models/{product.name}/versions/1"]
    path = product.shelf.root / "reports" / "report.html"
    record(product, "data-one", "validate", paths={"report": product.shelf.relative(path)})
    for page in (*pages, f"{pages[0]}/runs/data-one"):
        assert "reports/snapshot" not in admin.get(page).text, page
    store.write_bytes(path, b"<h1>what came in</h1>")
    for page in pages:
        text = admin.get(page).text
        assert f"{pages[0]}/runs/data-one/reports/snapshot" in text, page
        assert "reports/validation" not in text, page


def test_the_ledger_with_its_filters(admin: TestClient, product: Product) -> None:
    fill(product)
    product.shelf.add_to_ledger("reject", "hand-one", "rejected", "=1+1 is wrong", by="mira <b>", version=2)
    (product.shelf.root / "ledger" / "gate--broken.json").write_text("{")
    ask = f"{PREFIX}/ledger?recipe={product.name}"
    assert "5 decisions" in admin.get(ask).text
    assert "this line is not JSON" in admin.get(f"{ask}&outcome=unreadable").text
    assert "1 decision<" in admin.get(f"{ask}&step=promote").text
    assert "2 decisions" in admin.get(f"{ask}&outcome=passed").text
    assert "1 decision<" in admin.get(f"{ask}&person=mira+%3Cb%3E").text
    assert "2 decisions" in admin.get(f"{ask}&version=2").text
    assert "0 decisions" in admin.get(f"{ask}&person=noa").text
    assert "0 decisions" in admin.get(f"{ask}&to=2001-01-01").text
    assert "4 decisions" in admin.get(f"{ask}&from=2001-01-01").text
    assert admin.get(f"{ask}&from=nonsense").status_code == 200
    assert admin.get(f"{ask}&version=nonsense").status_code == 404
    assert "mira <b>" not in admin.get(ask).text


def test_the_ledger_as_a_file(
    visit: Callable[[str], TestClient], new_product: Callable[[], Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    product, secret = new_product(), new_product()
    for one in (product, secret):
        fill(one)
    product.shelf.add_to_ledger("reject", "hand-one", "rejected", '=1+1, "is" wrong', by="@mira", version=2)
    ask = f"{PREFIX}/ledger/export"
    answer = visit("vera").get(f"{ask}.csv?recipe={product.name}&step=reject")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert 'filename="ledger.csv"' in answer.headers["Content-Disposition"]
    assert [(row["kind"], row["by"], row["reason"], row["version"]) for row in rows] == [
        ("reject", "'@mira", '\'=1+1, "is" wrong', "2")
    ], "no cell is a formula"
    lines = visit("vera").get(f"{ask}.json?recipe={product.name}").json()
    assert len(lines) == 4
    assert lines[0] == {**product.shelf.line("reject", "hand-one"), "recipe": product.name}
    monkeypatch.setattr(_auth, "HIDDEN", {f"finetune__{secret.name}"})
    found = visit("stranger").get(f"{ask}.json").json()
    assert {line["recipe"] for line in found} == {product.name}
    monkeypatch.setattr(_auth, "NO_AUDIT", {"vera"})
    assert visit("vera").get(f"{ask}.csv").status_code == 403
    assert "Export as" not in visit("vera").get(f"{PREFIX}/ledger").text
    assert visit("admin").get(f"{ask}.xlsx").status_code == 404


def test_a_broken_ledger_is_told_with_its_first_broken_link(admin: TestClient, product: Product) -> None:
    fill(product)
    paths = [f"/ledger?recipe={product.name}", f"/models/{product.name}", f"/models/{product.name}/versions/2"]
    for path in paths[:2]:
        assert "Every line is as it was signed" in admin.get(PREFIX + path).text, path
    line = product.shelf.root / "ledger" / "gate--finetune-one.json"
    line.write_text(line.read_text().replace("0.860", "0.960"))
    product.shelf.add_to_ledger("plan", "finetune-three", "skip", "nothing is new")
    foreign = product.shelf.root / "ledger" / "gate--foreign.json"
    foreign.write_text(line.read_text())
    proofs._KEPT.clear()
    for path in paths:
        text = _text(admin.get(PREFIX + path).text)
        assert f"The ledger of {product.name} does not hold. First broken link: line 1: " in text, path
        assert "gate--finetune-one.json was changed (reason)" in text, path
        assert "1 more." in text, path
    assert "not signed" in admin.get(f"{PREFIX}/ledger?recipe={product.name}").text


def test_what_registry_and_records_say_otherwise_is_told_until_it_is_acknowledged(
    admin: TestClient, product: Product
) -> None:
    fill(product)
    version = f"{PREFIX}/models/{product.name}/versions/2"
    assert "registry and records agree with it" in admin.get(f"{PREFIX}/models/{product.name}").text
    product.tracking.tag(product.tracking.version(2), {"verdict.reason": "accuracy 0.990"})
    proofs._KEPT.clear()
    for path in (version, f"{PREFIX}/models/{product.name}"):
        assert "the verdict of version 2 has another reason in MLflow" in _text(admin.get(path).text), path
    assert "another reason" not in admin.get(f"{PREFIX}/models/{product.name}/versions/1").text
    acknowledge(product.registrar, Person("os:mira"), "MLflow's backup is older")
    proofs._KEPT.clear()
    text = _text(admin.get(version).text)
    assert "does not hold" not in text
    assert "and a person acknowledged it. line 2: the verdict of version 2 has another reason" in text
    assert "by os:mira: MLflow's backup is older" in text


def test_tabs_of_dag_and_run_lead_to_the_model(admin: TestClient, product: Product) -> None:
    fill(product)
    model = f"{PREFIX}/models/{product.name}"
    assert admin.get(f"{PREFIX}/dags/data__{product.name}").headers["Location"] == model
    run = admin.get(f"{PREFIX}/dags/finetune__{product.name}/runs/two").headers["Location"]
    assert run == f"{model}/versions/2"
    other = admin.get(f"{PREFIX}/dags/monitor__{product.name}/runs/scheduled__2026-11-21T04%3A00%3A00%2B00%3A00")
    assert re.fullmatch(rf"{model}/runs/monitor-scheduled__[\w-]+", other.headers["Location"])
    assert "not yet" in _text(admin.get(other.headers["Location"]).text)


def test_mlflow_away_leaves_the_page_up(admin: TestClient, product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(product)
    monkeypatch.setenv("FTCORE_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for path in ("/", f"/models/{product.name}"):
        answer = admin.get(PREFIX + path)
        assert answer.status_code == 200, path
        assert "does not answer" in answer.text, path
        assert "passed" in answer.text, "what the ledger knows is there"
    answer = admin.get(f"{PREFIX}/models/{product.name}/versions/2")
    assert answer.status_code == 503
    assert "does not answer" in answer.text


def test_a_run_of_any_name_leads_to_airflows_page_of_it(server: object) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    from ftcore_airflow.pages.access import run_url

    ids = ["one", "a-12345678", "scheduled__2026-11-21T04:00:00+00:00", "a:b", "a+b", "~", "x" * 150, "x" * 151]
    with create_session() as session:
        session.add_all(
            DagRun(dag_id="data__urls", run_id=one, run_type="manual", run_after=datetime.now(UTC)) for one in ids
        )
    for one in ids:
        name = store.run_name("data", one)
        assert run_url("urls", name, "data").endswith(f"/dags/data__urls/runs/{quote(one, safe='')}")
    for nobody in ("data-two", "finetune-one", "one", "data-", "data-a-12345679", ""):
        assert run_url("urls", nobody, "data") == "", nobody


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_store_that_cannot_be_used_is_a_page_that_says_so(
    admin: TestClient, product: Product, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code), "/a/path/of/this/machine")

    monkeypatch.setattr("ftcore_airflow.pages.views.ledger.lines", fail)
    answer = admin.get(f"{PREFIX}/models/{product.name}/decisions/r")
    assert answer.status_code == 503
    assert f"The store cannot be read or written: {os.strerror(code)}." in answer.text
    assert "/a/path" not in answer.text


def test_a_run_id_that_leads_out_of_the_store_costs_a_part_of_the_page(admin: TestClient, product: Product) -> None:
    fill(product)
    for run_id in ("a/b", "", "x" * 200, "../x"):
        product.tracking.client.set_model_version_tag(product.name, "2", RUN_TAG, run_id)
        path = f"{PREFIX}/models/{product.name}/versions/2"
        for page in (path, f"{path}/examples"):
            assert admin.get(page).status_code == 200, (page, run_id)
    assert "cannot be read" in admin.get(f"{path}/examples").text


WRONG_FIGURES = [
    *({"findings": 5}, {"findings": [5]}, {"findings": {"a": 1}}, {"findings": [{"name": "n", "score": "y"}]}),
    {"findings": [{"name": "n", "score": 1, "threshold": "y"}]},
    *({"performance": {"rows": 50, "accuracy": one}} for one in (2, -1, "y", None, float("nan"), True)),
    *({"performance": {"rows": one, "accuracy": 0.5}} for one in (-1, "y", [1], float("inf"))),
    *({"performance": 5}, {"performance": [1]}),
]


def test_figures_of_a_look_that_are_none_are_told(admin: TestClient, product: Product) -> None:
    looks(product, 2)
    file = product.shelf.folder("monitor-0", "watch") / "record.json"
    kept = json.loads(file.read_text())
    for wrong in WRONG_FIGURES:
        file.write_text(json.dumps(kept | {"figures": kept["figures"] | wrong}))
        text = _text(admin.get(f"{PREFIX}/models/{product.name}/history").text)
        assert "The look of run monitor-0 at predictions cannot be read" in text, wrong
        assert "0.600" in text, "the other look is there"


OF_OTHER_SHAPES = {
    ("export", "record.json"): {(): ({"a": 1}, []), ("figures",): ([], "x"), ("recipe",): (["x"],), ("paths",): (5,)},
    ("gate", "verdict.json"): {
        (): (True, [1]),
        ("rules",): (True, {"a": 1}, [5]),
        ("rules", 0, "high"): ([{}], "x"),
        ("rules", 0, "gate"): ([],),
        ("undecided",): (-1, [{"a": 1}]),
        ("decided_by",): ("on_undecided",),
    },
    ("evaluate", "evaluation.json"): {
        ("metrics",): ([1], 5),
        ("metrics", "candidate", "onnx-int8"): ("x", {"a": 1}),
        ("metrics", "candidate", "onnx-int8", "test", "accuracy"): (
            "x",
            {"value": "y"},
            {"value": [1]},
            {"value": True},
        ),
        ("labels",): ("x", 5),
    },
}
"""Values of other types than a step writes, by file and by where in it."""


def _put(value: Any, path: tuple[Any, ...], new: object) -> Any:
    if not path:
        return new
    inner = value[path[0]] if isinstance(value, list) else value.get(path[0])
    changed = _put(inner, path[1:], new)
    if isinstance(value, list):
        return [changed if place == path[0] else one for place, one in enumerate(value)]
    return {**value, path[0]: changed}


@pytest.mark.parametrize("file", OF_OTHER_SHAPES, ids=lambda file: file[1])
def test_files_of_other_shapes_cost_their_own_part_of_each_page(
    admin: TestClient, product: Product, file: tuple[str, str]
) -> None:
    fill(product)
    model, (step, name) = f"{PREFIX}/models/{product.name}", file
    place = product.shelf.folder("finetune-two", step) / name
    kept = json.loads(place.read_text())
    paths = [f"{model}/versions/2", f"{model}/versions/2/card", f"{model}/runs/finetune-two", f"{model}/history", model]
    for inside, values in OF_OTHER_SHAPES[file].items():
        for wrong in values:
            place.write_text(json.dumps(_put(kept, inside, wrong)))
            for path in paths[: 3 if step == "export" else 5]:
                assert admin.get(path).status_code == 200, (path, inside, wrong)


def test_no_models_yet(admin: TestClient, home: Path, mlflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTCORE_TRACKING_URI", f"sqlite:///{mlflow_home / 'mlflow.db'}")
    assert "No models yet" in admin.get(f"{PREFIX}/").text


def test_a_recipe_with_faults_is_listed_with_them(admin: TestClient, product: Product) -> None:
    product.change(gates=[{"kind": "threshold", "minimum": "high"}])
    text = admin.get(f"{PREFIX}/?q={product.name}").text
    assert "recipe has faults" in text
    assert "gates[0].minimum" in text
    assert admin.get(f"{PREFIX}/models/{product.name}").status_code == 200


def test_a_hold_shows(admin: TestClient, product: Product) -> None:
    from ftcore.tracking.registered import tag_model

    fill(product)
    tag_model(product.tracking, {"hold": '{"by": "ada", "reason": "it was rude", "at": "2026-11-21T05:00:00+00:00"}'})
    for path in (f"/?q={product.name}", f"/models/{product.name}"):
        assert "it was rude" in admin.get(PREFIX + path).text, path


def test_text_answers_are_shown_as_text(admin: TestClient, product: Product) -> None:
    import pyarrow as pa

    from ftcore.store import store

    fill(product)
    predictions(product, "finetune-two")
    path = product.shelf.folder("finetune-two", "evaluate") / "predictions.parquet"
    rows = {"text": ["Sum it up."], "label": ["fine"], "candidate.onnx": ["all is fine"], "champion.onnx": ["fine"]}
    store.write_table(path, pa.table(rows))
    text = _text(admin.get(f"{PREFIX}/models/{product.name}/versions/2/examples").text)
    assert "✗ all is fine" in text
    assert "✓ fine" in text


def _text(html: str) -> str:
    """What a person reads, with single spaces."""
    import html as escapes

    bare = re.sub(r"<(script|style|title)\b.*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL)
    return " ".join(escapes.unescape(bare).split())
