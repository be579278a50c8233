"""The registry on a real MLflow database: nothing is made twice, and its errors are ours."""

from __future__ import annotations

import json
import time
import traceback
from typing import TYPE_CHECKING

import pytest

from ftcore import settings
from ftcore.errors import FtcoreError, StoppedError, TrainingError, TransientError
from ftcore.registry import served
from ftcore.store import patience
from ftcore.tracking import server, training_run
from ftcore.tracking.client import CANDIDATE, CHAMPION, FAILURE_TAG, PREVIOUS, RUN_TAG, Tracking

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Product


def test_a_run_is_opened_once(product: Product) -> None:
    first = product.tracking.open_run("r1", {"ftcore.snapshot": "s"})
    assert product.tracking.open_run("r1", {}) == first
    assert product.tracking.open_run("r2", {}) != first
    tags = product.tracking.client.get_run(first).data.tags
    assert (tags[RUN_TAG], tags["ftcore.snapshot"], tags["mlflow.runName"]) == ("r1", "s", "r1")


def test_what_is_logged_is_there(product: Product) -> None:
    tracking = product.tracking
    run = tracking.open_run("r1", {})
    tracking.log(run, params={"rank": 8, "long": "x" * 9000}, metrics={"loss": 0.5, "bad": float("nan")}, step=1)
    tracking.log(run, metrics={"loss": 0.25, "worse": float("inf")}, step=2)
    tracking.log_snapshot(run, "abc", 12, "there")
    assert tracking.metrics(run) == {"loss": 0.25}
    found = tracking.client.get_run(run)
    assert found.data.params["rank"] == "8"
    assert len(found.data.params["long"]) == 6000
    (dataset,) = found.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == (f"{product.name}-abc", "abc")
    tracking.close_run(run)
    assert tracking.client.get_run(run).info.status == "FINISHED"


def test_names_that_people_choose_are_names_for_mlflow_too(product: Product) -> None:
    run = product.tracking.open_run("r1", {})
    names = ["plain.name", "Räume?", "a=b", "a:b", "../up", "/root", "a//b", "", "x" * 400, "x" * 399 + "y", "[0]", "."]
    for kind in ("params", "metrics", "tags"):
        product.tracking.log(run, **{kind: {f"{name}": 1.0 for name in names}})
    product.tracking.log(run, params={f"p{number}": number for number in range(230)})
    data = product.tracking.client.get_run(run).data
    assert len(data.metrics) == len(names)
    assert len(data.params) == len(names) + 230
    assert {"plain.name", "a:b"} <= set(data.metrics)


def test_logging_the_same_again_is_no_error(product: Product) -> None:
    run = product.tracking.open_run("r1", {})
    for _ in range(2):
        product.tracking.log(run, params={"rank": 8})
        product.tracking.log_snapshot(run, "abc", 12, "there")
    assert len(product.tracking.client.get_run(run).inputs.dataset_inputs) == 1


def test_another_machine_may_go_on_with_a_run(product: Product) -> None:
    run = product.tracking.open_run("r1", {})
    for cores in (2, 16):
        product.tracking.log(run, params={"rank": 8}, tags={"env.cores": cores})
    assert product.tracking.client.get_run(run).data.tags["env.cores"] == "16"


def test_a_changed_recipe_is_another_run(product: Product) -> None:
    first, same, other = (product.tracking.open_run("r1", {"ftcore.recipe": recipe}) for recipe in ("a", "a", "b"))
    assert first == same != other


def test_a_version_is_registered_once_a_run(product: Product) -> None:
    first, again, second = (product.register(run_id, "s") for run_id in ("r1", "r1", "r2"))
    assert (first.number, again.number, second.number) == (1, 1, 2)
    assert first.snapshot == "s"
    assert [version.number for version in product.tracking.versions()] == [2, 1]
    assert product.tracking.version(1).tags[RUN_TAG] == "r1"


def test_the_newest_is_candidate(product: Product) -> None:
    assert product.tracking.alias(CANDIDATE) is None
    for number in (1, 2):
        product.register(f"r{number}")
        held = product.tracking.alias(CANDIDATE)
        assert held is not None
        assert held.number == number
    assert product.tracking.alias(CHAMPION) is None


