"""What anybody may write who reaches the store or MLflow: it is named, believed by nobody, and stops no check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ftcore import integrity, ledger, registry, served
from ftcore.files import mapping
from ftcore.intents import HEAD_TAG, pending
from ftcore.promotion import Registrar
from ftcore.slots import position
from ftcore.tracking import Version
from ftcore.tracking_models import Model, tag_model

if TYPE_CHECKING:
    from tests.conftest import Product

DEEP = "[" * 100_000
GARBAGE = ["", "5", "[1]", '"a"', "null", "no JSON", '{"x": 1}', '{"n": Infinity}', '{"reason": 5, "by": [1]}', DEEP]
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
    found = registry.entry(version, Model("r"))
    for note in (found[registry.REJECTED], found[registry.ROLLED_BACK]):
        assert note is None or set(note) == {"by", "reason", "at"}
    assert isinstance(found["artefacts"], dict)
    if key in (registry.REJECTED, registry.ROLLED_BACK):
        assert registry.decided_against(version), "one that cannot be read speaks against it, too"


@pytest.mark.parametrize("number", ["²", "1²", "9" * 4500, "-1", "1.5"])
def test_a_number_that_is_none(number: str) -> None:
    version = Version(1, "run", {"ftcore.verdict.champion": number})
    assert registry.entry(version, Model("r"))["judged_against"] is None


@pytest.mark.parametrize("name", NAMES[:5])
def test_names_that_are_no_numbers(name: str) -> None:
    assert position(name) is None


def test_in_the_chain(judged: Product) -> None:
    """A gap is told once, however wide it is, and every garbage file is named."""
    shelf = judged.shelf
    assert ledger.check(shelf) == []
    for name, text in zip(NAMES, GARBAGE[4:], strict=True):
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
    with Registrar.of(judged.recipe, judged.shelf, judged.settings).at_work():
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
