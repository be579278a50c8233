"""doctor: what a crash or a hand in MLflow leaves behind is found, said plainly, and mended where a program can."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ftcore.compliance.attestation import new_keys
from ftcore.registry import doctor, intents, versions
from ftcore.registry.promotion import ModelRegistry
from ftcore.store.records import now
from ftcore.tracking import runs
from ftcore.tracking.client import CANDIDATE, CHAMPION, FAILURE_TAG, HOST_TAG, PREVIOUS
from ftcore.tracking.registered import drop_alias

if TYPE_CHECKING:
    from conftest import Product


@pytest.fixture
def registrar(product: Product) -> ModelRegistry:
    """Version 2 is champion after version 1, by hand."""
    made = ModelRegistry(product.recipe, product.shelf, product.tracking)
    for run_id in ("r1", "r2"):
        made.promote(product.register(run_id).number, "mira", "first", override=True)
    return made


def found(registrar: ModelRegistry) -> list[str]:
    return [one.what for one in doctor.examine(registrar)]


def test_a_healthy_recipe_has_nothing(registrar: ModelRegistry) -> None:
    assert found(registrar) == []
    assert doctor.mend(registrar) == ([], [])


def test_a_recipe_that_never_ran_has_nothing(product: Product) -> None:
    assert found(ModelRegistry(product.recipe, product.shelf, product.tracking)) == []


def test_a_public_key_of_somebody_else_is_found_and_written_anew(registrar: ModelRegistry, tmp_path: Path) -> None:
    file = registrar.shelf.chain.ring.private.with_name("platform.pem.pub")
    own = file.read_bytes()
    file.write_bytes(new_keys(tmp_path / "eve.pem").read_bytes())
    (told,) = found(registrar)
    assert told.startswith("platform.pem.pub is not the public key of")
    assert (doctor.mend(registrar)[1], file.read_bytes()) == ([], own)


def test_a_half_done_promotion_is_finished(registrar: ModelRegistry, product: Product) -> None:
    product.register("r3")
    intent = registrar.crowning(product.tracking.version(3), 2, "jon", "jon").model_copy(update={"run_id": "hand-3"})
    intents.begin(product.shelf, intent)
    product.tracking.set_alias(PREVIOUS, product.tracking.version(2))
    assert found(registrar) == ["promote of run hand-3 is half done (version 3 is champion, after version 2)"]
    done, left = doctor.mend(registrar)
    assert (len(done), left) == (1, [])
    assert versions.book(product.tracking).model.aliases == {CANDIDATE: 3, CHAMPION: 3, PREVIOUS: 2}
    assert product.shelf.ledger("promote")[-1]["version"] == 3


def test_a_lost_champion_alias_is_given_back(registrar: ModelRegistry, product: Product) -> None:
    drop_alias(product.tracking, CHAMPION)
    assert found(registrar) == ["the registry has no champion, the ledger's is version 2"]
    assert doctor.mend(registrar)[1] == []
    assert versions.book(product.tracking).model.aliases[CHAMPION] == 2


def test_an_alias_that_was_moved_behind_the_ledger_is_put_back(registrar: ModelRegistry, product: Product) -> None:
    product.tracking.set_alias(CHAMPION, product.tracking.version(1))
    said = found(registrar)
    assert "the registry's champion is version 1, the ledger's is version 2" in said
    doctor.mend(registrar)
    assert versions.book(product.tracking).model.aliases[CHAMPION] == 2


def test_a_champion_that_was_deleted_is_written_off(registrar: ModelRegistry, product: Product) -> None:
    product.tracking.client.delete_model_version(product.name, "2")
    assert found(registrar) == ["the registry has no champion, the ledger's is version 2, which is not in the registry"]
    doctor.mend(registrar)
    assert versions.crowned(product.shelf) is None
    assert found(registrar) == ["there are versions, and none is candidate or champion"]


def test_a_champion_that_the_ledger_does_not_know_is_for_a_person(product: Product) -> None:
    product.tracking.set_alias(CHAMPION, product.register("r1"))
    registrar = ModelRegistry(product.recipe, product.shelf, product.tracking)
    (one,) = doctor.examine(registrar)
    assert (one.what, one.mend) == ("version 1 is champion, and the ledger does not know why", None)
    assert doctor.mend(registrar) == ([], [one])


def test_an_artefact_that_is_gone_is_named(registrar: ModelRegistry) -> None:
    one, before = doctor.examine(registrar, ["onnx-int8"])
    assert one.what == "the champion, version 2, has lost its artefact 'onnx-int8'"
    assert "models rollback" in one.hint
    assert before.what == "the previous champion, version 1, has lost its artefact 'onnx-int8'"


def test_a_current_snapshot_that_is_nowhere_is_moved_to_the_newest_whole_one(
    registrar: ModelRegistry, product: Product
) -> None:
    identity = product.publish(range(20))
    pointer = product.shelf.root / "snapshots" / "current.json"
    for text in ('{"snapshot": "0123456789abcdef"}', '{"snap', '{"at": "noon"}'):
        pointer.write_text(text)
        assert found(registrar) == ["snapshots/current.json points nowhere"]
        assert doctor.mend(registrar)[1] == []
        assert identity in pointer.read_text()


def test_broken_files_are_found_and_mended(registrar: ModelRegistry, product: Product) -> None:
    root = product.shelf.root
    record = root / "runs" / "r1" / "gate" / "record.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"step": "ga')
    (record.parent / ".record.json.999999999.tmp").write_text("half")
    (root / "ledger" / "plan--r1.json").write_text("{")
    said = found(registrar)
    assert said == [
        "ledger/plan--r1.json is no line of a ledger",
        "runs/r1/gate/record.json is half written",
        "runs/r1/gate/.record.json.999999999.tmp was left by a process that died",
    ]
    done, left = doctor.mend(registrar)
    assert (len(done), left) == (3, [])
    assert not record.exists()
    assert (root / "ledger" / "plan--r1.json.unreadable").read_text() == "{"


def test_a_lock_that_is_held_is_told_with_its_holder(registrar: ModelRegistry, product: Product) -> None:
    import os

    with product.shelf.lock("train", 0):
        (said,) = found(registrar)
        assert said.startswith(f"the step train is running in process {os.getpid()}, since 2")
    assert found(registrar) == []


def test_a_promotion_whose_step_did_not_end_is_told(product: Product) -> None:
    """The asset event comes from the task that ends: it must be run again."""
    from ftcore.store.records import Record, now

    product.register("r1")
    figures = {"passed": True, "candidate": 1, "champion": None, "rules": []}
    product.shelf.write_record(
        Record(step="gate", recipe=product.name, run_id="r1", fingerprint="", started_at=now(), figures=figures)
    )
    registrar = ModelRegistry(product.recipe, product.shelf, product.tracking)
    with registrar.at_work():
        intent = registrar.crowning(product.tracking.version(1), None, "the loop", "nobody")
        registrar.carry_out(intent.model_copy(update={"run_id": "r1"}))
    (one,) = doctor.examine(registrar)
    assert one.what == "version 1 was promoted, and the step of run r1 did not end"
    product.run("promote")
    assert found(registrar) == []


@pytest.mark.parametrize("half", [b'{"step": "pro', b"", b"[]", b"\xff"])
def test_a_half_written_record_of_the_promotion_is_found_and_mended(
    registrar: ModelRegistry, product: Product, half: bytes
) -> None:
    champion = product.tracking.version(2).tags["ftcore.run"]
    line = product.shelf.ledger("promote")[-1]
    product.shelf.add_to_ledger("promote", champion, "promoted", "again", version=2, by="the loop")
    assert line["version"] == 2
    path = product.shelf.folder(champion, "promote") / "record.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(half)
    assert f"runs/{champion}/promote/record.json is half written" in found(registrar)
    doctor.mend(registrar)
    assert not path.exists()


@pytest.mark.parametrize("timestamp_ms", [10**18, 2**62, 0])
def test_a_metric_of_no_time_says_nothing_about_when_a_run_was_heard_of(product: Product, timestamp_ms: int) -> None:
    run = product.tracking.open_run("r1", {})
    product.tracking.client.log_metric(run, "loss", 0.5, timestamp=timestamp_ms)
    (one,) = runs.running(product.tracking)
    assert timedelta(0) <= now() - one.seen_at < timedelta(minutes=5)


def test_it_knows_every_step() -> None:
    from ftcore import pipeline

    assert set(doctor.STEPS) == set(pipeline.STEPS)


def test_a_run_that_nobody_works_on_is_found_and_ended(
    registrar: ModelRegistry, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = product.tracking
    orphan, theirs, ended = (tracking.open_run(name, {}) for name in ("killed", "elsewhere", "ended"))
    tracking.log(theirs, tags={HOST_TAG: "another"})
    for run in (ended, *(version.run for version in tracking.versions())):
        tracking.close_run(run)
    assert found(registrar) == [], "it may be about to go on"
    monkeypatch.setattr(doctor, "ORPHAN_AFTER", timedelta(0))
    first, second = sorted(doctor.examine(registrar), key=lambda one: not one.fault)
    assert first.what.startswith("MLflow shows run killed as running")
    assert first.what.endswith("no process works on it")
    assert (second.fault, second.mend, second.hint) == (False, None, "look on another, which began it")
    with product.shelf.lock("train", 0):
        (running,) = doctor.examine(registrar)
    assert not running.fault, "a training that is at work is no finding for cron"
    done, left = doctor.mend(registrar)
    assert (len(done), [one.fault for one in left]) == (1, [False])
    found_run = tracking.client.get_run(orphan)
    assert (found_run.info.status, found_run.data.tags[FAILURE_TAG]) == ("KILLED", "its process ended without a word")
    assert tracking.open_run("killed", {}) == orphan, "the next try goes on with it"
