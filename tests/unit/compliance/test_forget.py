"""A forgotten subject's rows come back from no source, and everything that knows them is named."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from ftcore import pipeline, settings
from ftcore.compliance import forget
from ftcore.compliance.forget import ErasureRequest
from ftcore.compliance.traces import Traces
from ftcore.data import snapshot, suppression
from ftcore.data.cleaning.audit import audit
from ftcore.data.cleaning.personal import KEY_VARIABLE
from ftcore.errors import FtcoreError, TransientError
from ftcore.registry import login
from ftcore.serving import scoring
from ftcore.store import parts, store
from ftcore.tracking.client import Tracking

if TYPE_CHECKING:
    from conftest import Product

SQL = {"kind": "sql", "connection": "crm", "query": "SELECT * FROM t", "watermark": "seen", "id": "id", "group": "who"}
FILES = {"kind": "files", "path": "rows.csv", "id": "id", "group": "who"}
ANNA = "anna.kowalska@example.org"
GROUPS = 23
"""So many that each split has some of them, whatever the recipe is called, also once one is gone."""


def people(count: int, start: int = 0) -> list[tuple[Any, ...]]:
    """Rows of which every tenth is Anna's; their texts hold her address."""
    return [
        (
            n,
            f"row {n:x} {n * 7919:x} of {ANNA if n % 10 == 0 else f'c{n % GROUPS}'} {n * 104729:x}",
            ("negative", "positive")[n % 2],
            ANNA if n % 10 == 0 else f"c{n % GROUPS}",
            n,
        )
        for n in range(start, start + count)
    ]


def write(product: Product, rows: list[tuple[Any, ...]]) -> None:
    lines = ["id,text,label,who", *(f"{n},{text},{label},{who}" for n, text, label, who, _ in rows)]
    (product.path.parent / "rows.csv").write_text("\n".join(lines))


