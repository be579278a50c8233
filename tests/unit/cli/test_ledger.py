"""The ledger at a terminal: searched, exported, checked; who decides there, and with which key it is signed."""

from __future__ import annotations

import csv
import getpass
import io
import json
from typing import TYPE_CHECKING

import pytest

from ftcore.compliance import attestation, evidence
from ftcore.errors import FtcoreError
from ftcore.registry import login
from ftcore.store import ledger
from ftcore.store.slots import number
from ftcore.store.store import write_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Done, Product


@pytest.fixture
def decided(product: Product) -> Product:
    """A product with lines of several kinds and people."""
    product.change(approval={"required": 1})
    product.register("r1")
    product.judge(1)
    product.approve(1, "mira", run_id="r1")
    product.shelf.add_to_ledger("reject", "hand", "rejected", "=cmd|' /C calc'!A0", version=2, by="Jon ")
    return product


def test_it_is_searched(decided: Product, ftcore: Callable[..., Done]) -> None:
    def kinds(*words: str) -> list[str]:
        done = ftcore("ledger", decided.name, "--json", *words)
        assert done.returncode == 0, done.stderr
        return [line["kind"] for line in json.loads(done.stdout)]

    assert kinds() == ["gate", "approve", "reject"]
    assert kinds("--person", "MIRA") == ["approve"]
    assert kinds("--person", "jon") == ["reject"]
    assert kinds("--version", "1") == ["gate", "approve"]
    assert kinds("--kind", "gate") == kinds("--decision", "passed") == ["gate"]
    assert kinds("--since", "2020-01-01") == ["gate", "approve", "reject"]
    assert kinds("--until", "2020-01-01") == []
    for option in ("--kind", "--decision"):
        unknown = ftcore("ledger", decided.name, "--json", option, "promotd")
        assert (unknown.returncode, unknown.stdout) == (0, "[]\n")
        assert (
            "'promotd'; there are: " + ("approve, gate" if option == "--kind" else "approved, passed") in unknown.stderr
        )
    assert [line.split()[5:7] for line in ftcore("ledger", decided.name).stdout.splitlines()] == [
        ["–", "threshold:"],
        ["mira", "mira"],
        ["Jon", "=cmd|'"],
    ], "who decided"
    wrong = ftcore("ledger", decided.name, "--since", "noon")
    assert (wrong.returncode, "'noon' is no time" in wrong.stderr) == (1, True)


def test_it_is_exported_and_no_cell_is_a_formula(decided: Product, ftcore: Callable[..., Done], tmp_path: Path) -> None:
    assert ftcore("ledger", decided.name, "--csv", str(tmp_path / "lines.csv")).returncode == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "lines.csv").read_text(encoding="utf-8"))))
    assert [(row["n"], row["kind"], row["by"]) for row in rows] == [
        ("1", "gate", ""),
        ("2", "approve", "mira"),
        ("3", "reject", "Jon "),
    ]
    assert rows[0]["version"] == rows[0]["candidate"] == "1", "a gate is about the version that it judges"
    assert rows[2]["reason"].startswith("'=cmd")
    assert json.loads(rows[1]["witness"]) == {"by": "airflow", "task_id": "approve"}


def test_the_first_broken_link_is_named(decided: Product, ftcore: Callable[..., Done]) -> None:
    decided.shelf.chain.restore(3)
    decided.tracking.tag(decided.tracking.version(1), {"approval.feed": '{"person": "eve"}', "verdict.reason": "fine"})
    done = ftcore("ledger", decided.name, "--check")
    assert done.returncode == 1
    first, *others = done.stdout.splitlines()
    assert first == "the first broken link: line 1: the verdict of version 1 has another reason in MLflow than in " + (
        "the ledger: 'fine'"
    )
    assert any("ftcore.approval.feed, and the ledger has no such answer" in one for one in others)
    told = json.loads(ftcore("ledger", decided.name, "--check", "--json").stdout)
    assert told[0]["n"] == 1
    reason = "threshold: 0.9 reaches 0.8"
    decided.tracking.tag(decided.tracking.version(1), {"approval.feed": "", "verdict.reason": reason})
    good = ftcore("ledger", decided.name, "--check")
    assert (good.returncode, good.stdout) == (
        0,
        f"the ledger of {decided.name} holds: 3 lines; registry and records agree with it\n",
    )


def test_the_key_is_rotated_and_another_is_trusted(
    decided: Product, ftcore: Callable[..., Done], tmp_path: Path
) -> None:
    before = decided.shelf.chain.ring.trusted()
    assert ftcore("keys", "rotate").returncode == 0
    assert decided.shelf.ledger("keys")[0]["decision"] == "rotated"
    decided.shelf.add_to_ledger("plan", "r2", "train", "signed with the new key")
    assert ledger.check(decided.shelf) == []
    assert ledger.check(decided.shelf, trusted=before) == []
    assert ftcore("keys", "new", str(tmp_path / "other.pem")).returncode == 0
    assert ftcore("keys", "trust", str(tmp_path / "other.pem.pub")).returncode == 0
    assert len(decided.shelf.chain.ring.trusted()) == 3
    assert [one["signs"] for one in json.loads(ftcore("keys", "ls", "--json").stdout)] == [True, False, False]
    assert ftcore("keys", "trust", "../../etc/passwd").returncode == 1


