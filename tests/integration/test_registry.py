"""The registry on a real MLflow server that goes away in the middle, and with two candidates at once."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ftcore import pipeline, settings
from ftcore.errors import TransientError
from ftcore.recipe import reading as recipe
from ftcore.registry import doctor, intents, versions
from ftcore.registry.judgement import record_verdict
from ftcore.registry.promotion import ModelRegistry
from ftcore.registry.verdict import Rule, Verdict
from ftcore.store import store
from ftcore.store.records import Record, now
from ftcore.tracking import curve_buffer
from ftcore.tracking import server as tracking_server
from ftcore.tracking.registered import model
from ftcore.training import callbacks
from tests.bench import _registry
from tests.conftest import Product, document
from tests.integration._unreliable import Break, way_to

NAMES = count()
SILENT_S = 2
"""Seconds that MLflow is given for an answer where it breaks."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelRegistry]:
    """A real MLflow server, through which the artefacts go as well."""
    with pytest.MonkeyPatch.context() as patch, _registry.registry(tmp_path_factory.mktemp("mlflow")) as registrar:
        patch.delenv("FTCORE_ARTIFACTS")
        yield registrar


@pytest.fixture
def make(server: ModelRegistry) -> Callable[[], Path]:
    """Makes recipes of which version 2 is champion after 1, and 3 has passed the gate."""

    def one() -> Path:
        folder = Path(settings.load().recipes)
        path = folder / f"bad_{next(NAMES)}.yaml"
        path.write_text(_registry.RECIPE.replace("name: bench", f"name: {path.stem}"), encoding="utf-8")
        registrar = of(path)
        registrar.shelf.write_layout()
        for number in (1, 2, 3):
            judged(registrar, number, number - 1 or None)
            if number < 3:
                registrar.promote(number, "mira", needs=["onnx-int8"])
        return path

    return one


def judged(registrar: ModelRegistry, number: int, champion: int | None) -> None:
    """Register a version with what serves, and leave what a gate leaves."""
    run_id, tracked = f"r{number}", registrar.tracking
    run = tracked.open_run(run_id, {})
    made = tracked.settings.home / "made" / "onnx-int8"
    made.mkdir(parents=True, exist_ok=True)
    (made / "model.onnx").write_text(f"graph {number}", encoding="utf-8")
    tracked.log_folder(run, made, made.name)
    tracked.register(run_id, run, made.name, {})
    verdict = Verdict(
        passed=True,
        rules=(Rule(gate="threshold", passed=True, reason="0.9 reaches 0.8"),),
        candidate=number,
        champion=champion,
    )
    path = registrar.shelf.folder(run_id, "gate") / "verdict.json"
    store.write_json(path, verdict.to_json())
    record_verdict(registrar, run_id, verdict, store.hash_file(path))
    record = Record(
        step="gate",
        recipe=tracked.name,
        run_id=run_id,
        fingerprint="",
        started_at=now(),
        figures=verdict.to_json(),
    )
    registrar.shelf.write_record(record)


def of(path: Path) -> ModelRegistry:
    conf = settings.load()
    read = recipe.read(path)
    return ModelRegistry.of(read, store.shelf(conf, read.name), conf)


def state(path: Path) -> tuple[Any, ...]:
    """Everything that the registry and the ledger say, but the times."""
    registrar = of(path)
    told = model(registrar.tracking)
    tags = {
        one.number: sorted(key for key, value in one.tags.items() if value) for one in registrar.tracking.versions()
    }
    lines = [(line["kind"], line["decision"], line.get("version")) for line in registrar.shelf.ledger()]
    return told.aliases, sorted(told.tags), tags, lines


ACTIONS: dict[str, Callable[[Path], object]] = {
    "promote": lambda path: pipeline.run_step("promote", path, "r3"),
    "rollback": lambda path: of(path).rollback("mira", "complaints", ["onnx-int8"]),
}


def through(
    path: Path, action: str, after: int | None, how: Break, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, float]:
    """Do it on a way that breaks; returns the number of requests and the seconds it took."""
    with way_to(settings.load().tracking_uri, after, how) as way, monkeypatch.context() as patch:
        patch.setenv("FTCORE_TRACKING_URI", way.url)
        clock = time.monotonic()
        if after is None:
            ACTIONS[action](path)
        else:
            patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
            patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(SILENT_S))
            patch.setenv("FTCORE_PATIENCE_S", "0")
            told: TransientError | None = None
            try:
                ACTIONS[action](path)
            except TransientError as error:
                told = error
            if told is None:  # it is done; what is left is the ledger's newest line on the model
                assert list(intents.pending(of(path).shelf))
            else:
                assert str(told).startswith(f"MLflow at {way.url} does not answer")
                assert told.exit_code == 75
                assert "FTCORE_TRACKING_URI" in told.hint
        return way.requests, time.monotonic() - clock