@pytest.fixture
def crm(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sqlite3.Connection:
    assert not home.exists(), "its settings are made first"
    monkeypatch.setenv("FTCORE_CONNECTION_CRM", f"sqlite:///{tmp_path / 'crm.db'}")
    made = sqlite3.connect(tmp_path / "crm.db", isolation_level=None)
    made.execute("CREATE TABLE t (id INTEGER, text TEXT, label TEXT, who TEXT, seen INTEGER)")
    made.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", people(60))
    return made


def data(product: Product, run_id: str) -> str:
    """Run the chain ``data``; returns the id of its snapshot."""
    return str(pipeline.run(product.path, run_id, ("data",))[-1].figures["snapshot"])


def forgets(product: Product, key: str, **more: Any) -> dict[str, Any]:
    return forget.forget(product.recipe, product.shelf, product.settings, ErasureRequest(key, **more))


def log_request(product: Product, request_id: str, text: str, group: str | None) -> None:
    row = {"request_id": request_id, "at": snapshot.now(), "text": text, "label": "positive", "group": group}
    product.shelf.append(
        "predictions", pa.Table.from_pylist([row], schema=scoring.log_schema()), "2026-11-01", request_id
    )
    told = pa.table({"request_id": [request_id], "label": ["positive"], "at": pa.array([row["at"]])})
    product.shelf.append("feedback", told, "2026-11-01", request_id)


def raw(product: Product, run_id: str) -> list[dict[str, Any]]:
    record = product.run("ingest", run_id)
    return pa.concat_tables(parts.read(product.shelf.root / record.paths["rows"])).to_pylist()


def test_it_comes_back_from_no_source(product: Product, crm: sqlite3.Connection) -> None:
    product.change(
        sources=[FILES, SQL, {"kind": "feedback"}], prepare={"near_duplicates": None, "validation": 0.3, "test": 0.3}
    )
    write(product, people(80, 1000))
    log_request(product, "q1", "is it good then", ANNA)
    log_request(product, "q2", "is it bad then", "c1")
    data(product, "r1")
    report = forgets(product, ANNA.upper(), in_text=True, reason="case 7")
    assert report["logs"] == {"predictions": 1, "feedback": 1}
    assert report["masked"], "snapshots hold [EMAIL_ADDRESS], which may be anybody's"
    crm.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", people(20, 60))
    rows = raw(product, "r2")
    assert len(rows) == 72 + 72 + 1
    assert not any(ANNA in f"{row['text']} {row['group']}" for row in rows)
    second = data(product, "r2")
    assert snapshot.manifest(product.shelf, second)["suppressed"] == 8 + 8, "her request is not in the log any more"
    assert audit(product.shelf, second)["found"] == {}
    crm.execute("INSERT INTO t SELECT id + 1000, text, label, who, 100 FROM t WHERE who LIKE 'anna%'")
    assert not any(ANNA in row["text"] for row in raw(product, "r3")), "rows that come later are told as well"
    assert product.run("ingest", "r3").figures["rows"] == 72 + 72 + 1
    written = [file for file in product.shelf.root.rglob("*") if file.is_file() and "forg" in file.as_posix()]
    assert len(written) == 4, "an entry, a salt, two lines in the ledger"
    assert not any("anna" in file.read_text().casefold() for file in written)


def test_rows_that_carry_over_are_told_by_their_group(product: Product, crm: sqlite3.Connection) -> None:
    product.change(
        sources=[SQL], prepare={"near_duplicates": None, "validation": 0.3, "test": 0.3}, validation={"min_rows": 10}
    )
    first = data(product, "r1")
    version = product.crown("r1", first)
    report = forgets(product, "c3")
    told = report["snapshots"][0]
    assert (told["snapshot"], told["current"]) == (first, True)
    expected = {one[0] for one in people(60) if one[3] == "c3"}
    assert sum(told["rows"].values()) == len(expected)
    trained = told["rows"].get("train", 0) + told["rows"].get("validation", 0)
    tested = told["rows"].get("test", 0)
    assert report["versions"] == [{"version": version.number, "snapshot": first, "trained": trained, "tested": tested}]
    assert not report["masked"]
    crm.execute("DELETE FROM t WHERE who <> 'c3'")  # so that what comes now is carried over from the snapshot
    rows = raw(product, "r2")
    assert len(rows) == 60 - len(expected)
    assert all(row["group"] != "c3" for row in rows)
    second = data(product, "r2")
    assert forgets(product, "c3")["snapshots"] == [told | {"current": False}]
    assert snapshot.current(product.shelf) == second


def test_a_rows_own_key_and_a_row_id_are_subjects_too(product: Product, crm: sqlite3.Connection) -> None:
    product.change(
        sources=[SQL], prepare={"near_duplicates": None, "validation": 0.3, "test": 0.3}, validation={"min_rows": 10}
    )
    data(product, "r1")
    assert sum(forgets(product, "17")["snapshots"][0]["rows"].values()) == 1
    assert sum(forgets(product, snapshot.row_id("sql:crm", "18"))["snapshots"][0]["rows"].values()) == 1
    ids = {row["row_id"] for row in raw(product, "r2")}
    assert {snapshot.row_id("sql:crm", key) for key in ("17", "18")}.isdisjoint(ids)
    assert snapshot.row_id("sql:crm", "19") in ids


def test_a_pseudonym_tells_whose_a_row_is(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "0123456789abcdef-secret")
    personal = {"entities": {"EMAIL_ADDRESS": "pseudonym"}}
    prepare = {"near_duplicates": None, "personal_data": personal, "validation": 0.3, "test": 0.3}
    product.change(sources=[FILES], prepare=prepare, validation={"min_rows": 10})
    write(product, people(40))
    identity = data(product, "r1")
    assert sum(forgets(product, ANNA, dry_run=True)["snapshots"][0]["rows"].values()) == 4
    forgets(product, ANNA)
    product.change(sources=[{**FILES, "group": None}])
    assert len(raw(product, "r2")) == 36, "its rows are known by their ids, now that the recipe names no group"
    assert snapshot.verify(product.shelf, identity) == []


def test_logs_of_this_machine_are_cleared(product: Product) -> None:
    product.change(
        sources=[FILES], prepare={"near_duplicates": None, "validation": 0.3, "test": 0.3}, validation={"min_rows": 10}
    )
    write(product, people(40))
    data(product, "r1")
    theirs, other = (next(text for _, text, _, who, _ in people(40) if who == name) for name in ("c3", "c4"))
    log = product.settings.home.resolve() / "airflow" / "logs" / "dag_id=data__x" / "attempt=1.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(json.dumps({"event": f"cannot read {text!r}"}) + "\n" for text in (theirs, other)))
    assert forgets(product, "c3", dry_run=True)["log_files"] == {str(log): 1}
    assert theirs in log.read_text()
    assert forgets(product, "c3")["log_files"] == {str(log): 1}
    assert theirs not in log.read_text()
    assert other in log.read_text()
    assert forgets(product, "c3")["log_files"] == {}


def test_to_look_changes_nothing(product: Product) -> None:
    product.change(
        sources=[FILES], prepare={"near_duplicates": None, "validation": 0.3, "test": 0.3}, validation={"min_rows": 10}
    )
    write(product, people(40))
    data(product, "r1")
    before = {file: file.read_bytes() for file in product.shelf.root.rglob("*") if file.is_file()}
    report = forgets(product, "c3", dry_run=True)
    assert report["snapshots"]
    assert before == {file: file.read_bytes() for file in product.shelf.root.rglob("*") if file.is_file()}


def test_killed_before_the_ledger_it_is_told_the_second_time(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    write(product, people(40))

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.RecipeStore, "add_to_ledger", killed)
        with pytest.raises(KeyboardInterrupt):
            forgets(product, "c3", reason="case 7")
    assert product.shelf.ledger() == []
    product.change(sources=[FILES])
    assert not any(row["group"] == "c3" for row in raw(product, "r1")), "it is in force already"
    first, again = forgets(product, "c3"), forgets(product, "c3")
    assert first["known"]
    assert first == again
    (line,) = product.shelf.ledger("forget")
    assert (line["decision"], line["because"]) == ("forgotten", "case 7")
    assert line["by"] == login.here()
    forgets(product, "c3", by="mira")
    forgets(product, "c3", by="mira")
    forgets(product, "c3", by="C3 ")
    assert [one["by"] for one in product.shelf.ledger("forget")] == [login.here(), "mira", "the subject"]
    told = re.findall(r"\w+", json.dumps(product.shelf.ledger("forget")).replace(line["run_id"], ""))
    assert "c3" not in told, "hashes may hold these letters"


def test_mlflow_away_does_not_hold_it_up(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTCORE_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TransientError, match="does not answer"):
        forgets(product, "c3")
    assert len(suppression.load(product.shelf, {}).entries) == 1
    assert product.shelf.ledger() == []


EXAMPLES = {
    b'{"inputs": ["somebody else wrote all of this"]}': False,
    b'{"inputs": ["what a customer of ours wrote"]}': True,
    b'["what a customer of ours wrote"': True,  # cut
    b"\xff what a customer of ours wrote": True,
    b"[" * 100_000: False,
    b"": False,
}


def test_an_input_example_of_whatever_shape_is_looked_through(
    product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces = Traces()
    traces.add([{"text": "what a customer of ours wrote"}], ["text"])
    for number, (example, shown) in enumerate(EXAMPLES.items()):
        store.write_bytes((folder := tmp_path / str(number) / "model") / "input_example.json", example)
        version = product.register(f"r{number}", folders=[folder])
        assert forget._shows(product.tracking, version.run, traces) == shown, example
    assert not forget._shows(product.tracking, product.register("none").run, traces), "it has none"
    forgets(product, "c3")
    assert [line["decision"] for line in product.shelf.ledger("forget")] == ["forgotten"]
    monkeypatch.setenv("FTCORE_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TransientError):
        forget._shows(Tracking(settings.load(), product.name), version.run, traces)


def test_a_run_that_had_read_already_publishes_nothing_of_it(product: Product) -> None:
    product.change(
        sources=[FILES], prepare={"near_duplicates": None, "validation": 0.3, "test": 0.3}, validation={"min_rows": 10}
    )
    write(product, people(40))
    product.run("ingest")
    product.run("prepare")
    forgets(product, "c3")
    with pytest.raises(FtcoreError, match="forgotten after this run read") as told:
        product.run("validate")
    assert f"ftcore run {product.name} --only data --run r1" in told.value.hint
    assert snapshot.current(product.shelf) is None
    identity = data(product, "r1")  # the run goes on: ingest sees that somebody was forgotten
    assert "c3" not in snapshot.read(product.shelf, identity)["group"].to_pylist()


def test_a_key_that_is_none_and_a_reason_that_names_it_are_refused(product: Product) -> None:
    with pytest.raises(FtcoreError, match="letters or digits"):
        forgets(product, " - ")
    with pytest.raises(FtcoreError, match="names the subject"):
        forgets(product, "Anna", reason="asked for by ANNA")
