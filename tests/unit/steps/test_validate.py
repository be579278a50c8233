"""validate through real Great Expectations: what is published, what is refused, what is said about change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest
from upath import UPath

from ftcore.context import Context, Outcome
from ftcore.data import snapshot
from ftcore.data.cleaning.audit import audit
from ftcore.errors import DataRejectedError, FtcoreError
from ftcore.steps import prepare, validate
from ftcore.store import parts
from ftcore.store.records import now
from ftcore.store.store import read_table, write_table
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
    assert set(outcome.figures["quarantine_reasons"]) == {
        "label is missing",
        "label 'odd' is none of task.labels: neg, pos",
    }
    assert snapshot.verify(run.shelf, identity) == []
    report = audit(run.shelf, identity)
    assert (report["found"], report["row_ids"]) == ({}, [])
    assert report["rows"] >= 202


def test_rows_that_where_left_out_are_in_the_manifest_and_no_fault(tmp_path: Path) -> None:
    given = context(tmp_path, many(200))
    run = keep(given, prepare.run(given))
    record = run.shelf.record("r", "ingest")
    assert record is not None
    run.shelf.write_record(record.model_copy(update={"figures": {"filtered": {"0:files": 5000}}}))
    outcome = validate.run(run)
    manifest = snapshot.manifest(run.shelf, outcome.figures["snapshot"])
    assert (manifest["filtered_by_where"], manifest["rows_in"], manifest["quarantined"]) == ({"0:files": 5000}, 200, 0)


def test_the_same_rows_again_are_the_same_snapshot(tmp_path: Path) -> None:
    run, first = validated(tmp_path, many(200))
    created = snapshot.manifest(run.shelf, first.figures["snapshot"])["created_at"]
    _, second = validated(tmp_path, many(200)[::-1], run_id="again", parts=2)
    assert first.figures["snapshot"] == second.figures["snapshot"]
    assert snapshot.manifest(run.shelf, first.figures["snapshot"])["created_at"] == created


def test_the_same_rows_again_keep_what_was_left_out_this_time(tmp_path: Path) -> None:
    validated(tmp_path, many(200))
    odd = [row(f"x{n}", f"an unknown label, number {n} of several", "odd") for n in range(4)]
    run, second = validated(tmp_path, [*many(200), *odd], run_id="again")
    identity = second.figures["snapshot"]
    manifest = snapshot.manifest(run.shelf, identity)
    assert (manifest["quarantined"], second.figures["quarantined"], manifest["rows_in"]) == (4, 4, 204)
    assert snapshot.read(run.shelf, identity, ["quarantine"]).num_rows == 4
    report = (run.shelf.root / second.paths["report"]).read_text(encoding="utf-8")
    assert report.encode() == snapshot.file(run.shelf, identity, "report.html")
    assert "none of task.labels" in report
    up = (run.shelf.root / second.paths["report"]).parent / "../../../.."
    assert (run.shelf.root / manifest["data_docs"]).exists()
    assert f'href="../../../../{manifest["data_docs"]}"' in report
    assert Path(str(up)).resolve() == Path(str(run.shelf.root)).resolve()
    assert snapshot.verify(run.shelf, identity) == []
    assert validate.run(run).figures == second.figures
    assert len(list((snapshot.folder(run.shelf, identity) / "publications").iterdir())) == 1


def test_a_snapshot_is_named_by_the_rows_that_it_has(tmp_path: Path) -> None:
    """What ``prepare`` made its name of counts for those rows alone: not where some fail, or were changed since."""
    limits = {"validation": {"text_length": [1, 300]}}
    run, first = validated(tmp_path, many(200), **limits)
    assert first.figures["snapshot"] == run.earlier("prepare").figures["content"]
    run, second = validated(tmp_path, [*many(200), row("x", "long " * 99)], run_id="fails", **limits)
    assert second.figures["snapshot"] == first.figures["snapshot"] != run.earlier("prepare").figures["content"]
    given = context(tmp_path, many(200), run_id="changed", **limits)
    run = keep(given, prepare.run(given))
    (file,) = parts.files(run.shelf.root / run.earlier("prepare").paths["rows"])
    write_table(file, read_table(file).slice(1))
    third = validate.run(run)
    assert third.figures["rows"] == 199
    assert snapshot.verify(run.shelf, third.figures["snapshot"]) == []


def test_nothing_is_published_over_a_snapshot_that_the_run_has_not_seen(tmp_path: Path) -> None:
    def read(run_id: str) -> Context:
        given = context(tmp_path, [], run_id=run_id)
        record = given.earlier("ingest")
        figures = {"current": snapshot.current(given.shelf)}
        given.shelf.write_record(record.model_copy(update={"figures": figures}))
        return given

    def publish(given: Context, count: int) -> None:
        validate._none_published_since(given)
        rows = pa.Table.from_pylist([one | {"split": "train"} for one in many(count)], snapshot.schema(split=True))
        snapshot.publish(given.shelf, lambda: [rows], rows.slice(0, 0), {"labels": {}, "run_id": given.run_id})

    one, two = read("one"), read("two")
    publish(one, 3)
    publish(one, 3)  # killed and run again
    with pytest.raises(FtcoreError, match="run one published snapshot") as caught:
        publish(two, 4)
    assert "--only data" in caught.value.hint
    publish(read("three"), 5)


def test_rejected_data_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    run, first = validated(tmp_path, many(200))
    with pytest.raises(DataRejectedError, match="would be quarantined"):
        validated(tmp_path, [*many(200), *(row(f"b{n}", f"bad {n}", "odd") for n in range(50))], run_id="bad")
    assert snapshot.current(run.shelf) == first.figures["snapshot"]
    assert len(snapshot.ls(run.shelf)) == 1


def test_faults_are_a_share_of_the_rows_that_came_in_not_of_those_left_without_duplicates(tmp_path: Path) -> None:
    """Six faulty rows of 306 are few, though 60 are left of the others."""
    rows = [one | {"row_id": f"{copy}-{one['row_id']}"} for copy in range(5) for one in many(60)]
    rows += [row(f"x{number}", f"an odd label, number {number}", "odd") for number in range(6)]
    settings = {"validation": {"max_quarantined": 0.02, "min_rows": 20}}
    _, outcome = validated(tmp_path, rows, **settings)
    assert (outcome.figures["rows"], outcome.figures["quarantined"]) == (60, 6)
    with pytest.raises(DataRejectedError, match=r"2\.3% of 307 rows that came in would be"):
        validated(tmp_path / "more", [*rows, row("x9", "one more", "odd")], **settings)


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


@pytest.mark.parametrize("groups", [False, True])
def test_gates_that_ask_for_more_test_rows_are_a_warning(tmp_path: Path, groups: bool) -> None:
    """They were undecided after the training, and nothing had said so before."""
    rows = [one | ({"group": f"customer {n % 20}"} if groups else {}) for n, one in enumerate(many(400))]
    key, least = ("min_groups", 30) if groups else ("min_rows", 500)
    gates = [
        {"kind": "threshold", "minimum": 0.5, "min_rows": 10},
        {"kind": "beats_champion", "min_rows": 10, key: least},
    ]
    run, outcome = validated(tmp_path, rows, gates=gates)
    (warning,) = [one for one in outcome.figures["warnings"] if "beats_champion" in one]
    test = snapshot.read(run.shelf, outcome.figures["snapshot"], ["test"])
    there = len(set(test["split_key"].to_pylist())) if groups else test.num_rows
    assert f"needs {least} {key.removeprefix('min_')} of test (gates[1].{key})" in warning
    assert f"{there} groups" in warning if groups else f"there are {there} rows" in warning
    assert outcome.figures["verdict"].startswith("passed, ")


def test_stale_data_is_said_or_refused(tmp_path: Path) -> None:
    old = datetime(2026, 1, 1, tzinfo=UTC)
    dated = [one | {"observed_at": old} for one in many(200)]
    run, outcome = validated(tmp_path / "warn", dated, validation={"max_age_days": 2})
    assert "days old, 2 are allowed" in outcome.figures["warnings"][0]
    with pytest.raises(DataRejectedError, match="days old, 2 are allowed"):
        validated(tmp_path / "old", dated, validation={"max_age_days": 2, "on_stale": "reject"})
    with pytest.raises(DataRejectedError, match="the age of the data is not known"):
        validated(tmp_path / "unknown", many(200), validation={"max_age_days": 2, "on_stale": "reject"})
    fresh = [*dated, many(1, 900)[0] | {"observed_at": now() - timedelta(hours=1)}]
    run, outcome = validated(tmp_path / "fresh", fresh, validation={"max_age_days": 2, "on_stale": "reject"})
    assert outcome.figures["warnings"] == []
    assert snapshot.verify(run.shelf, outcome.figures["snapshot"]) == []


def test_too_few_rows_are_said_once(tmp_path: Path) -> None:
    with pytest.raises(DataRejectedError) as caught:
        validated(tmp_path, many(20))
    assert str(caught.value).count("  - ") == 1
    assert "20 rows are left, at least 100 are needed (validation.min_rows)" in str(caught.value)


def test_no_row_at_all_is_rejected_with_a_report(tmp_path: Path) -> None:
    with pytest.raises(DataRejectedError, match="0 rows are left") as caught:
        validated(tmp_path, [])
    assert "Data that was not published" in Path(caught.value.report).read_text(encoding="utf-8")


def test_every_check_is_kept_and_stands_in_the_data_docs(tmp_path: Path) -> None:
    validated(tmp_path, many(400))
    limits = {"max_age_days": 1, "change": {"label_share": 0.05}, "text_length": (3, 20_000)}
    run, outcome = validated(tmp_path, [*many(300), row("x", "no", "neg")], run_id="two", validation=limits)
    manifest = snapshot.manifest(run.shelf, outcome.figures["snapshot"])
    checks = {one["what"]: one for one in manifest["checks"]}
    assert len(checks) == len(manifest["checks"]) == 22, "14 of the suite, 8 of the snapshot as a whole"
    odd = checks["No text is shorter or longer than the recipe allows."]
    assert (odd["met"], odd["on_failure"], odd["seen"]) == (False, "quarantine", "1 of 301 rows break it")
    stale = checks["The newest row is at most 1 days old."]
    assert (stale["met"], stale["on_failure"]) == (False, "warn")
    page = (run.shelf.root / manifest["data_docs_as_a_whole"]).read_text(encoding="utf-8")
    for words in ("No text holds personal data", "No label&#39;s share moved", "The newest row is at most 1 days old",
                  "Otherwise the snapshot is rejected", "Otherwise this is noted"):  # fmt: skip
        assert words in page.replace("'", "&#39;"), words
    assert (run.shelf.root / manifest["data_docs"]).exists()


def test_the_rows_that_came_and_went_are_counted(tmp_path: Path) -> None:
    validated(tmp_path, many(300))
    run, outcome = validated(tmp_path, many(300, start=100), run_id="two")
    manifest = snapshot.manifest(run.shelf, outcome.figures["snapshot"])
    assert manifest["change"] == {"added": 100, "removed": 100, "kept": 200}


def named(rows: list[dict[str, Any]], source: str) -> list[dict[str, Any]]:
    return [one | {"source": source, "row_id": snapshot.row_id(source, str(n))} for n, one in enumerate(rows)]


def test_a_source_that_was_renamed_is_named(tmp_path: Path) -> None:
    rows = many(300)
    _, first = validated(tmp_path, [*named(rows[:200], "files:jan"), *named(rows[200:], "files:rest")])
    run, second = validated(
        tmp_path, [*named(many(300)[:200], "files:tickets/jan-v2"), *named(rows[200:], "files:rest")], run_id="two"
    )
    (said,) = second.figures["warnings"]
    assert said.startswith(
        f"no row of files:jan in snapshot {first.figures['snapshot']} came again, but 200 of its 200 texts are new "
        "rows of files:tickets/jan-v2: "
    )
    assert "give the source a `name`" in said
    assert snapshot.manifest(run.shelf, second.figures["snapshot"])["warnings"] == [said]
    _, third = validated(
        tmp_path, [*named(many(200, start=300), "files:feb"), *named(rows[200:], "files:rest")], run_id="three"
    )
    assert not [one for one in third.figures["warnings"] if "came again" in one], "other texts in another file"


def test_a_damaged_old_snapshot_stops_no_new_one(tmp_path: Path) -> None:
    run, outcome = validated(tmp_path, many(200))
    (snapshot.folder(run.shelf, outcome.figures["snapshot"]) / "train" / "part-00000.parquet").write_bytes(b"")
    run, outcome = validated(tmp_path, many(250), run_id="two")
    assert "change" not in snapshot.manifest(run.shelf, outcome.figures["snapshot"])


def test_the_whole_of_it_on_a_store_that_is_no_folder(tmp_path: Path) -> None:
    root = UPath(f"memory://{uuid4().hex}")
    given = context(tmp_path, [*many(200), row("x", "an unknown label", "odd")], parts=2, store=root)
    run = keep(given, prepare.run(given))
    outcome = validate.run(run)
    assert run.shelf.root.protocol == "memory"
    assert snapshot.verify(run.shelf, outcome.figures["snapshot"]) == []
    assert (run.shelf.root / outcome.paths["report"]).exists()
    assert (run.shelf.root / outcome.paths["data_docs"]).exists()
    strict = context(tmp_path, many(30), run_id="few", store=root)
    with pytest.raises(DataRejectedError) as caught:
        validate.run(keep(strict, prepare.run(strict)))
    assert "at least 100 are needed (validation.min_rows)" in UPath(caught.value.report).read_text(encoding="utf-8")
    assert snapshot.current(run.shelf) == outcome.figures["snapshot"]
