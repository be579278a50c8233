"""The commands on models and evidence: what they print, and what they exit with."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ftcore.registry.promotion import ModelRegistry
from ftcore.tracking.client import CHAMPION
from ftcore.tracking.registered import drop_alias

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Product

    from tests.unit.cli.conftest import Done


@pytest.fixture
def crowned(product: Product, tmp_path: Path) -> Product:
    """Version 2 is champion after version 1."""
    (tmp_path / "onnx-int8").mkdir()
    (tmp_path / "onnx-int8" / "model.onnx").write_text("graph")
    registrar = ModelRegistry(product.recipe, product.shelf, product.tracking)
    for run_id in ("r1", "r2"):
        version = product.register(run_id, folders=[tmp_path / "onnx-int8"])
        registrar.promote(version.number, "mira", "first", override=True)
    return product


def test_list_and_show(crowned: Product, ftcore: Callable[..., Done]) -> None:
    listed = ftcore("models", "ls", crowned.name, "--json")
    assert listed.returncode == 0, listed.stderr
    found = json.loads(listed.stdout)
    assert [(one["version"], one["state"]) for one in found["versions"]] == [(2, "champion"), (1, "previous")]
    shown = json.loads(ftcore("models", "show", crowned.name, "2", "--json").stdout)
    assert shown["promoted_by"] == "mira"
    assert [line["kind"] for line in shown["ledger"]] == ["promote"]
    missing = ftcore("models", "show", crowned.name, "9")
    assert (missing.returncode, "has no version 9; it has 2, 1" in missing.stderr) == (1, True)


def test_versions_read_well_however_many_there_are(crowned: Product, ftcore: Callable[..., Done]) -> None:
    from ftcore.cli.models import NEWEST

    registrar = ModelRegistry(crowned.recipe, crowned.shelf, crowned.tracking)
    for number in range(3, NEWEST + 6):
        crowned.register(f"r{number}", "snap")
    registrar.reject(NEWEST + 5, "jon", "worse on short texts")
    lines = ftcore("models", "ls", crowned.name).stdout.splitlines()
    assert len(lines) == 1 + NEWEST + 2 + 1, "a head, the newest, champion and previous, and how many more there are"
    assert lines[0].split() == ["version", "made", "(UTC)", "state", "snapshot", "because"]
    assert lines[1].startswith(f"{NEWEST + 5}")
    assert lines[1].split()[3:] == ["rejected", "snap", "jon:", "worse", "on", "short", "texts"]
    assert [line.split()[0] for line in lines[-3:-1]] == ["2", "1"]
    assert lines[-1] == f"… and 3 older ones: ftcore models ls {crowned.name} --all"
    assert len(ftcore("models", "ls", crowned.name, "--all").stdout.splitlines()) == 1 + NEWEST + 5
    assert len(json.loads(ftcore("models", "ls", crowned.name, "--json").stdout)["versions"]) == NEWEST + 5


def test_show_and_diff_as_text(crowned: Product, ftcore: Callable[..., Done]) -> None:
    shown = ftcore("models", "show", crowned.name, "2").stdout
    assert "state            champion\n" in shown
    assert "promote: promoted: version 2 is champion, after version 1" in shown
    crowned.tracking.log(crowned.tracking.version(2).run, metrics={"accuracy": 0.5})
    differing = ftcore("models", "diff", crowned.name, "1", "2").stdout
    assert "metrics    accuracy: – → 0.5\n" in differing
    same = ftcore("models", "diff", crowned.name, "1", "1")
    assert same.stdout == "versions 1 and 1 do not differ\n"
    found = json.loads(ftcore("models", "diff", crowned.name, "1", "2", "--json").stdout)
    assert found["metrics"] == {"accuracy": [None, 0.5]}


def test_roll_back_and_release(crowned: Product, ftcore: Callable[..., Done]) -> None:
    done = ftcore("models", "rollback", crowned.name, "--reason", "complaints", "--json")
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    assert (line["version"], line["by"]) == (1, f"os:{getpass.getuser()}"), "nobody is logged in"
    assert f"held by {line['by']}: complaints" in ftcore("models", "ls", crowned.name).stdout
    assert "Not promoted" not in crowned.tracking.client.get_model_version(crowned.name, "1").description
    released = ftcore("models", "release", crowned.name)
    assert (released.returncode, "may promote again" in released.stdout) == (0, True)


def test_doctor_finds_and_mends(crowned: Product, ftcore: Callable[..., Done]) -> None:
    assert ftcore("doctor", crowned.name).stdout == f"✔ {crowned.name}: registry, ledger and store agree\n"
    drop_alias(crowned.tracking, CHAMPION)
    found = ftcore("doctor", crowned.name, "--json")
    assert found.returncode == 1
    assert json.loads(found.stdout)[crowned.name]["found"][0]["mendable"] is True
    mended = ftcore("doctor", crowned.name, "--fix")
    assert (mended.returncode, "fixed: the registry has no champion" in mended.stdout) == (0, True)
    assert ftcore("doctor", crowned.name, "--mend").returncode == 0, "the former name"
    assert "--mend" not in ftcore("doctor", "--help").stdout


def test_evidence_that_is_signed_and_evidence_that_is_not(
    crowned: Product, ftcore: Callable[..., Done], tmp_path: Path
) -> None:
    crowned.path.unlink()  # what was promised and done is in the store
    made = ftcore("evidence", crowned.name, "2", "-o", str(tmp_path / "signed"))
    assert (made.returncode, "records/finetune/train.json is not there" in made.stderr) == (3, True)
    keys = crowned.settings.home / "keys"
    proven = ftcore("verify", str(tmp_path / "signed"), "--key", str(keys / "platform.pem.pub"))
    assert proven.returncode == 0, proven.stderr
    assert proven.stdout.startswith("! listed when it was collected: snapshot/manifest.json is not there")
    assert "is as it was signed; signed by" in proven.stdout.splitlines()[-1]
    keys.rename(tmp_path / "elsewhere")
    loud = ftcore("evidence", crowned.name, "2", "-o", str(tmp_path / "unsigned"))
    assert (loud.returncode, "NOT SIGNED" in loud.stderr) == (3, True)
    unsigned = ftcore("verify", str(tmp_path / "unsigned"))
    assert (unsigned.returncode, unsigned.stdout.splitlines()[-1]) == (3, "signature: unsigned")
    assert "which is not trusted here" in unsigned.stderr, "the ledger's key is not here either"
    refused = ftcore("verify", str(tmp_path / "unsigned"), "--key", str(tmp_path / "elsewhere" / "platform.pem.pub"))
    assert (refused.returncode, "is not signed" in refused.stderr) == (3, True)


def test_a_server_that_is_away_may_be_tried_again(
    crowned: Product, ftcore: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTCORE_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    done = ftcore("models", "rollback", crowned.name, "--reason", "complaints")
    assert (done.returncode, "does not answer" in done.stderr) == (75, True)
    assert crowned.shelf.ledger("rollback") == []
