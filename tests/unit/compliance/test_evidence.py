"""Evidence: one folder that proves itself, whichever byte of it was changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import hypothesis.strategies as st
import pytest

from ftcore.compliance import attestation, bundle, evidence, links
from ftcore.errors import FtcoreError
from ftcore.recipe.canonical import sha256
from ftcore.registry.intents import HEAD_TAG
from ftcore.registry.judgement import record_verdict
from ftcore.registry.promotion import ModelRegistry
from ftcore.registry.verdict import Rule, Verdict
from ftcore.store import run_recipe
from ftcore.store.records import LINK, Record, now
from ftcore.store.store import hash_file, write_bytes, write_json
from ftcore.tracking.registered import tag_model

if TYPE_CHECKING:
    from conftest import Product

REASON = "accuracy 0.9 <b>reaches</b> 0.8"


STEPS = ("plan", "train", "export", "evaluate", "gate", "approve", "promote")


def chain(product: Product, run_id: str, *steps: str, **inputs: dict[str, str]) -> None:
    """Leave records of which each holds the hashes of those before, as the pipeline does."""
    kept = run_recipe.begin(product.shelf, run_id, product.recipe, product.path.read_text(encoding="utf-8"))
    links = {"recipe": kept.digest, "recipe.json": kept.sha256}
    for step in steps:
        record = Record(
            step=step,
            recipe=product.name,
            run_id=run_id,
            fingerprint="",
            started_at=now(),
            inputs={**links, **inputs.get(step, {})},
            figures=FIGURES.get(step, {}),
            paths={kind: f"runs/{run_id}/watch/drift.{kind}" for kind in ("html", "json") if step == "watch"},
        )
        product.shelf.write_record(record)
        links[f"{LINK}{step}"] = hash_file(product.shelf.folder(run_id, step) / "record.json")


FIGURES: dict[str, dict[str, Any]] = {
    "plan": {"answers": "m1"},
    "train": {
        "version": 1,
        "energy_kwh": 0.002,
        "co2e_g": 0.9,
        "worked_s": 61.0,
        "base_license": {"license": "apache-2.0", "stated_in": "README.md of the base model"},
        "energy_assumptions": {
            "meter": "codecarbon 3",
            "scope": "the whole machine",
            "cpu": {"model": "Some CPU", "power_w": 4.4, "power_from": "its load"},
            "gpu": {"model": None, "power_w": 0},
            "memory": {"power_w": 20.0},
            "carbon_g_per_kwh": 475.0,
            "carbon_from": "codecarbon's figure for the world",
            "pue": 1.0,
        },
    },
}


def leave(product: Product, path: str, data: bytes) -> str:
    """Leave a file in the store, and give its hash."""
    write_bytes(product.shelf.root / path, data)
    return sha256(data)


@pytest.fixture
def promoted(product: Product) -> ModelRegistry:
    """A version with all that a ring leaves about it, retraining on request included."""
    product.change(description="As it was.", card={"license": "mit", "data_licenses": {"files": "cc-by-4.0"}})
    identity = product.publish(range(30))
    place = product.shelf.root / "snapshots" / identity
    page = leave(product, f"snapshots/{identity}/report.html", b"<p>the snapshot</p>")
    manifest = json.loads((place / "manifest.json").read_text()) | {"run_id": "d1", "data_docs": "data_docs/rows.html"}
    manifest |= {"quarantined": 3, "quarantine_reasons": {"the text is <b>empty</b>": 3}}
    suite = leave(product, f"snapshots/{identity}/suite/result.json", b'{"success": true}')
    manifest["files"] |= {"report.html": page, "suite/result.json": suite}
    write_json(place / "manifest.json", manifest)
    write_bytes(place / "manifest.sha256", sha256((place / "manifest.json").read_bytes()).encode())
    product.shelf.sign(place / "manifest.json", (place / "manifest.json").read_bytes())
    leave(product, "data_docs/rows.html", b"<p>validated</p>")
    chain(product, "d1", *bundle.DATA)
    pages = {"drift.html": b'"html"', "drift.json": b'"json"'}
    drift = {name: leave(product, f"runs/m1/watch/{name}", data) for name, data in pages.items()}
    chain(product, "m1", *bundle.MONITOR, watch=drift)
    product.shelf.add_to_ledger("decide", "m1", "retrain", "drift is confirmed")
    product.declare(product.register("r1", identity))
    write_json(product.shelf.folder("r1", "evaluate") / "evaluation.json", {"metrics": {}})
    verdict = Verdict(
        passed=True, rules=(Rule(gate="threshold", passed=True, reason=REASON),), candidate=1, champion=None
    )
    path = product.shelf.folder("r1", "gate") / "verdict.json"
    write_json(path, verdict.to_json())
    record_verdict(product.registrar, "r1", verdict, hash_file(path))
    asked = product.shelf.folder("m1", "decide") / "record.json"
    inputs = {
        "plan": {"manifest": hash_file(place / "manifest.json"), "request": hash_file(asked)},
        "train": {"environment": leave(product, "runs/r1/train/environment.lock", b"torch==2.13.0\n")},
    }
    chain(product, "r1", *STEPS, **inputs)
    registrar = ModelRegistry(product.recipe, product.shelf, product.tracking)
    registrar.promote(1, "mira <i>")
    return registrar


@pytest.fixture
def key(tmp_path: Path) -> Path:
    attestation.new_keys(tmp_path / "signing.pem")
    return tmp_path / "signing.pem"


@pytest.fixture
def signed(promoted: ModelRegistry, key: Path, tmp_path: Path) -> Path:
    """A signed folder of evidence."""
    made = evidence.collect(promoted, 1, tmp_path / "evidence", key)
    assert (made.signed, made.missing, made.broken, made.unknown) == (True, (), (), ())
    return made.folder


def public(key: Path) -> Path:
    return key.with_name("signing.pem.pub")


def prove(folder: Path, key: Path | None = None) -> list[str]:
    return list(attestation.examine(folder, key).faults)


def test_what_was_collected_is_proven(signed: Path, key: Path, promoted: ModelRegistry) -> None:
    assert prove(signed, public(key)) == []
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
    faults = prove(signed, public(key))
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
            faults = prove(signed, public(key))
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
            if changed[how] == kept:  # runs of one recipe keep the same bytes
                continue
        faults = prove(signed, public(key))
        path.unlink(missing_ok=True)
        path.write_bytes(kept)
        assert faults, name
        assert faults[0].startswith(name), (name, faults)
    assert prove(signed, public(key)) == []


def test_two_files_that_changed_places_are_both_named(signed: Path, key: Path) -> None:
    train, export = (signed / "records" / "finetune" / f"{step}.json" for step in ("train", "export"))
    before = train.read_bytes()
    train.write_bytes(export.read_bytes())
    export.write_bytes(before)
    faults = prove(signed, public(key))
    assert [fault.split()[0] for fault in faults] == ["records/finetune/train.json", "records/finetune/export.json"]


def test_a_folder_that_was_replaced_by_a_link_does_not_belong(signed: Path, key: Path, tmp_path: Path) -> None:
    (signed / "records").rename(tmp_path / "elsewhere")
    (signed / "records").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert prove(signed, public(key)) == ["records does not belong here"]


def test_the_first_broken_link_comes_first(signed: Path, key: Path) -> None:
    for name in ("verdict.json", "records/data/prepare.json", "records/finetune/train.json"):
        (signed / name).write_text("{}")
    faults = prove(signed, public(key))
    assert [fault.split()[0] for fault in faults] == [
        "records/data/prepare.json",
        "records/finetune/train.json",
        "verdict.json",
    ]


def test_a_file_that_is_gone_or_too_many_is_named(signed: Path, key: Path) -> None:
    (signed / "verdict.json").unlink()
    (signed / "records" / "extra.json").write_text("{}")
    assert prove(signed, public(key)) == ["verdict.json is gone", "records/extra.json does not belong here"]


def test_another_key_proves_nothing(signed: Path, tmp_path: Path) -> None:
    other = attestation.new_keys(tmp_path / "other.pem")
    (fault,) = prove(signed, other)
    assert "is signed by" in fault
    assert "not by the key" in fault


def test_a_forged_statement_under_the_right_key_id_is_found(signed: Path, key: Path, promoted: ModelRegistry) -> None:
    """Whoever changes a file and seals the folder anew with a key of their own cannot pass for the signer."""
    old = json.loads((signed / attestation.ENVELOPE).read_bytes())
    attestation.new_keys(signed.parent / "forger.pem")
    (signed / "verdict.json").write_text("{}")
    attestation.seal(signed, ["verdict.json"], {}, signed.parent / "forger.pem")
    forged = json.loads((signed / attestation.ENVELOPE).read_bytes())
    forged["signatures"][0]["keyid"] = old["signatures"][0]["keyid"]
    (signed / attestation.ENVELOPE).write_text(json.dumps(forged))
    assert prove(signed, public(key)) == ["evidence.dsse.json was changed: its signature does not hold"]


def test_unsigned_evidence_says_so_and_proves_nothing(promoted: ModelRegistry, key: Path, tmp_path: Path) -> None:
    made = evidence.collect(promoted, 1, tmp_path / "unsigned")
    assert not made.signed
    assert "This evidence is not signed." in (made.folder / "index.html").read_text()
    assert prove(made.folder, public(key)) == ["evidence.dsse.json is not there: this evidence is not signed"]


def test_a_record_that_was_made_from_another_is_told_when_it_is_collected(
    promoted: ModelRegistry, key: Path, tmp_path: Path
) -> None:
    record = promoted.shelf.record("r1", "train")
    assert record is not None
    promoted.shelf.write_record(record.model_copy(update={"reason": "trained again"}))
    made = evidence.collect(promoted, 1, tmp_path / "evidence", key)
    assert made.broken[0] == (
        "records/finetune/export.json was made from another records/finetune/train.json than this one"
    )
    assert made.broken[0] in prove(made.folder, public(key))


def test_what_is_not_in_the_store_any_more_is_told(promoted: ModelRegistry, tmp_path: Path) -> None:
    shutil.rmtree(str(promoted.shelf.root / "runs" / "d1"))
    made = evidence.collect(promoted, 1, tmp_path / "evidence")
    gone = ["recipes/data.json", *(f"records/data/{step}.json" for step in bundle.DATA)]
    assert made.missing == tuple(f"{name} is not there" for name in gone)


@pytest.mark.parametrize("what", ["none", "text", "rsa"])
def test_a_key_that_is_none_is_told_before_anything_is_written(
    promoted: ModelRegistry, tmp_path: Path, what: str
) -> None:
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


def test_nothing_is_written_over(promoted: ModelRegistry, key: Path, tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "mine").write_text("x")
    with pytest.raises(FtcoreError, match="is not empty"):
        evidence.collect(promoted, 1, tmp_path / "evidence")
    with pytest.raises(FtcoreError, match="there already"):
        attestation.new_keys(key)
    assert key.stat().st_mode & 0o077 == 0


def test_openssl_makes_keys_that_fit(promoted: ModelRegistry, tmp_path: Path) -> None:
    import subprocess

    private, public = tmp_path / "own.pem", tmp_path / "own.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    made = evidence.collect(promoted, 1, tmp_path / "evidence", private)
    assert prove(made.folder, public) == []


def test_it_holds_what_led_to_the_version(signed: Path) -> None:
    """Recipes, the look that asked for it, pages, quarantine, environment, licences and energy; all linked."""
    texts = {path.relative_to(signed).as_posix(): path.read_text(encoding="utf-8") for path in files(signed)}
    assert {f"recipes/{chain}.json" for chain in ("data", "finetune", "monitor")} < set(texts)
    assert texts["drift/drift.html"] == '"html"'
    assert texts["snapshot/report.html"] == "<p>the snapshot</p>"
    assert texts["validation/rows.html"] == "<p>validated</p>"
    assert json.loads(texts["quarantine.json"])["quarantine_reasons"] == {"the text is <b>empty</b>": 3}
    assert texts["environment.lock"] == "torch==2.13.0\n"
    licenses = json.loads(texts["licenses.json"])
    assert (licenses["model"], licenses["base"]["license"]) == ("mit", "apache-2.0")
    assert licenses["data"] == {"files": "cc-by-4.0"}
    assert json.loads(texts["energy.json"])["energy_assumptions"]["carbon_g_per_kwh"] == 475.0
    page = texts["index.html"]
    for words in ("As it was.", "the text is &lt;b&gt;empty", "cc-by-4.0", "475.0 g CO2e per kWh, codecarbon", "2 Wh"):
        assert words in page
    predicate = json.loads(texts[attestation.STATEMENT])["predicate"]
    for name in ("drift/drift.json", "environment.lock", "recipes/monitor.json", "snapshot/report.html"):
        (signed / name).write_bytes(b"{}")
        assert any(name in one for one in links.faults(signed, predicate)), name


@pytest.mark.parametrize("how", ["edited", "gone", "broken"])
def test_it_tells_what_was_whatever_the_recipes_file_says(
    promoted: ModelRegistry, product: Product, tmp_path: Path, how: str
) -> None:
    before = evidence.collect(promoted, 1, tmp_path / "before")
    if how == "gone":
        product.path.unlink()
    elif how == "broken":
        product.path.write_text("name: [", encoding="utf-8")
    else:
        product.edit(description="As it is.", method={"kind": "full"}, approval={"required": 2}, card={})
    after = evidence.collect(evidence.Archive(promoted.shelf, promoted.tracking), 1, tmp_path / "after")
    assert (after.missing, after.broken, after.files) == ((), (), before.files)
    for name in after.files:
        assert (after.folder / name).read_bytes() == (before.folder / name).read_bytes(), name


def unchain(product: Product) -> None:
    """Leave the ledger as it was before it was a chain."""
    folder = Path(product.shelf.chain.folder.path)
    for path in folder.glob("*.json"):
        line = json.loads(path.read_text(encoding="utf-8"))
        newer = {"n", "before", "crowned", "records", "artefacts", "facts", "decided_at"}
        write_json(path, {key: value for key, value in line.items() if key not in newer})
    shutil.rmtree(folder / "chain")
    product.shelf.chain.witness.unlink()
    tag_model(product.tracking, {HEAD_TAG: None})


def test_what_an_earlier_version_never_wrote_down_is_not_known_and_no_fault(
    promoted: ModelRegistry, product: Product, tmp_path: Path
) -> None:
    for run in ("r1", "m1", "d1"):
        (Path(product.shelf.root.path) / "runs" / run / "recipe.json").unlink()
        for step in (*bundle.DATA, *bundle.FINETUNE, *bundle.MONITOR):
            record = product.shelf.record(run, step)
            if record:
                product.shelf.write_record(record.model_copy(update={"inputs": {}}))
    product.tracking.client.delete_model_version_tag(product.name, "1", run_recipe.TAG)
    unchain(product)
    for key in product.shelf.chain.ring.folder.glob("platform.pem*"):  # it had none
        key.unlink()
    product.edit(description="As it is.")
    made = evidence.collect(promoted, 1, tmp_path / "old")
    assert (made.missing, made.broken) == ((), ())
    names = [one.partition(" ")[0] for one in made.unknown]
    assert names == [*(f"recipes/{one}.json" for one in ("data", "monitor", "finetune")), links.CHAIN]
    page = (made.folder / "index.html").read_text(encoding="utf-8")
    assert "The recipe's description is not known: the run was made by an earlier version of ftcore" in page
    assert "As it is." not in page


def test_an_artefact_that_is_gone_is_an_error_and_has_no_hash(product: Product, tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "weights").write_bytes(b"1")
    version = product.register("r1", "", [tmp_path / "onnx"])
    record_verdict(product.registrar, "r1", Verdict(passed=True, rules=(), candidate=1, champion=None), "0" * 64)
    place = Path(product.tracking.client.get_run(version.run).info.artifact_uri.removeprefix("file://"))
    shutil.rmtree(place / "onnx")
    made = evidence.collect(evidence.Archive(product.shelf, product.tracking), 1, tmp_path / "evidence")
    assert "the artefact 'onnx' is not in MLflow" in made.missing
    assert json.loads((made.folder / "version.json").read_text())["artefacts"] == {}
    assert "the artefact &#39;onnx&#39; is not in MLflow" in (made.folder / "index.html").read_text(encoding="utf-8")
    assert "the artefact 'onnx' is not in MLflow" in attestation.examine(made.folder).gaps


def test_without_a_key_files_and_links_are_checked_and_nothing_is_proven(signed: Path) -> None:
    about = f"version 1 of {json.loads((signed / attestation.STATEMENT).read_bytes())['predicate']['recipe']}"
    assert attestation.examine(signed) == attestation.Proof((), "not checked", about=about)
    (signed / attestation.ENVELOPE).unlink()
    assert attestation.examine(signed) == attestation.Proof((), "unsigned", about=about)
    text = (signed / "verdict.json").read_text(encoding="utf-8")
    (signed / "verdict.json").write_text(text.replace("true", "false", 1), encoding="utf-8")
    assert prove(signed) == ["verdict.json was changed: its hash is not the one in the statement"]
    (signed / "verdict.json").write_text(text, encoding="utf-8")
    for kept in (b"", b"[]", b"{}", b'{"subject": 1}', b'{"subject": [{"name": "../x", "digest": {"sha256": "0"}}]}'):
        (signed / attestation.STATEMENT).write_bytes(kept)
        assert prove(signed), kept


STATEMENTS: dict[str, Any] = {
    "one gap is no list": {"missing": 5},
    "gaps are a text": {"broken": "nothing"},
    "names are no list": {"absent": 5},
    "records are a list": {"records": [1]},
    "keys are a number": {"ledger_keys": 5},
    "about is a number": {"about": 5},
}


@pytest.mark.parametrize("how", STATEMENTS)
def test_an_unsigned_statement_of_whatever_shape_is_read(signed: Path, how: str) -> None:
    """Whoever writes it anew may write anything; it is told, and nothing more."""
    statement = json.loads((signed / attestation.STATEMENT).read_text())
    statement["predicate"] |= STATEMENTS[how]
    (signed / attestation.ENVELOPE).unlink()
    write_json(signed / attestation.STATEMENT, statement)
    found = attestation.examine(signed)
    assert found.signature == "unsigned"
    assert found.faults or found.gaps == (str(*STATEMENTS[how].values()),)


@pytest.mark.parametrize(
    "data", [b"[" * 100_000, b'{"predicate": ' * 50_000, b"\xff", b'{"subject": [{"name": "' + b"x" * 300]
)
def test_what_is_no_statement_or_envelope_is_named(signed: Path, key: Path, data: bytes) -> None:
    kept = (signed / attestation.STATEMENT).read_bytes()
    (signed / attestation.STATEMENT).write_bytes(data)
    assert prove(signed)
    (signed / attestation.ENVELOPE).unlink()
    assert prove(signed)
    (signed / attestation.STATEMENT).write_bytes(kept)
    (signed / attestation.ENVELOPE).write_bytes(data)
    assert prove(signed, public(key)) == ["evidence.dsse.json is no envelope"]


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "../x", "records"])
def test_a_statement_that_names_no_file_is_told(signed: Path, name: str) -> None:
    statement = json.loads((signed / attestation.STATEMENT).read_text())
    statement["subject"].append({"name": name, "digest": {"sha256": "0"}})
    (signed / attestation.ENVELOPE).unlink()
    write_json(signed / attestation.STATEMENT, statement)
    (fault,) = prove(signed)
    assert fault.startswith(name)


def test_an_older_and_a_newer_format_are_named_and_checked_as_far_as_it_goes(signed: Path) -> None:
    statement = json.loads((signed / attestation.STATEMENT).read_text())
    names = [one["name"] for one in statement["subject"]]

    def resealed(form: str) -> attestation.Proof:
        attestation.seal(signed, names, statement["predicate"], None)
        text = (signed / attestation.STATEMENT).read_text().replace(links.V2, form)
        (signed / attestation.STATEMENT).write_text(text)
        (signed / attestation.ENVELOPE).unlink(missing_ok=True)
        return attestation.examine(signed)

    assert "older format" in resealed(links.V1).form
    assert "does not know the format" in resealed("https://ftcore.dev/evidence/v9").form
    (signed / "records" / "finetune" / "train.json").write_text("{}")
    for form in (links.V1, "https://ftcore.dev/evidence/v9"):
        found = resealed(form)
        assert any("another records/finetune/train.json" in fault for fault in found.faults), form


def test_pages_of_validations_are_as_the_manifest_has_them_or_as_an_erasure_left_them(signed: Path) -> None:
    predicate = json.loads((signed / attestation.STATEMENT).read_text())["predicate"]
    manifest, page = signed / links.MANIFEST, signed / links.PAGES["data_docs"]
    page.parent.mkdir(exist_ok=True)
    page.write_text("all rows passed")
    known = json.loads(manifest.read_text())
    write_json(manifest, known | {"pages": {"data_docs": sha256(b"all rows passed"), "of a later version": "0"}})
    told = f"{links.MANIFEST} was made from another {links.PAGES['data_docs']} than this one"
    assert told not in links.faults(signed, predicate)
    page.write_text("all rows failed")
    assert told in links.faults(signed, predicate)
    made = {"place": "data_docs/validations/x/1/snapshot-rows.html", "subject": "s", "at": now(), "rows": 1}
    made |= {"before": sha256(b"all rows passed"), "after": sha256(b"all rows failed")}
    write_json(signed / links.ERASURES, [made])
    assert told not in links.faults(signed, predicate)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines, chain: (lines[:-1], chain), "is not in ledger.json"),
        (lambda lines, chain: ([*lines[:-1], lines[-1] | {"reason": "other"}], chain), "is not the one of"),
        (lambda lines, chain: ([*lines, {"at": "2026", "kind": "approve", "run_id": "r1"}], chain), "is in no chain"),
        (
            lambda lines, chain: (lines, chain.replace(b"drift is", b"drift was")),
            "line 1: decide--m1.json is not signed by the platform",
        ),
        (lambda lines, chain: (lines, chain.split(b"\n}\n", 1)[1]), "line 1: chain/00000001.json is missing"),
        (lambda lines, chain: (lines, chain + b"{}\n}\n"), "entry"),
    ],
)
def test_the_ledgers_chain_is_part_of_it_and_checked(signed: Path, change: Any, words: str) -> None:
    predicate = json.loads((signed / attestation.STATEMENT).read_text())["predicate"]
    lines, chained = json.loads((signed / links.LEDGER).read_text()), (signed / links.CHAIN).read_bytes()
    assert [line["n"] for line in lines] == [1, 2, 3]
    lines, chained = change(lines, chained)
    write_json(signed / links.LEDGER, lines)
    (signed / links.CHAIN).write_bytes(chained)
    assert words in "\n".join(links.faults(signed, predicate))


SPOILED = {
    "empty": b"",
    "garbage": b"\xff\x00{",
    "list": b"[]",
    "number": b"1",
    "null": b"null",
    "odd": b'{"inputs": 1}',
    "of other shapes": b'{"figures": [1], "files": null, "run_id": "../x", "data_docs": "a\\u0000b", "recipe": [1]}',
}


def test_whatever_is_spoiled_in_the_store_is_named_and_the_rest_collected(
    promoted: ModelRegistry, product: Product, tmp_path: Path
) -> None:
    """Files of the version's runs and snapshot, each in another way: evidence is collected all the same."""
    root = Path(product.shelf.root.path)
    every = sorted(path for top in ("runs", "snapshots") for path in (root / top).rglob("*.json"))
    every = [path for path in every if not path.name.endswith(".sig.json")]  # signatures of records, not evidence
    spoiled = [(path, [*SPOILED][number % len(SPOILED)]) for number, path in enumerate(every)]
    spoiled += [(path, "of other shapes") for path in every if path.name in ("manifest.json", "record.json")]
    spoiled += [(path, "garbage") for path in root.rglob("manifest.sha256")]
    for number, (path, how) in enumerate(spoiled):
        kept = path.read_bytes()
        path.write_bytes(SPOILED[how])
        made = evidence.collect(promoted, 1, tmp_path / str(number))
        assert made.broken or made.missing, (path, how)
        assert (made.folder / attestation.STATEMENT).is_file()
        attestation.examine(made.folder)
        path.write_bytes(kept)
    made = evidence.collect(promoted, 1, tmp_path / "whole")
    assert (made.missing, made.broken) == ((), ())


def test_a_record_that_names_a_file_elsewhere_brings_none_of_it(promoted: ModelRegistry, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    record = promoted.shelf.record("m1", "watch")
    assert record is not None
    paths = {"html": "../../../secret", "json": str(tmp_path / "secret")}
    promoted.shelf.write_record(record.model_copy(update={"paths": paths}))
    made = evidence.collect(promoted, 1, tmp_path / "evidence")
    assert [one for one in made.broken if "is no file of this recipe's" in one]
    assert not (made.folder / "drift").exists()


def test_a_full_disk_leaves_no_half_evidence(
    promoted: ModelRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(attestation, "seal", full)
    (tmp_path / "evidence").mkdir()
    with pytest.raises(OSError, match="No space"):
        evidence.collect(promoted, 1, tmp_path / "evidence")
    assert [path for path in tmp_path.rglob("*") if "evidence" in path.name] == [tmp_path / "evidence"]
    monkeypatch.undo()