def test_an_alias_is_held_by_one_version(product: Product) -> None:
    one, two = product.register("r1"), product.register("r2")
    product.tracking.set_alias(PREVIOUS, one)
    product.tracking.set_alias(PREVIOUS, two)
    held = product.tracking.alias(PREVIOUS)
    assert held is not None
    assert held.number == 2
    product.tracking.tag(two, {"verdict": "passed", "n": 3})
    tags = product.tracking.version(2).tags
    assert (tags["ftcore.verdict"], tags["ftcore.n"]) == ("passed", "3")


def test_artefacts_are_fetched_once_and_anew_when_they_change(product: Product, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_text("one")
    version = product.register("r1", folders=[folder])
    fetched = served.folder(product.tracking, version, "model")
    assert (fetched / "weights").read_text() == "one"
    assert fetched.is_relative_to(product.settings.cache)
    (folder / "weights").write_text("two")
    assert served.folder(product.tracking, version, "model") == fetched
    assert (fetched / "weights").read_text() == "one"
    product.tracking.log_folder(version.run, folder, "model")
    assert (served.folder(product.tracking, version, "model") / "weights").read_text() == "two"
    assert [path.name for path in fetched.parent.iterdir()] == ["model"]


def test_an_artefact_that_is_not_there_is_named(product: Product) -> None:
    version = product.register("r1")
    with pytest.raises(FtcoreError, match=f"version 1 of {product.name} has no artefact 'onnx-int8'"):
        served.folder(product.tracking, version, "onnx-int8")
    assert list(product.settings.cache.rglob("*onnx*")) == []


def test_a_version_that_is_not_there_is_no_transient_error(product: Product) -> None:
    with pytest.raises(FtcoreError, match=r"MLflow at sqlite:.*not found") as error:
        product.tracking.version(9)
    assert not error.value.retryable


def test_a_server_that_is_away_is_tried_again_later(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTCORE_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TransientError, match=r"MLflow at http://127.0.0.1:9 does not answer") as error:
        Tracking(settings.load(), "demo").alias(CHAMPION)
    assert error.value.exit_code == 75
    assert "FTCORE_TRACKING_URI" in error.value.hint


@pytest.mark.parametrize("login", ["mira:hunter2", "hunter2", "mira:hun@hunter2", "mira:1/hunter2"])
@pytest.mark.parametrize("query", ["", "?token=hunter2"])
def test_the_servers_password_is_in_no_message_link_or_log(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, login: str, query: str
) -> None:
    monkeypatch.setenv("FTCORE_TRACKING_URI", f"http://{login}@127.0.0.1:9/mlflow{query}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    conf = settings.load()
    with patience.lasting(0.01), pytest.raises(FtcoreError, match=r"MLflow at http://127\.0\.0\.1:9/mlflow") as error:
        Tracking(conf, "demo").alias(CHAMPION)
    page = server.run_page(conf.mlflow_uri, "1", "r")
    assert page == "http://127.0.0.1:9/mlflow/#/experiments/1/runs/r"
    said = "".join(traceback.format_exception(error.value)) + caplog.text + page
    assert "hunter2" not in said


@pytest.mark.parametrize("uri", ["sqlite:////home/a@b/mlflow.db", "file:///a@b", "http://127.0.0.1:9", "https://h/a"])
def test_an_address_without_a_password_is_shown_as_it_is(uri: str) -> None:
    assert server.shown(uri) == uri


def lose_answers(tracking: Tracking, monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> list[object]:
    """Requests of a name are done, and their answers lost, so many times; returns what was made."""
    from requests.exceptions import ConnectionError as RefusedError

    client, made = tracking.client._there, list[object]()
    ask = getattr(client, name)

    def lossy(*args: object, **options: object) -> object:
        made.append(ask(*args, **options))
        if len(made) <= times:
            raise RefusedError("Connection aborted")
        return made[-1]

    monkeypatch.setattr(client, name, lossy)
    return made


def test_an_answer_that_is_lost_makes_nothing_twice(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT_S", 0.01)
    tracking = product.tracking
    runs = lose_answers(tracking, monkeypatch, "create_run", 1)
    versions = lose_answers(tracking, monkeypatch, "create_model_version", 1)
    with patience.lasting(5):
        run = tracking.open_run("r1", {})
        version = tracking.register("r1", run, "model", {})
    assert (len(runs), len(versions)) == (1, 1), "looked for before it was asked again"
    assert [one.number for one in tracking.versions()] == [version.number] == [1]
    assert tracking.alias(CANDIDATE) == version


def test_what_a_late_request_made_after_all_is_taken_away(product: Product) -> None:
    """A server that was stopped does what nobody waits for any more."""
    tracking = product.tracking
    first = tracking.open_run("r1", {})
    late = tracking.client.create_run(tracking._experiment(), tags={RUN_TAG: "r1"})
    assert tracking.open_run("r1", {}) == first
    assert tracking.client.get_run(late.info.run_id).info.lifecycle_stage == "deleted"
    version = tracking.register("r1", first, "model", {})
    source = f"{tracking.client.get_run(first).info.artifact_uri}/model"
    tracking.client.create_model_version(product.name, source, first)
    assert tracking.register("r1", first, "model", {}).number == version.number
    assert [one.number for one in tracking.versions()] == [version.number]


ENDS: list[tuple[BaseException, str, str]] = [
    (TrainingError("the loss is not a number", hint="lower the rate"), "FAILED", "TrainingError: the loss is not a n"),
    (ValueError("a fault of ours\nwith a row in it"), "FAILED", "ValueError: a fault of ours"),
    (MemoryError(), "FAILED", "MemoryError"),
    (StoppedError("stopped at step 3 of 8"), "KILLED", "StoppedError: stopped at step 3 of 8"),
    (SystemExit(75), "KILLED", "SystemExit: 75"),
    (KeyboardInterrupt(), "KILLED", "KeyboardInterrupt"),
]


@pytest.mark.parametrize(("error", "status", "reason"), ENDS, ids=lambda value: type(value).__name__)
def test_a_run_ends_as_its_training_did(product: Product, error: BaseException, status: str, reason: str) -> None:
    tracking = product.tracking
    run = tracking.open_run("r1", {})
    with pytest.raises(type(error)), training_run.ending(tracking, run):
        raise error
    found = tracking.client.get_run(run)
    assert found.info.status == status
    assert found.data.tags[FAILURE_TAG].startswith(reason)
    assert "row" not in found.data.tags[FAILURE_TAG]
    assert tracking.open_run("r1", {}) == run, "the next try goes on with it"
    found = tracking.client.get_run(run)
    assert found.info.status == "RUNNING"
    assert FAILURE_TAG not in found.data.tags


def test_the_curve_of_a_resumed_training_holds_each_step_once(product: Product, tmp_path: Path) -> None:
    tracking = product.tracking
    run = tracking.open_run("r1", {})
    for first, last in ((0, 4), (2, 6)):  # steps behind the checkpoint are done again
        with training_run.curve(tracking, run, tmp_path / "scratch") as track:
            track([(step, {"loss": float(step), "bad": float("nan")}, 1.0) for step in range(first, last)])
    assert [(one.step, one.value) for one in tracking.client.get_metric_history(run, "loss")] == [
        (step, float(step)) for step in range(6)
    ]
    assert not list((tmp_path / "scratch").iterdir())


def test_the_load_of_a_resumed_training_goes_on_after_what_waits_to_be_sent(
    product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking, name = product.tracking, "system/cpu_utilization_percentage"
    run = tracking.open_run("r1", {})
    tracking.log(run, metrics={name: 1.0, "loss": 1.0}, step=1)
    (tmp_path / f"system-{run}.jsonl").write_text("".join(json.dumps([s, {name: 1.0}, s]) + "\n" for s in (2, 3)))
    assert training_run.last_steps(tracking, run, lambda one: one == "loss") == {"loss": 1}
    monkeypatch.setattr(training_run, "SAMPLE_S", 0.05)
    deadline = time.monotonic() + 20
    with training_run.system_metrics(tracking, run, tmp_path):
        while time.monotonic() < deadline:
            steps = [one.step for one in tracking.client.get_metric_history(run, name)]
            if max(steps) > 3:
                break
    assert sorted(steps) == list(range(1, len(steps) + 1))
    assert len(steps) > 3
