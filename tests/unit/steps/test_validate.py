"""validate through real Great Expectations: what is published, what is refused, what is said about change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ftcore import parts, snapshot
from ftcore.cleaning.audit import audit
from ftcore.context import Context, Outcome
from ftcore.errors import DataRejectedError, FtcoreError
from ftcore.records import now
from ftcore.sections import Validation
from ftcore.steps import _comparison, prepare, validate
from ftcore.steps._comparison import Tally
from tests.unit.steps._drafts import context, keep, many, row


def validated(root: Path, rows: list[dict[str, Any]], **more: Any) -> tuple[Context, Outcome]:
    given = context(root, rows, **more)
    run = keep(given, prepare.run(given))
    return run, validate.run(run)


def test_good_rows_are_published_and_bad_ones_named(tmp_path: Path) -> None:
    rows = [
        *many(200),
        row("x", "an unknown label", "odd"),
        row("y", "mail me: a@example.org, nobody labelled it", None),
    ]
    run, outcome = validated(tmp_path, rows)
    identity = outcome.figures["snapshot"]
    assert (outcome.figures["rows"], outcome.figures["quarantined"]) == (200, 2)
    manifest = snapshot.manifest(run.shelf, identity)
    assert manifest["rows_in"] == 202
    assert sum(manifest["splits"].values()) == snapshot.read(run.shelf, identity).num_rows == 200
    assert set(outcome.figures["quarantine_reasons"]) == {"label is missing", "label is not one of neg, pos"}
    assert snapshot.verify(run.shelf, identity) == []
    report = audit(run.shelf, identity)
    assert (report["found"], report["row_ids"]) == ({}, [])
    assert report["rows"] >= 202


def test_the_same_rows_again_are_the_same_snapshot(tmp_path: Path) -> None:
    run, first = validated(tmp_path, many(200))
    created = snapshot.manifest(run.shelf, first.figures["snapshot"])["created_at"]
    _, second = validated(tmp_path, many(200)[::-1], run_id="again", parts=2)
    assert first.figures["snapshot"] == second.figures["snapshot"]
    assert snapshot.manifest(run.shelf, first.figures["snapshot"])["created_at"] == created


def test_rejected_data_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    run, first = validated(tmp_path, many(200))
    with pytest.raises(DataRejectedError, match="would be quarantined"):
        validated(tmp_path, [*many(200), *(row(f"b{n}", f"bad {n}", "odd") for n in range(50))], run_id="bad")
    assert snapshot.current(run.shelf) == first.figures["snapshot"]
    assert len(snapshot.ls(run.shelf)) == 1


def test_what_the_recipe_filters_does_not_reject(tmp_path: Path) -> None:
    foreign = [
        row(f"d{n}", f"Dieser Film war von Anfang bis Ende eine Überraschung, Teil {n} von vielen.") for n in range(60)
    ]
    english = [row(f"e{n}", f"This film was a surprise from the beginning to the very end, part {n} of many.",
                   ("neg", "pos")[n % 2]) for n in range(120)]  # fmt: skip
    _, outcome = validated(tmp_path, english + foreign, prepare={"languages": ["en"], "near_duplicates": None})
    assert outcome.figures["rows"] >= 100
    assert outcome.figures["quarantined"] >= 50


def test_a_change_is_said_or_refused(tmp_path: Path) -> None:
    validated(tmp_path, many(400))
    fewer = [one for one in many(300) if one["label"] == "pos" or int(one["row_id"][:2], 16) < 40]
    run, outcome = validated(tmp_path, fewer, run_id="two")
    said = " / ".join(outcome.figures["warnings"])
    assert "the share of label 'neg' went from 50.0%" in said
    assert "% fewer than the 400" in said
    assert snapshot.manifest(run.shelf, outcome.figures["snapshot"])["warnings"] == outcome.figures["warnings"]
    assert outcome.figures["verdict"] == f"passed, {len(outcome.figures['warnings'])} warnings"
    with pytest.raises(DataRejectedError, match="the share of label"):
        validated(tmp_path, many(400), run_id="three", validation={"change": {"on_failure": "reject"}})


def test_personal_data_that_is_left_rejects(tmp_path: Path) -> None:
    rows = [*many(200), row("m", "write to anna@example.org")]
    kept = {"personal_data": {"entities": {"EMAIL_ADDRESS": "keep"}}}
    given = context(tmp_path, rows, prepare=kept)
    outcome = prepare.run(given)
    strict = context(tmp_path, rows)  # as if prepare had missed it
    with pytest.raises(DataRejectedError, match="1 × EMAIL_ADDRESS is still in the texts"):
        validate.run(keep(strict, outcome))


def test_the_snapshot_of_a_period_is_published_and_is_neither_current_nor_compared(tmp_path: Path) -> None:
    run, first = validated(tmp_path, many(400))
    given = context(tmp_path, many(150), run_id="backfill")
    record = given.earlier("ingest")
    period = {"since": "2026-01-01T00:00:00+00:00", "until": "2026-01-02T00:00:00+00:00"}
    given.shelf.write_record(record.model_copy(update={"figures": {"period": period}}))
    outcome = validate.run(keep(given, prepare.run(given)))
    assert not outcome.proceed, "so no event is emitted, and nothing is trained"
    assert outcome.reason.endswith("of 2026-01-01T00:00:00+00:00 to 2026-01-02T00:00:00+00:00, so not current")
    assert (outcome.figures["rows"], outcome.figures["verdict"]) == (150, "passed"), "250 rows fewer is no change here"
    assert snapshot.current(run.shelf) == first.figures["snapshot"]
    manifest = snapshot.manifest(run.shelf, outcome.figures["snapshot"])
    assert (manifest["period"], manifest["previous"]) == (period, None)
    _, same = validated(tmp_path, many(400), run_id="again")
    assert same.proceed


def test_stale_data() -> None:
    limits = Validation(max_age_days=2, on_stale="reject")
    old, unknown = Tally(rows=1, newest=datetime(2026, 1, 1, tzinfo=UTC)), Tally(rows=1)
    at = datetime(2026, 1, 5, tzinfo=UTC)
    assert _comparison.odd(limits, None, old, at).rejections == ["the newest row is 4.0 days old, 2 are allowed"]
    assert "nobody can tell" in _comparison.odd(limits, None, unknown, at).rejections[0]
    fresh = Tally(rows=1, newest=now() - timedelta(hours=1))
    assert _comparison.odd(limits, None, fresh, now()) == _comparison.Odd()


def raw(run: Context) -> list[Path]:
    return [Path(file.path) for file in (run.shelf.folder(run.run_id, "ingest") / "rows").iterdir()]


def test_the_raw_rows_go_with_the_validation(tmp_path: Path) -> None:
    given = context(tmp_path, [*many(200), row("p", "mail me: a@example.org")])
    assert raw(given)
    run = keep(given, prepare.run(given))
    assert raw(given), "prepare can be killed and run again"
    first = validate.run(run)
    assert raw(given) == []
    assert validate.run(run) == first, "killed before its record, it runs again"
    with pytest.raises(FtcoreError, match="raw rows of run r are gone") as told:
        prepare.run(given)
    assert "ftcore step ingest demo --run r --again" in told.value.hint


def test_the_raw_rows_of_rejected_data_go_too(tmp_path: Path) -> None:
    given = context(tmp_path, many(200), validation={"min_rows": 300})
    run = keep(given, prepare.run(given))
    with pytest.raises(DataRejectedError, match="at least 300"):
        validate.run(run)
    assert raw(given) == []
    with pytest.raises(DataRejectedError, match="at least 300"):
        validate.run(run)


def test_a_snapshot_published_before_the_raw_rows_went_is_published_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = context(tmp_path, many(200), parts=3)
    run = keep(given, prepare.run(given))

    def killed(path: object) -> None:
        raw(given)[0].unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parts, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            validate.run(run)
    assert len(raw(given)) == 2
    outcome = validate.run(run)
    assert (outcome.figures["rows"], len(snapshot.ls(run.shelf)), raw(given)) == (200, 1, [])
