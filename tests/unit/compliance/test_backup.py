"""A store on another disk: backed up, restored, copied, relocated; nothing by half, nothing outside, nothing lost."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ftcore import pipeline, settings
from ftcore.compliance import attestation, backup, evidence, restore
from ftcore.errors import DamagedFileError, FtcoreError
from ftcore.recipe.canonical import sha256
from ftcore.registry import artefacts, versions
from ftcore.registry.acknowledgement import acknowledge
from ftcore.registry.login import Person
from ftcore.registry.promotion import ModelRegistry
from ftcore.store import ledger
from ftcore.store.keys import Keyring
from ftcore.store.slots import number
from ftcore.tracking import places
from ftcore.tracking.client import CHAMPION, Tracking

if TYPE_CHECKING:
    from conftest import Product

    from ftcore.settings import Settings
    from ftcore.tracking.client import Version


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow's with nothing in it: making one takes seconds, copying it none."""
    folder = tmp_path_factory.mktemp("empty")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTCORE_HOME", str(folder))
        Tracking(settings.load(), "none").alias(CHAMPION)
    return folder / "mlflow" / "mlflow.db"


@pytest.fixture
def bare(product: Product, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Product:
    """A product whose home has a database of MLflow's own, as without a server."""
    monkeypatch.delenv("FTCORE_TRACKING_URI", raising=False)
    monkeypatch.delenv("FTCORE_ARTIFACTS", raising=False)
    (product.settings.home / "mlflow").mkdir(parents=True)
    shutil.copy(empty_database, product.settings.home / "mlflow")
    return product


@pytest.fixture
def own(bare: Product, tmp_path: Path) -> Product:
    """The same with a champion."""
    bare.publish(range(20))
    bare.declare(registered(bare, "r1", tmp_path))
    ModelRegistry(bare.recipe, bare.shelf, bare.tracking).promote(1, "mira", "first", override=True)
    return bare


def registered(product: Product, run_id: str, folder: Path) -> Version:
    """A version with one artefact, whose hash stands in its tags."""
    made = folder / run_id / "onnx-int8"
    made.mkdir(parents=True)
    (made / "model.onnx").write_text(f"graph of {run_id}")
    version = product.register(run_id, folders=[made])
    known = product.tracking.client.get_run(version.run).data.tags["ftcore.sha256.onnx-int8"]
    product.tracking.tag(version, {"artefacts": json.dumps({"onnx-int8": known})})
    return product.tracking.version(version.number)


def moved(product: Product, monkeypatch: pytest.MonkeyPatch, home: Path) -> Product:
    """The same product as somebody sees it whose home is another folder."""
    monkeypatch.setenv("FTCORE_HOME", str(home))
    return type(product)(product.name, product.path)


def signed_by(file: Path) -> frozenset[str]:
    with suppress(OSError, tarfile.TarError, ValueError), tarfile.open(file) as tar:
        found = next((tar.extractfile(one) for one in tar if one.name == backup.MANIFEST), None)
        return frozenset({backup.signer(found.read() if found else b"")} - {""})
    return frozenset()


def put_back(conf: Settings, file: Path) -> dict[str, Any]:
    """Restore as somebody does who compared the key that signed it."""
    return restore.restore(conf, file, signed_by(file))


def healthy(product: Product, tmp_path: Path) -> None:
    """Ledger, artefacts and evidence hold."""
    assert ledger.check(product.shelf) == []
    version = product.tracking.alias(CHAMPION)
    assert version is not None
    assert artefacts.check(product.tracking, version, ("onnx-int8",), product.shelf) == artefacts.Checked(
        read=("onnx-int8",)
    )
    made = evidence.collect(ModelRegistry(product.recipe, product.shelf, product.tracking), version.number, tmp_path)
    assert (attestation.examine(made.folder).faults, made.broken) == ((), ())


def test_what_is_restored_elsewhere_is_whole(own: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before, home = own.tracking.version(1), own.settings.home
    made = backup.make(own.settings, tmp_path / "b.tar", private_keys=True)
    assert made["recipes"] == [own.name]
    assert (tmp_path / "b.tar").stat().st_mode & 0o077 == 0
    home.rename(tmp_path / "away")
    there = moved(own, monkeypatch, tmp_path / "new home %")
    done = put_back(there.settings, tmp_path / "b.tar")
    assert (done["ledger"], done["relocated"]["runs"], done["files"]) == ([], 1, made["files"] - 1)
    assert there.tracking.version(1) == before
    healthy(there, tmp_path / "evidence")
    (uri,) = {there.tracking.client.get_run(before.run).info.artifact_uri}
    assert places.local(uri) == tmp_path / "new home %/mlflow/artifacts" / own.name / before.run / "artifacts"
    registered(there, "r2", tmp_path)
    assert not home.exists(), "nothing was written where it was"


@pytest.mark.parametrize("private", [True, False])
def test_private_keys_go_with_it_only_where_somebody_asks(own: Product, tmp_path: Path, private: bool) -> None:
    backup.make(own.settings, tmp_path / "b.tar", private_keys=private)
    with tarfile.open(tmp_path / "b.tar") as tar:
        keys = {name for name in tar.getnames() if name.startswith("keys/") and "heads" not in name}
    assert keys == {"keys/platform.pem.pub", *(["keys/platform.pem"] if private else [])}


def test_a_restored_home_without_the_private_key_keeps_what_it_trusts(
    own: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Restore says what to bring; a write is refused and changes no key; with the key all goes on."""
    backup.make(own.settings, tmp_path / "b.tar")
    pem = own.shelf.chain.ring.private.read_bytes()
    there = moved(own, monkeypatch, tmp_path / "new")
    done = put_back(there.settings, tmp_path / "b.tar")
    assert (done["ledger"], done["private_key"][:34]) == ([], "bring the platform's private key (")
    before = {file: file.read_bytes() for file in (tmp_path / "new" / "keys").rglob("*") if file.is_file()}
    for attempt in (
        lambda: there.registrar.hold("mira", "why"),
        lambda: acknowledge(there.registrar, Person("mira", {"by": "login", "user": {"name": "mira"}}), "why"),
    ):
        with pytest.raises(FtcoreError):
            attempt()
        assert {file: file.read_bytes() for file in (tmp_path / "new" / "keys").rglob("*") if file.is_file()} == before
    there.shelf.chain.ring.private.write_bytes(pem)
    there.registrar.hold("mira", "why")
    assert ledger.check(there.shelf) == []


def test_a_copy_reads_its_own_artefacts_and_writes_none_to_the_other(
    own: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The database of a copy names the folders of the other: both are there, as on one machine."""
    old = own.settings.home
    shutil.copytree(old, tmp_path / "copy")
    shutil.rmtree(old / "cache", ignore_errors=True)
    here = moved(own, monkeypatch, tmp_path / "copy")
    (file,) = (tmp_path / "copy" / "mlflow" / "artifacts").rglob("model.onnx")
    file.write_text("another graph")
    (fault,) = artefacts.check(here.tracking, here.tracking.version(1), ("onnx-int8",), here.shelf).serving
    assert "artefact 'onnx-int8'" in fault, "it is the copy's file that is read"
    file.write_text("graph of r1")
    healthy(here, tmp_path / "evidence")
    with pytest.raises(FtcoreError, match=r"was copied or moved[\s\S]*ftcore relocate"):
        registered(here, "r2", tmp_path)
    database = backup.database_of(here.settings)
    (move,) = places.moves(here.settings, database)
    assert (move.old, move.new) == (old.resolve() / "mlflow/artifacts", tmp_path / "copy/mlflow/artifacts")
    said = places.relocate(database, move, dry_run=True)
    assert places.moves(here.settings, database) == [move], "nothing was changed"
    assert places.relocate(database, move, dry_run=False) == said == {
        "experiments": 1, "runs": 1, "model_versions": 2
    }  # fmt: skip
    assert (
        places.moves(here.settings, database),
        places.relocate(database, move, dry_run=False),
    ) == ([], {})
    registered(here, "r3", tmp_path)
    assert len(list((tmp_path / "copy" / "mlflow" / "artifacts").rglob("model.onnx"))) == 2
    assert len(list((old / "mlflow" / "artifacts").rglob("model.onnx"))) == 1


def test_another_folder_for_new_artefacts_is_no_move(
    own: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FTCORE_ARTIFACTS", (tmp_path / "other").as_uri())
    healthy(own, tmp_path / "evidence")
    registered(own, "r2", tmp_path)
    assert not (tmp_path / "other").exists()


def rewritten(source: Path, target: Path, change: Callable[[tarfile.TarInfo, bytes], Any]) -> None:
    """The same archive with its members changed; None leaves one out, a list puts several in its place."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            file = old.extractfile(member)
            data = file.read() if file else b""
            made = change(member, data)
            for one, content in made if isinstance(made, list) else [] if made is None else [made]:
                one.size = len(content)
                new.addfile(one, io.BytesIO(content))


def named(name: str, **fields: Any) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(member, key, value)
    return member


EVIL = {
    "above": named("store/../../evil"),
    "absolute": named("/evil"),
    "elsewhere": named("bin/evil"),
    "link": named("store/evil", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link": named("store/evil", type=tarfile.LNKTYPE, linkname="backup.json"),
    "device": named("store/evil", type=tarfile.CHRTYPE),
    "folder": named("store/evil", type=tarfile.DIRTYPE),
    "extra": named("store/evil"),
    "below a file": named("backup.json/evil"),
    "a file above": named("store"),
    "long": named("store/" + "e" * 300),
    "null byte": named("store/e?il"),
}
HEADERS = {
    "newer": {"format": 9},
    "a list": [],
    "a text": "backup",
    "recipes that are none": {"format": 1, "recipes": [1]},
    "recipes outside": {"format": 1, "recipes": ["../../evil"]},
    "places that are none": {"format": 1, "places": [1]},
}
"""What backup.json may say, by somebody who wrote the manifest anew."""


MANIFESTS = {
    "manifest cut": b'{"files": {',
    "manifest nested": b"[" * 100_000,
    "sizes": b'{"files": {"a": {"sha256": 1, "size_bytes": Infinity}}}',
}


def spoiled(good: Path, bad: Path, how: str) -> None:
    """A backup that somebody, or a full disk, made something else of."""

    def change(member: tarfile.TarInfo, data: bytes) -> Any:
        if member.name == backup.HEADER:
            evil = [(EVIL[how], b"")] if how in EVIL else []
            return [(member, json.dumps(HEADERS[how]).encode() if how in HEADERS else data), *evil]
        if member.name == backup.MANIFEST and how in HEADERS:
            known, header = json.loads(data), json.dumps(HEADERS[how]).encode()
            known["files"][backup.HEADER] = {"sha256": sha256(header), "size_bytes": len(header)}
            return member, json.dumps(known).encode()
        if member.name == backup.MANIFEST and how in MANIFESTS:
            return member, MANIFESTS[how]
        if member.name.endswith("/recipe.json"):
            if how == "left out":
                return None
            return [(member, data)] * 2 if how == "twice" else (member, data + b" " if how == "changed" else data)
        return None if how == "no manifest" and member.name == backup.MANIFEST else (member, data)

    if how in ("cut", "no archive"):
        bad.write_bytes(good.read_bytes()[: good.stat().st_size // 3] if how == "cut" else b"no archive" * 200)
    else:
        rewritten(good, bad, change)
    if how == "null byte":  # as a flipped byte makes one; the checksum of the member's head is of the other name
        bad.write_bytes(with_null(bad.read_bytes()))


def with_null(data: bytes) -> bytes:
    """An archive in which a name that PAX keeps has a null byte in it."""
    head = data.index(b"store/e?il")
    made = tarfile.TarInfo("store/evil")
    made.pax_headers = {"path": "store/e\0il"}
    return data[:head] + made.tobuf(tarfile.PAX_FORMAT) + data[head + 512 :]


def test_what_is_no_backup_of_ours_restores_nothing(
    own: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backup.make(own.settings, good := tmp_path / "good.tar")
    home = tmp_path / "new"
    there = moved(own, monkeypatch, home)
    for how in (*EVIL, *HEADERS, *MANIFESTS, "cut", "changed", "left out", "twice", "no manifest", "no archive"):
        spoiled(good, tmp_path / "bad.tar", how)
        with pytest.raises(DamagedFileError, match=r"bad\.tar"):
            put_back(there.settings, tmp_path / "bad.tar")
        assert list(home.rglob("*")) == [], how
    assert not (tmp_path / "evil").exists()


def test_who_signed_a_backup_is_compared(own: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing in it tells whose it is: a key that somebody names does, or the one that this machine signs with."""
    made, private = backup.make(own.settings, file := tmp_path / "b.tar"), own.shelf.chain.ring.private
    kept = own.shelf.chain.kept()
    key, there = str(made["signed_by"]), moved(own, monkeypatch, home := tmp_path / "new")
    for trust, told in ((set(), "nothing here tells whether"), ({"a" * 64}, "known here is aaaa")):
        with pytest.raises(FtcoreError, match=told) as refused:
            restore.restore(there.settings, file, frozenset(trust))
        assert (refused.value.hint.endswith(f"--trust {key}"), list(home.rglob("*"))) == (True, [])
    monkeypatch.setenv("FTCORE_SIGNING_KEY", str(private))
    done = restore.restore(there.settings, file)
    assert (done["signed_by"], done["private_key"], done["ledger"]) == (key, "", [])
    assert Keyring(home / "keys").trusted() == {key}
    assert (there.shelf.chain.kept(), there.shelf.chain.witness.exists()) == (kept, True)


@pytest.mark.parametrize("signed", [True, False], ids=["signed by another", "signature taken away"])
def test_a_backup_that_somebody_wrote_anew_brings_no_keys(
    own: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, signed: bool
) -> None:
    """Their key, their head, and a ledger that the header does not name."""
    made = backup.make(own.settings, tmp_path / "good.tar")
    evil = Keyring(tmp_path / "evil")
    evil.make()
    pub = (tmp_path / "evil" / "platform.pem.pub").read_bytes()
    slot = f"store/{own.name}/ledger/chain/{number(1)}"

    def change(member: tarfile.TarInfo, data: bytes) -> Any:
        header = json.dumps({"format": 1, "recipes": []}).encode()
        mine = {backup.HEADER: header, slot: b"{}"}
        if member.name != backup.MANIFEST:
            more = [(named("keys/evil.pub"), pub)] if member.name == backup.HEADER else []
            return [(member, mine.get(member.name, data)), *more]
        files = json.loads(data)["files"]
        for name, content in {**mine, "keys/evil.pub": pub}.items():
            files[name] = {"sha256": sha256(content), "size_bytes": len(content)}
        key, signature = evil.sign(backup.message(files))
        return member, json.dumps({"files": files, **({"key": key, "signature": signature} if signed else {})}).encode()

    rewritten(tmp_path / "good.tar", bad := tmp_path / "bad.tar", change)
    there = moved(own, monkeypatch, home := tmp_path / "new")
    with pytest.raises(FtcoreError, match="is signed by the key" if signed else "is not signed"):
        restore.restore(there.settings, bad)
    platform = frozenset({str(made["signed_by"])})
    if signed:
        with pytest.raises(FtcoreError, match="known here is"):
            restore.restore(there.settings, bad, platform)
        assert list(home.rglob("*")) == []
    else:
        done = restore.restore(there.settings, bad, platform)
        assert (done["signed_by"], done["recipes"]) == ("", [own.name])
        assert any(number(1) in one for one in done["ledger"])
        assert Keyring(home / "keys").trusted() == platform
        assert not (home / "keys" / "heads").exists()


def test_nothing_is_restored_over_something(own: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    backup.make(own.settings, tmp_path / "b.tar")
    with pytest.raises(FtcoreError, match="is there already"):
        backup.make(own.settings, tmp_path / "b.tar")
    with pytest.raises(FtcoreError, match="is not empty: it has keys, mlflow, store"):
        put_back(own.settings, tmp_path / "b.tar")
    there = moved(own, monkeypatch, tmp_path / "new")
    with pytest.raises(FtcoreError, match="there is no backup"):
        put_back(there.settings, tmp_path / "none.tar")
    monkeypatch.setenv("FTCORE_ARTIFACTS", "s3://bucket/x")
    with pytest.raises(FtcoreError, match="FTCORE_ARTIFACTS names another place"):
        put_back(there.settings, tmp_path / "b.tar")


def test_a_restore_that_was_killed_goes_on(own: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    backup.make(own.settings, tmp_path / "b.tar", private_keys=True)
    there = moved(own, monkeypatch, tmp_path / "new")
    real = Path.replace

    def killed_at(move: int) -> None:
        moves = list[Path]()

        def killed(path: Path, target: Path) -> Path:
            moves.append(path)
            if len(moves) == move:
                raise KeyboardInterrupt
            return real(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed)
            with pytest.raises(KeyboardInterrupt):
                put_back(there.settings, tmp_path / "b.tar")

    for move in range(1, 6):  # what was checked, then each folder
        killed_at(move)
        put_back(there.settings, tmp_path / "b.tar")
        assert not (tmp_path / "new" / restore.STAGED).exists()
        if move < 5:
            shutil.rmtree(tmp_path / "new")
    healthy(there, tmp_path / "evidence")


def test_a_restore_goes_on_with_its_own_backup_and_over_nothing(
    own: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backup.make(own.settings, tmp_path / "b.tar", private_keys=True)
    backup.make(own.settings, tmp_path / "other.tar")
    there = moved(own, monkeypatch, home := tmp_path / "new")
    real = Path.replace

    def killed(path: Path, target: Path) -> Path:
        if path.name == "store":
            raise KeyboardInterrupt
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            put_back(there.settings, tmp_path / "b.tar")
    with pytest.raises(FtcoreError, match=r"another backup than .*other\.tar is half restored"):
        put_back(there.settings, tmp_path / "other.tar")
    (written := home / "store" / "other" / "ledger" / "line.json").parent.mkdir(parents=True)
    written.write_text("{}")
    with pytest.raises(FtcoreError, match="not empty: it has store"):
        put_back(there.settings, tmp_path / "b.tar")
    assert written.read_text() == "{}", "what was written since is still there"
    written.unlink()
    put_back(there.settings, tmp_path / "b.tar")
    healthy(there, tmp_path / "evidence")


@pytest.mark.parametrize("left", ['{"format": 1, "fil', "[]", "{}", '{"format": 1}'])
def test_what_an_earlier_version_half_wrote_begins_anew(
    own: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, left: str
) -> None:
    backup.make(own.settings, tmp_path / "b.tar")
    there = moved(own, monkeypatch, home := tmp_path / "new")
    (home / restore.STAGED / "store").mkdir(parents=True)
    (home / restore.STAGED / restore.CHECKED).write_text(left)
    assert put_back(there.settings, tmp_path / "b.tar")["recipes"] == [own.name]


def test_a_full_disk_is_no_fault_of_the_backups(own: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    backup.make(own.settings, tmp_path / "b.tar")
    there = moved(own, monkeypatch, tmp_path / "new")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(restore, "_extract", full)
    with pytest.raises(OSError, match="No space"):
        put_back(there.settings, tmp_path / "b.tar")
    assert not list((tmp_path / "new").rglob("*"))


def test_a_backup_is_never_written_over_another(own: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two at once: the faster one stays, and each has a draft of its own."""
    real, drafts = backup._write, list[Path]()

    def both(*arguments: Any) -> Any:
        drafts.append(arguments[1])
        if len(drafts) == 1:
            thread = threading.Thread(target=backup.make, args=(own.settings, tmp_path / "b.tar"))
            thread.start()
            thread.join()
        return real(*arguments)

    monkeypatch.setattr(backup, "_write", both)
    with pytest.raises(FtcoreError, match="is there already"):
        backup.make(own.settings, tmp_path / "b.tar")
    assert len({*drafts}) == 2
    with tarfile.open(tmp_path / "b.tar") as tar:
        assert tar.getnames()[-1] == backup.MANIFEST
    assert [path.name for path in tmp_path.glob("*b.tar*")] == ["b.tar"]


def test_a_backup_that_fails_leaves_nothing(own: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "_copy_database", full)
    with pytest.raises(OSError, match="No space"):
        backup.make(own.settings, tmp_path / "b.tar")
    assert list(tmp_path.glob("*b.tar*")) == []


def test_backups_made_while_the_registry_changes_hold(
    own: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever moment it is, champion and ledger agree, every line is in the chain, and versions have artefacts."""
    monkeypatch.setenv("FTCORE_LOCK_TIMEOUT_S", "30")
    registered(own, "r2", tmp_path)
    made, stop = list[Path](), threading.Event()
    registrar = ModelRegistry(own.recipe, own.shelf, own.tracking)

    def work() -> None:
        number = 0
        while not stop.is_set():
            champion = registrar.tracking.alias(CHAMPION)
            number += 1
            registrar.promote(3 - champion.number if champion else 1, "mira", "again", override=True)
            own.shelf.add_to_ledger("plan", f"p{number}", "skip", "nothing new")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for number in range(4):
            made.append(tmp_path / f"{number}.tar")
            backup.make(own.settings, made[-1], private_keys=True)
    finally:
        stop.set()
        thread.join()
    for number, file in enumerate(made):
        there = moved(own, monkeypatch, tmp_path / f"new{number}")
        assert put_back(there.settings, file)["ledger"] == []
        champion = there.tracking.alias(CHAMPION)
        assert champion is not None
        assert versions.crowned(there.shelf) == champion.number
        assert artefacts.check(there.tracking, champion, ("onnx-int8",), there.shelf).serving == ()


def test_what_was_restored_turns_on(bare: Product, tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A ring of real steps, its restored store, and the next turn there: data, training, gate, promotion."""
    product = bare
    product.change(
        base=str(tiny / "model"),
        train={"epochs": 1, "max_length_tokens": 32, "batch_size": 16},
        method={"kind": "lora", "rank": 2},
        gates=[{"kind": "threshold", "minimum": 0.01, "min_rows": 5}],
        prepare={"near_duplicates": None},
        validation={"min_rows": 10, "max_quarantined": 1},
        evaluate={"perturbed_rows": 0, "resamples": 100, "examples": 2},
    )
    words = ["a fine film", "a dull plot", "the end was great", "an awful story"]
    product.write_rows([(f"{words[n % 4]} number {n}", ("positive", "negative")[n % 2]) for n in range(150)])
    assert pipeline.run(product.path, "r1")[-1].reason == "version 1 is champion"
    backup.make(product.settings, tmp_path / "b.tar", private_keys=True)
    product.settings.home.rename(tmp_path / "away")
    there = moved(product, monkeypatch, tmp_path / "new")
    put_back(there.settings, tmp_path / "b.tar")
    product.write_rows([(f"{words[n % 4]} number {n}", ("positive", "negative")[n % 2]) for n in range(180)])
    done = pipeline.run(there.path, "r2", params={"train": "always"})
    assert (done[-1].step, done[-1].reason) == ("promote", "version 2 is champion, after version 1")
    made = evidence.collect(evidence.Archive(there.shelf, there.tracking), 2, tmp_path / "evidence")
    assert (made.missing, made.broken, made.unknown) == ((), (), ())
    assert attestation.examine(made.folder).faults == ()
