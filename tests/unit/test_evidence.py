"""Evidence: one folder that proves itself, whichever byte of it was changed."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import hypothesis
import hypothesis.strategies as st
import pytest

from ftcore import attestation, evidence
from ftcore.errors import FtcoreError
from ftcore.promotion import Registrar, record_verdict
from ftcore.records import LINK, Record, now, sha256
from ftcore.store import hash_file, write_bytes, write_json
from ftcore.verdict import Rule, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Product

REASON = "accuracy 0.9 <b>reaches</b> 0.8"


def chain(product: Product, run_id: str, *steps: str, **inputs: str) -> None:
    """Leave records of which each holds the hashes of those before, as the pipeline does."""
    links: dict[str, str] = {}
    for step in steps:
        own = inputs if step == steps[0] else {}
        record = Record(
            step=step, recipe=product.name, run_id=run_id, fingerprint="", started_at=now(), inputs={**links, **own}
        )
        product.shelf.write_record(record)
        links[f"{LINK}{step}"] = hash_file(product.shelf.folder(run_id, step) / "record.json")


@pytest.fixture
def promoted(product: Product) -> Registrar:
    """A version with all that a ring leaves about it."""
    identity = product.publish(range(30))
    place = product.shelf.root / "snapshots" / identity
    manifest = json.loads((place / "manifest.json").read_text()) | {"run_id": "d1"}
    write_json(place / "manifest.json", manifest)
    write_bytes(place / "manifest.sha256", sha256((place / "manifest.json").read_bytes()).encode())
    write_json(place / "suite" / "result.json", {"success": True})
    chain(product, "d1", *evidence.DATA)
    product.register("r1", identity)
    steps = ("plan", "train", "export", "evaluate", "gate", "approve")
    chain(product, "r1", *steps, manifest=hash_file(place / "manifest.json"))
    write_json(product.shelf.folder("r1", "evaluate") / "evaluation.json", {"metrics": {}})
    verdict = Verdict(
        passed=True, rules=(Rule(gate="threshold", passed=True, reason=REASON),), candidate=1, champion=None
    )
    path = product.shelf.folder("r1", "gate") / "verdict.json"
    write_json(path, verdict.to_json())
    record_verdict(product.tracking, verdict, hash_file(path))
    chain(product, "r1", *steps, "promote", manifest=hash_file(place / "manifest.json"))
    registrar = Registrar(product.recipe, product.shelf, product.tracking)
    registrar.promote(1, "mira <i>")
    return registrar


@pytest.fixture
def key(tmp_path: Path) -> Path:
    attestation.new_keys(tmp_path / "signing.pem")
    return tmp_path / "signing.pem"


@pytest.fixture
def signed(promoted: Registrar, key: Path, tmp_path: Path) -> Path:
    """A signed folder of evidence."""
    bundle = evidence.collect(promoted, 1, tmp_path / "evidence", key)
    assert (bundle.signed, bundle.missing, bundle.broken) == (True, (), ())
    return bundle.folder


def public(key: Path) -> Path:
    return key.with_name("signing.pem.pub")


def test_what_was_collected_is_proven(signed: Path, key: Path, promoted: Registrar) -> None:
    assert attestation.prove(signed, public(key)) == []
    names = {path.relative_to(signed).as_posix() for path in signed.rglob("*") if path.is_file()}
    assert {
        "snapshot/manifest.json",
        "snapshot/suite/result.json",
        "records/finetune/promote.json",
        "verdict.json",
    } < names
    assert {"evaluation.json", "approvals.json", "environment.json", "ledger.json", "card.md", "index.html"} < names
    home = str(promoted.tracking.settings.home.resolve())
    assert not [name for name in names if home in (signed / name).read_text(encoding="utf-8")]


def test_the_index_is_one_safe_page(signed: Path) -> None:
    page = (signed / "index.html").read_text(encoding="utf-8")
    assert "accuracy 0.9 &lt;b&gt;reaches&lt;/b&gt; 0.8" in page
    assert "mira &lt;i&gt;" in page
    assert "<td>champion</td>" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "not signed" not in page


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@hypothesis.settings(max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(data=st.data())
def test_whichever_byte_is_changed_its_file_is_named(signed: Path, key: Path, data: st.DataObject) -> None:
    """Any byte of any file, to any other value."""
    path = data.draw(st.sampled_from(files(signed)), label="file")
    kept = path.read_bytes()
    place = data.draw(st.integers(0, len(kept) - 1), label="place")
    other = data.draw(st.integers(1, 255), label="change")
    path.write_bytes(kept[:place] + bytes([kept[place] ^ other]) + kept[place + 1 :])
    faults = attestation.prove(signed, public(key))
    path.write_bytes(kept)
    assert faults
    assert faults[0].startswith(path.relative_to(signed).as_posix()), faults


def test_every_byte_of_the_envelope_counts(signed: Path, key: Path) -> None:
    """JSON and base64 have many spellings of one thing, and only one of them was written."""
    path = signed / attestation.ENVELOPE
    kept = path.read_bytes()
    changed = 0
    for place in [*range(60), *range(len(kept) - 300, len(kept))]:
        for other in {ord(" "), ord("\t"), ord("A"), kept[place] ^ 1} - {kept[place]}:
            path.write_bytes(kept[:place] + bytes([other]) + kept[place + 1 :])
            faults = attestation.prove(signed, public(key))
            assert len(faults) == 1, (place, other)
            assert faults[0].startswith(attestation.ENVELOPE)
            changed += 1
    assert changed > 1000


@pytest.mark.parametrize("how", ["gone", "empty", "cut", "longer", "swapped", "linked"])
def test_whatever_happens_to_a_file_it_is_named_first(signed: Path, key: Path, tmp_path: Path, how: str) -> None:
    shutil.copytree(signed, tmp_path / "whole")
    every = files(signed)
    for path, neighbour in zip(every, [*every[1:], every[0]], strict=True):
        kept, name = path.read_bytes(), path.relative_to(signed).as_posix()
        path.unlink()
        if how == "linked":
            path.symlink_to(tmp_path / "whole" / name)
        elif how != "gone":
            changed = {"empty": b"", "cut": kept[:-1], "longer": kept + b" ", "swapped": neighbour.read_bytes()}
            path.write_bytes(changed[how])
        faults = attestation.prove(signed, public(key))
        path.unlink(missing_ok=True)
        path.write_bytes(kept)
        assert faults, name
        assert faults[0].startswith(name), (name, faults)
    assert attestation.prove(signed, public(key)) == []


def test_two_files_that_changed_places_are_both_named(signed: Path, key: Path) -> None:
    train, export = (signed / "records" / "finetune" / f"{step}.json" for step in ("train", "export"))
    before = train.read_bytes()
    train.write_bytes(export.read_bytes())
    export.write_bytes(before)
    faults = attestation.prove(signed, public(key))
    assert [fault.split()[0] for fault in faults] == ["records/finetune/train.json", "records/finetune/export.json"]


def test_a_folder_that_was_replaced_by_a_link_does_not_belong(signed: Path, key: Path, tmp_path: Path) -> None:
    (signed / "records").rename(tmp_path / "elsewhere")
    (signed / "records").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert attestation.prove(signed, public(key)) == ["records does not belong here"]


def test_the_first_broken_link_comes_first(signed: Path, key: Path) -> None:
    for name in ("verdict.json", "records/data/prepare.json", "records/finetune/train.json"):
        (signed / name).write_text("{}")
    faults = attestation.prove(signed, public(key))
    assert [fault.split()[0] for fault in faults] == [
        "records/data/prepare.json",
        "records/finetune/train.json",
        "verdict.json",
    ]


def test_a_file_that_is_gone_or_too_many_is_named(signed: Path, key: Path) -> None:
    (signed / "verdict.json").unlink()
    (signed / "records" / "extra.json").write_text("{}")
    assert attestation.prove(signed, public(key)) == ["verdict.json is gone", "records/extra.json does not belong here"]


def test_another_key_proves_nothing(signed: Path, tmp_path: Path) -> None:
    other = attestation.new_keys(tmp_path / "other.pem")
    (fault,) = attestation.prove(signed, other)
    assert "is signed by" in fault
    assert "not by the key" in fault


def test_a_forged_statement_under_the_right_key_id_is_found(signed: Path, key: Path, promoted: Registrar) -> None:
    """Whoever changes a file and seals the folder anew with a key of their own cannot pass for the signer."""
    old = json.loads((signed / attestation.ENVELOPE).read_bytes())
    attestation.new_keys(signed.parent / "forger.pem")
    (signed / "verdict.json").write_text("{}")
    attestation.seal(signed, ["verdict.json"], {}, signed.parent / "forger.pem")
    forged = json.loads((signed / attestation.ENVELOPE).read_bytes())
    forged["signatures"][0]["keyid"] = old["signatures"][0]["keyid"]
    (signed / attestation.ENVELOPE).write_text(json.dumps(forged))
    assert attestation.prove(signed, public(key)) == ["evidence.dsse.json was changed: its signature does not hold"]


def test_unsigned_evidence_says_so_and_proves_nothing(promoted: Registrar, key: Path, tmp_path: Path) -> None:
    bundle = evidence.collect(promoted, 1, tmp_path / "unsigned")
    assert not bundle.signed
    assert "This evidence is not signed." in (bundle.folder / "index.html").read_text()
    assert attestation.prove(bundle.folder, public(key)) == [
        "evidence.dsse.json is not there: this evidence is not signed"
    ]


def test_a_record_that_was_made_from_another_is_told_when_it_is_collected(
    promoted: Registrar, key: Path, tmp_path: Path
) -> None:
    record = promoted.shelf.record("r1", "train")
    assert record is not None
    promoted.shelf.write_record(record.model_copy(update={"reason": "trained again"}))
    bundle = evidence.collect(promoted, 1, tmp_path / "evidence", key)
    assert bundle.broken[0] == (
        "records/finetune/export.json was made from another records/finetune/train.json than this one"
    )
    assert bundle.broken[0] in attestation.prove(bundle.folder, public(key))


def test_what_is_not_in_the_store_any_more_is_told(promoted: Registrar, tmp_path: Path) -> None:
    shutil.rmtree(str(promoted.shelf.root / "runs" / "d1"))
    bundle = evidence.collect(promoted, 1, tmp_path / "evidence")
    assert bundle.missing == tuple(f"records/data/{step}.json is not there" for step in evidence.DATA)


@pytest.mark.parametrize("what", ["none", "text", "rsa"])
def test_a_key_that_is_none_is_told_before_anything_is_written(promoted: Registrar, tmp_path: Path, what: str) -> None:
    from cryptography.hazmat.primitives import serialization as ways
    from cryptography.hazmat.primitives.asymmetric import rsa

    path = tmp_path / "key.pem"
    if what == "text":
        path.write_text("no key")
    elif what == "rsa":
        made = rsa.generate_private_key(65537, 2048)
        path.write_bytes(made.private_bytes(ways.Encoding.PEM, ways.PrivateFormat.PKCS8, ways.NoEncryption()))
    with pytest.raises(FtcoreError, match=r"cannot be read|is no private key|no Ed25519 key"):
        evidence.collect(promoted, 1, tmp_path / "evidence", path)
    assert not (tmp_path / "evidence").exists()


def test_nothing_is_written_over(promoted: Registrar, key: Path, tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "mine").write_text("x")
    with pytest.raises(FtcoreError, match="is not empty"):
        evidence.collect(promoted, 1, tmp_path / "evidence")
    with pytest.raises(FtcoreError, match="there already"):
        attestation.new_keys(key)
    assert key.stat().st_mode & 0o077 == 0


def test_openssl_makes_keys_that_fit(promoted: Registrar, tmp_path: Path) -> None:
    import subprocess

    private, public = tmp_path / "own.pem", tmp_path / "own.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    bundle = evidence.collect(promoted, 1, tmp_path / "evidence", private)
    assert attestation.prove(bundle.folder, public) == []
