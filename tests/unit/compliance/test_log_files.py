"""A forgotten subject's text in logs: found in whatever form it stands, cleared where the file is ours, else named."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from ftcore.compliance import log_files
from ftcore.compliance.traces import ERASED, Traces

TEXT = 'My name is Žofia and my "old" account\nnumber is in the attachment, please delete it at once\n\nKind regards'
OTHER = "another customer wrote that the weather is fine and that nothing has to be deleted at all"
FORMS = {
    "plain": TEXT.replace("\n", " "),
    "over lines": TEXT,
    "in other case": f"row 7: {TEXT.replace(chr(10), ' ').upper()}!",
    "json": json.dumps({"event": TEXT, "level": "info"}),
    "json of ascii": json.dumps({"row": [{"text": TEXT}]}, ensure_ascii=True),
    "json in json": json.dumps({"event": json.dumps({"text": TEXT})}),
    "repr": f"ValueError: {{'text': {TEXT!r}}}",
    "cut": TEXT.replace("\n", " ")[:70] + "…",
    "group": "no row of C-10442 fits",
    "row id": "row 0123456789abcdef0123 is too long",
}
KEPT = {
    "another text": json.dumps({"event": OTHER}),
    "a line as in the text": "Kind regards",
    "a longer name": "no row of C-104429 fits, nor any of AC-10442-b",
    "a number": "read 1234 rows in 1234 s",
}


@pytest.fixture
def traces() -> Traces:
    found = Traces()
    found.add([{"row_id": "0123456789abcdef0123", "group": "C-10442", "text": TEXT}, {"group": "1234"}], ["text"])
    return found


@pytest.mark.parametrize("form", FORMS)
def test_a_text_is_cleared_in_place_in_whatever_form_it_stands(tmp_path: Path, traces: Traces, form: str) -> None:
    log = tmp_path / "logs" / "mlflow.log"
    log.parent.mkdir()
    lines = [OTHER, *KEPT.values()]
    log.write_text("\n".join([*lines, FORMS[form], *lines, ""]), encoding="utf-8")
    size, inode = log.stat().st_size, log.stat().st_ino
    with log.open("ab") as service:
        looked = log_files.search([(log.parent, True)], traces, dry_run=True)
        assert FORMS[form] in log.read_text(encoding="utf-8")
        found = log_files.search([(log.parent, True)], traces, dry_run=False)
        service.write(b"goes on\n")
    assert looked.cleared == found.cleared
    assert found.cleared[str(log)] >= 1
    assert found.steps() == []
    said = log.read_text(encoding="utf-8").splitlines()
    assert said[: len(lines)] == lines
    assert said[-1 - len(lines) : -1] == lines
    assert said[-1] == "goes on"
    assert ERASED in log.read_text(encoding="utf-8")
    assert not any(
        word in log.read_text(encoding="utf-8") for word in ("Žofia", "ofia", "attachment", "C-10442 ", "at once")
    )
    assert (log.stat().st_size, log.stat().st_ino) == (size + len("goes on\n"), inode)
    assert log_files.search([(log.parent, True)], traces, dry_run=False).cleared == {}


def test_a_line_of_json_stays_one(tmp_path: Path, traces: Traces) -> None:
    log = tmp_path / "a.log"
    log.write_text(json.dumps({"timestamp": "2026-11-28", "event": TEXT, "level": "error"}) + "\n", encoding="utf-8")
    log_files.search([(tmp_path, True)], traces, dry_run=False)
    assert json.loads(log.read_text()) == {"timestamp": "2026-11-28", "event": ERASED, "level": "error"}


def test_what_is_not_ours_or_cannot_be_read_is_named_with_what_to_do(tmp_path: Path, traces: Traces) -> None:
    home, other = tmp_path / "home", tmp_path / "airflow"
    of_dag = other / "logs" / "dag_id=finetune__r" / "task_id=train" / "attempt=1.log"
    foreign = other / "logs" / "dag_id=their_dag" / "task_id=x" / "attempt=1.log"
    own = home / "airflow" / "logs" / "dag_id=data__r" / "attempt=1.log"
    for log in (of_dag, foreign, own):
        log.parent.mkdir(parents=True)
        log.write_text(FORMS["plain"], encoding="utf-8")
    packed = foreign.with_suffix(".log.gz")
    packed.write_bytes(gzip.compress(TEXT.encode()))
    (other / "logs" / "latest").symlink_to(foreign.parent)
    (other / "airflow.cfg").write_text(
        "[logging]\nbase_log_folder = {AIRFLOW_HOME}/logs\nremote_logging = True\nremote_base_log_folder = s3://logs/%s\n"
    )
    environment = {"AIRFLOW_HOME": str(other)}
    found = log_files.search(log_files.folders(home, "r", environment), traces, dry_run=False)
    assert set(found.cleared) == {str(of_dag), str(own)}
    assert (found.left, found.unread) == ({str(foreign): 1}, [str(packed)])
    found.elsewhere = log_files.remote(environment)
    steps = "\n".join(found.steps())
    for word in (f"delete {foreign}", str(packed), "s3://logs/%s"):
        assert word in steps
    assert foreign.read_text(encoding="utf-8") == FORMS["plain"]


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"\xff\xfe\x00", b'"' * 3000, b"\\" * 3000, b"[" * 3000, b"{" * 3000 + b"\r\n"]
)
def test_logs_of_any_bytes_are_read(tmp_path: Path, traces: Traces, text: bytes) -> None:
    (tmp_path / "a.log").write_bytes(text)
    os.mkfifo(tmp_path / "pipe.log")
    assert log_files.search([(tmp_path, True), (tmp_path / "none", True)], traces, dry_run=False).unread == []


@pytest.mark.parametrize("config", ["", "[logging\n", "[core]\n", "\udcff"])
def test_a_configuration_that_cannot_be_read_is_as_none(tmp_path: Path, config: str) -> None:
    (tmp_path / "airflow.cfg").write_bytes(config.encode("utf-8", "surrogateescape"))
    environment = {"AIRFLOW_HOME": str(tmp_path)}
    assert log_files.remote(environment) == ""
    assert (tmp_path / "logs", False) in log_files.folders(tmp_path, "r", environment)
    given = environment | {"AIRFLOW__LOGGING__BASE_LOG_FOLDER": "/elsewhere"}
    assert (Path("/elsewhere"), False) in log_files.folders(tmp_path, "r", given)