@pytest.mark.parametrize("action", ACTIONS)
def test_mlflow_that_goes_away_in_the_middle_leaves_what_was_or_what_was_meant(
    make: Callable[[], Path], action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Break before some of its requests in turn: nothing was changed, or an intent says what doctor then finishes.

    The unit tests of the step break it at every call.
    """
    path = make()
    before = state(path)
    requests, _ = through(path, action, None, "refused", monkeypatch)
    meant = state(path)
    assert meant != before
    breaks: list[tuple[int, Break]] = [(after, "refused") for after in range(0, requests, max(1, requests // 4))]
    breaks += [(requests // 2, "silent"), (requests // 2, "lost"), (requests - 1, "lost")]
    path = make()
    for after, how in breaks:
        _, seconds = through(path, action, after, how, monkeypatch)
        assert seconds < SILENT_S + 20, f"{how} at request {after + 1} took {seconds:.1f} s"
        if list(intents.pending(of(path).shelf)):
            doctor.mend(of(path))
            assert state(path) == meant, f"{how} at request {after + 1} of {requests}"
        else:
            assert state(path) in (before, meant), f"{how} at request {after + 1} of {requests}"
        if state(path) != before:
            path = make()


def test_by_default_a_silent_server_is_given_up_within_100_seconds(
    server: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured on shorter times, which the same variables set."""
    import os

    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    with way_to(settings.load().tracking_uri, 0, "silent") as way, monkeypatch.context() as patch:
        patch.setattr(tracking_server, "ANSWER_S", 1)
        patch.setenv("FTCORE_TRACKING_URI", way.url)
        clock = time.monotonic()
        with pytest.raises(TransientError, match="does not answer"):
            of(next(Path(settings.load().recipes).glob("*.yaml"))).held()
        waited = time.monotonic() - clock - tracking_server.TRIES
        assert way.requests == tracking_server.TRIES
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "1"
    assert waited + tracking_server.TRIES * tracking_server.ANSWER_S < 100


def test_mlflow_that_is_away_for_a_while_costs_a_training_a_wait(
    server: ModelRegistry, tiny: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Away when the first point of the curve comes, and again in the answer to the registration; nothing is doubled."""
    train = {"epochs": 1, "max_length_tokens": 32, "batch_size": 8, "evaluations_per_epoch": 1, "precision": "fp32"}
    small = {"base": str(tiny / "model"), "method": {"kind": "lora", "rank": 2}, "train": train}
    product = Product("away", settings.load().recipes / "away.yaml")
    store.write_json(product.path, document("away") | small)  # JSON is YAML
    product.publish(range(160))
    product.run("plan")
    monkeypatch.setattr(callbacks, "FLUSH_S", 0.0)
    monkeypatch.setattr(curve_buffer, "AGAIN_S", 0.1)
    logging.getLogger("ftcore").propagate = True
    with way_to(settings.load().tracking_uri) as way, monkeypatch.context() as patch:
        way.outages = [(b"grad_norm", 1.5), (b"model-versions/create", 1.5)]
        patch.setenv("FTCORE_TRACKING_URI", way.url)
        patch.setenv("FTCORE_PATIENCE_S", "60")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with caplog.at_level(logging.INFO, "ftcore"):
            record = product.run("train")
    assert not way.outages, "both outages came"
    said = [entry.getMessage() for entry in caplog.records]
    assert any("does not answer; waiting up to 60 s" in line for line in said)
    assert any("answers again" in line for line in said)
    client, run = product.tracking.client, record.figures["mlflow_run"]
    steps = [one.step for one in client.get_metric_history(run, "loss")]
    assert steps == list(range(1, int(record.figures["steps"]) + 1)), "the curve has no gap and no double"
    assert client.get_run(run).info.status == "FINISHED"
    assert [version.number for version in product.tracking.versions()] == [1]


def test_of_two_candidates_at_once_one_is_promoted_and_the_other_is_judged_again(make: Callable[[], Path]) -> None:
    path = make()
    registrar = of(path)
    judged(registrar, 4, 2)  # as 3 it was judged against champion 2
    processes = [multiprocessing.get_context("fork").Process(target=_promote, args=(path, run)) for run in ("r3", "r4")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    lines = registrar.shelf.ledger("promote")[2:]
    assert sorted(line["decision"] for line in lines) == ["promoted", "refused"]
    refused, promoted = sorted(lines, key=lambda line: line["decision"], reverse=True)
    assert {promoted["version"], refused["version"]} == {3, 4}
    assert refused["reason"] == (
        f"version {promoted['version']} became champion after version {refused['version']} was judged; judge it again"
    )
    found = versions.book(registrar.tracking).model.aliases
    assert (found["champion"], found["previous"]) == (promoted["version"], 2)
    assert doctor.examine(registrar, ["onnx-int8"]) == []


def _promote(path: Path, run: str) -> None:
    pipeline.run_step("promote", path, run)
