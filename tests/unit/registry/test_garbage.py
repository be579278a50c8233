"""What anybody may write who reaches the store or MLflow: it is named, believed by nobody, and stops no check."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ftcore.errors import DamagedFileError
from ftcore.recipe.canonical import sha256
from ftcore.registry import doctor, integrity, served, versions
from ftcore.registry.intents import HEAD_TAG, pending
from ftcore.registry.promotion import ModelRegistry
from ftcore.store import ledger
from ftcore.store.files import as_json, mapping, read_json
from ftcore.store.slots import position
from ftcore.tracking.client import Version
from ftcore.tracking.registered import Model, tag_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Product

DEEP = "[" * 100_000
HALF = '{"n": 3, "by": "\\ud800", "hash": "\\ud800", "key": "00", "signature": "00"}'
GARBAGE = [
    "",
    "5",
    "[1]",
    '"a"',
    "null",
    "no JSON",
    '{"x": 1}',
    '{"n": Infinity}',
    '{"reason": 5, "by": [1]}',
    HALF,
    DEEP,
]
NAMES = ["²²²²²²²².json", "0000000².json", "00000001 (1).json", "12345678-old.json", "1.json", "00200000.json"]


@pytest.fixture
def judged(product: Product) -> Product:
    """A product with a version that a gate has judged."""
    product.register("r1")
    product.judge(1)
    return product


@pytest.mark.parametrize("text", GARBAGE)
def test_what_is_no_object_is_an_empty_one(text: str) -> None:
    assert mapping(text) == mapping(text.encode())
    assert isinstance(mapping(text), dict)


@pytest.mark.parametrize("text", GARBAGE[1:])
@pytest.mark.parametrize("key", ["rejected", "rolled_back", "artefacts", "verdict.champion", "promoted_at"])
def test_tags_of_a_version(key: str, text: str) -> None:
    version = Version(1, "run", {f"ftcore.{key}": text})
    found = versions.entry(version, Model("r"))
    for note in (found[versions.REJECTED], found[versions.ROLLED_BACK]):
        assert note is None or set(note) == {"by", "reason", "at"}
    assert isinstance(found["artefacts"], dict)
    if key in (versions.REJECTED, versions.ROLLED_BACK):
        assert versions.decided_against(version), "one that cannot be read speaks against it, too"


@pytest.mark.parametrize("text", [HALF, HALF.replace("\\ud800", "\ud800"), '"\\uDFFF"', b'"\xed\xa0\x80"', b"\xff"])
def test_half_a_character_is_no_json(text: str | bytes, tmp_path: Path) -> None:
    """It could be neither hashed nor printed; a whole one that is written as two halves is one."""
    assert mapping(text) == {}
    if isinstance(text, bytes):
        (tmp_path / "x.json").write_bytes(text)
        with pytest.raises(DamagedFileError, match="is no JSON"):
            read_json(tmp_path / "x.json")
    assert mapping('{"a": "\\ud83d\\ude00"}') == {"a": "😀"}
    assert len(sha256("a name \ud800")) == 64


@pytest.mark.parametrize("number", ["²", "1²", "9" * 4500, "-1", "1.5"])
def test_a_number_that_is_none(number: str) -> None:
    version = Version(1, "run", {"ftcore.verdict.champion": number})
    assert versions.entry(version, Model("r"))["judged_against"] is None


@pytest.mark.parametrize("name", NAMES[:5])
def test_names_that_are_no_numbers(name: str) -> None:
    assert position(name) is None


def test_in_the_chain(judged: Product) -> None:
    """A gap is told once, however wide it is, and every garbage file is named."""
    shelf = judged.shelf
    assert ledger.check(shelf) == []
    for name, text in zip(NAMES, GARBAGE[4:10], strict=True):
        (shelf.chain.slots / name).write_text(text)
    found = ledger.check(shelf)
    assert {one.line for one in found} >= {f"chain/{name}" for name in NAMES}
    assert len(found) <= 2 * len(NAMES)
    for text in GARBAGE:
        (shelf.chain.slots / "head.json").write_text(text)
        shelf.add_to_ledger("plan", f"r{len(text)}", "skip", "the head is found without it")


@pytest.mark.parametrize("text", GARBAGE[1:-1])
def test_as_the_newest_line_and_in_notes(judged: Product, text: str) -> None:
    version = judged.tracking.versions()[0]
    tag_model(judged.tracking, {HEAD_TAG: text})
    judged.tracking.tag(version, {"rejected": text, "artefacts": text})
    found = [str(one) for one in integrity.check(judged.shelf, judged.tracking)]
    assert any("newest line as the registered model keeps it" in one for one in found)
    assert any("rejected" in one for one in found)


def test_as_records_and_runs(judged: Product) -> None:
    """A run that MLflow has deleted hides no other fault."""
    version = judged.tracking.versions()[0]
    judged.tracking.tag(version, {"rejected": "x"})
    judged.tracking.client.delete_run(version.run)
    for step in ("gate", "promote"):
        path = judged.shelf.folder("r1", step) / "record.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"a": 1}')
    assert any("rejected" in str(one) for one in integrity.check(judged.shelf, judged.tracking))


@pytest.mark.parametrize("text", [*GARBAGE, '{"intent": 5}', '{"intent": {"aliases": [1]}, "key": [], "signature": 1}'])
def test_as_a_change_that_has_begun(judged: Product, text: str) -> None:
    place = judged.shelf.root / served.INTENTS
    place.mkdir(exist_ok=True)
    (place / "promote--r9.json").write_text(text)
    ((_, intent),) = pending(judged.shelf)
    assert intent is None
    judged.crown("r2")
    assert served.champion(judged.shelf, judged.tracking) is not None
    with ModelRegistry.of(judged.recipe, judged.shelf, judged.settings).at_work():
        assert list(pending(judged.shelf)) == []


@pytest.mark.parametrize("change", [b"no JSON", b"failed"])
def test_a_line_that_was_put_right_is_shown_again(judged: Product, change: bytes) -> None:
    (name,) = (path.name for path in (judged.shelf.root / "ledger").iterdir() if path.name.startswith("gate"))
    path = judged.shelf.root / "ledger" / name
    before = path.read_bytes()
    path.write_bytes(before.replace(b"passed", change) if change == b"failed" else change)
    assert ledger.lines(judged.shelf)[0]["decision"] in (ledger.UNREADABLE, ledger.UNSIGNED)
    path.write_bytes(before)
    assert ledger.lines(judged.shelf)[0]["decision"] == "passed"


LINE = {"n": 99, "before": "", "kind": "acknowledge", "decision": "x"}
SLOT = {"recipe": "", "name": "a--b.json", "line": LINE, "key": "", "signature": ""}
ODD_LINES = [[1], {"n": 99, "before": ""}, LINE | {"lost": "abc"}, LINE | {"lost": 5}]
ODD_SLOTS = [{"name": 5}, {"name": ["a"]}, {"key": [1]}, {"signature": {}}, *({"line": line} for line in ODD_LINES)]


@pytest.mark.parametrize("odd", ODD_SLOTS, ids=str)
def test_as_a_number_with_parts_of_other_types(judged: Product, odd: dict[str, object]) -> None:
    (judged.shelf.chain.slots / "00000099.json").write_bytes(as_json(SLOT | {"recipe": judged.name} | odd))
    assert any("00000099" in str(one) for one in ledger.check(judged.shelf))
    assert any("00000099" in one.what for one in doctor.examine(judged.registrar))


ODD_TAGS = [(key, text) for key in ("run", "snapshot") for text in ("a\0b", "a" * 400, "../../x")] + [
    ("artefacts", '{"a\\u0000b": "x", "../../x": {"a": 1}, "/etc": "1"}'),
    ("hold", HALF),
]


@pytest.mark.parametrize(("key", "text"), ODD_TAGS, ids=str)
def test_a_tag_that_is_no_name_hides_nothing(judged: Product, key: str, text: str) -> None:
    """Doctor and the check tell of it, or go on; what else is wrong is told too."""
    judged.crown("r2")
    for version in judged.tracking.versions():
        judged.tracking.client.set_model_version_tag(judged.name, str(version.number), f"ftcore.{key}", text)
        with sqlite3.connect(judged.settings.mlflow_uri.removeprefix("sqlite:///")) as database:
            database.execute("insert into tags values (?, ?, ?)", ("ftcore.sha256.../../../etc", "x", version.run))
    (judged.shelf.root / "snapshots").mkdir(exist_ok=True)
    (judged.shelf.root / "snapshots" / "current.json").write_text("[1]")
    integrity.check(judged.shelf, judged.tracking)
    found = [one.what for one in doctor.examine(judged.registrar)]
    assert any("current.json points nowhere" in what for what in found), found
    assert any("has lost its artefact '../../../etc'" in what for what in found), found


def test_a_champion_whose_run_is_gone_hides_no_other_fault(judged: Product) -> None:
    champion = judged.crown("r2")
    judged.tracking.client.delete_run(champion.run)
    (judged.shelf.root / "snapshots").mkdir(exist_ok=True)
    (judged.shelf.root / "snapshots" / "current.json").write_text("[1]")
    assert any("current.json points nowhere" in one.what for one in doctor.examine(judged.registrar))


PLACES = ["ledger/plan--z.json", "ledger/chain/00000099.json", "intents/promote--z.json", "runs/r1/train/record.json"]


def _socket(path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o600)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("make", [os.mkfifo, _socket, _device], ids=["pipe", "socket", "device"])
def test_a_pipe_is_no_file_and_nobody_waits_for_it(judged: Product, place: str, make: Callable[[Path], None]) -> None:
    path = Path(judged.shelf.root.path) / place
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)
    integrity.check(judged.shelf, judged.tracking)
    assert any(path.name in one.what for one in doctor.examine(judged.registrar))
    assert list(served.promises(judged.shelf)) == []