def test_nobody_is_logged_in(product: Product, ftcore: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    done = ftcore("whoami")
    assert done.stdout == f"os:{getpass.getuser()}: not logged in, so this name approves nothing\n"
    assert "there was no login" in ftcore("logout").stdout
    lost = ftcore("login", "--user", "mira")
    assert (lost.returncode, "the address of Airflow is not known" in lost.stderr) == (1, True)
    with pytest.raises(FtcoreError, match="there is no login"):
        login.logged_in(product.settings)
    monkeypatch.setenv("FTCORE_AIRFLOW_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("FTCORE_AIRFLOW_TOKEN", "x")
    away = ftcore("models", "release", product.name)
    assert (away.returncode, "ftcore logout" in away.stderr) == (75, True), "a token that nobody vouches for is no name"
    done = ftcore("forget", product.name, "--subject", "c3")
    assert (done.returncode, "the erasure does not wait" in done.stderr) == (0, True), done.stderr
    assert [line["by"] for line in product.shelf.ledger("forget")] == [login.here()]


def test_a_login_that_others_can_read_or_that_ended_is_void(product: Product) -> None:
    path = product.settings.home / login.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {"user": "mira", "token": "x", "expires_at": "2020-01-01T00:00:00+00:00"}
    path.write_text(json.dumps(kept))
    with pytest.raises(FtcoreError, match="can be read by others"):
        login.whoever(product.settings)
    path.chmod(0o600)
    with pytest.raises(FtcoreError, match="the login of mira ended at 2020"):
        login.whoever(product.settings)


def test_what_was_acknowledged_is_told_first(decided: Product, ftcore: Callable[..., Done], tmp_path: Path) -> None:
    """At the terminal, in evidence and in the card, with who and why; the next break is one."""
    shelf, name, folder = decided.shelf, decided.name, tmp_path / "evidence"
    decided.change(approval={"required": 0})
    for one in range(4):
        shelf.add_to_ledger("plan", f"p{one}", "skip", "nothing is new")

    def lose(n: int) -> None:
        (shelf.chain.slots / number(n)).unlink()
        (shelf.root / "ledger" / f"plan--p{n - 4}.json").unlink()

    lose(4)
    lose(5)
    (shelf.chain.slots / number(5)).write_bytes(b"garbage")  # and its line, which would tell it
    assert "a reason is missing" in ftcore("ledger", name, "--acknowledge").stderr
    done = ftcore("ledger", name, "--acknowledge", "--reason", "the disk is gone", "--json")
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    assert line["lost"] == [[4, 5]]
    check = ftcore("ledger", name, "--check")
    assert check.returncode == 0
    assert check.stdout.startswith("an acknowledged break: line 4: chain/00000004.json is missing")
    told = json.loads(ftcore("ledger", name, "--check", "--json").stdout)
    assert {one["acknowledged"]["reason"] for one in told} == {"the disk is gone"}
    found = json.loads(ftcore("doctor", name, "--json").stdout)[name]["found"]
    assert {(one["fault"], one["acknowledged"]["n"]) for one in found if one["acknowledged"]} == {(False, line["n"])}
    key = shelf.chain.ring.private
    bundle = evidence.collect(decided.registrar, 1, folder, key)
    assert [one for one in bundle.broken if "ledger" in one] == []
    assert len(bundle.acknowledged) == len(told)
    for page in ("index.html", "card.md"):
        assert "the disk is gone" in (folder / page).read_text(), page
    proof = attestation.examine(folder, key.with_name(f"{key.name}.pub"))
    assert (proof.faults, proof.acknowledged) == ((), bundle.acknowledged)
    lose(6)
    assert ftcore("ledger", name, "--check").returncode == 1
    worse = evidence.collect(decided.registrar, 1, tmp_path / "worse")
    assert any("00000006" in one for one in worse.broken)


def test_unsigned_lines_are_adopted_by_name_and_for_a_reason(product: Product, ftcore: Callable[..., Done]) -> None:
    product.shelf.chain.ring.make()
    line = {"at": "2026-01-01T00:00:00+00:00", "kind": "plan", "run_id": "o1", "decision": "train", "reason": ""}
    write_json(product.shelf.root / "ledger" / "plan--o1.json", line)
    assert "--adopt --reason" in ftcore("ledger", product.name, "--check").stdout
    assert ftcore("ledger", product.name, "--adopt").returncode == 1, "a reason is missing"
    done = ftcore("ledger", product.name, "--adopt", "--reason", "of 2025")
    assert done.stdout.endswith("adopted 1 lines and 0 records from before the ledger was a chain\n"), done.stderr
    assert ftcore("ledger", product.name, "--check").returncode == 0
