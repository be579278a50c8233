"""What was signed once is put back later: an old intent, line or store decides nothing anew."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ftcore import doctor, integrity, intents, ledger, registry, store
from ftcore.files import as_json
from ftcore.tracking import CHAMPION
from ftcore.trail import newest

if TYPE_CHECKING:
    from conftest import Product


@pytest.fixture
def kept(product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a copy of every intent: somebody looked at the store at the right moments."""
    folder = tmp_path / "kept"
    folder.mkdir()
    begin = intents.begin

    def seen(*args: object) -> object:
        path = begin(*args)  # type: ignore[arg-type]
        shutil.copy(str(path), folder)
        return path

    monkeypatch.setattr(intents, "begin", seen)
    return folder


def local(product: Product, name: str) -> Path:
    return store.local(product.shelf.root / name) or pytest.fail("not here")


def put_back(product: Product, kept: Path, kind: str, *, without_line: bool) -> None:
    (old,) = sorted(kept.glob(f"{kind}--*.json"))[-1:]
    shutil.copy(old, local(product, "intents"))
    if without_line:
        local(product, f"ledger/{old.name}").unlink()


def decided(product: Product) -> None:
    """Version 2 was promoted, rolled back and rejected; promotion was released, and is held again."""
    for number in (1, 2):
        product.register(f"r{number}")
        product.registrar.promote(number, "mira", "now", override=True)
    product.registrar.rollback("mira", "it insults customers")
    product.registrar.reject(2, "mira", "never again")
    product.registrar.release("mira", "go on")
    product.registrar.hold("mira", "until the audit is over")


@pytest.mark.parametrize("kind", ["promote", "rollback", "release", "reject"])
@pytest.mark.parametrize("without_line", [True, False])
def test_an_intent_that_was_carried_out_is_not_carried_out_again(
    product: Product, kept: Path, kind: str, without_line: bool
) -> None:
    decided(product)
    before, lines = registry.book(product.tracking), product.shelf.ledger()
    put_back(product, kept, kind, without_line=without_line)
    with product.registrar.at_work():
        pass
    assert registry.book(product.tracking) == before
    assert product.shelf.ledger() == lines, "its line is back, and no other was written"
    assert integrity.check(product.shelf, product.tracking) == []
    assert doctor.mend(product.registrar) == ([], [])


def test_an_intent_that_nobody_finished_ends_with_the_next_decision(product: Product) -> None:
    """Kept from another machine that was killed: it has no line, and others have decided since."""
    for number in (1, 2):
        product.register(f"r{number}")
    product.registrar.promote(1, "mira", "now", override=True)
    intent = product.registrar.crowning(product.tracking.version(2), 1, "jon", "jon")
    path = intents.begin(product.shelf, intent.model_copy(update={"run_id": "late"}))
    whole = path.read_bytes()
    path.unlink()
    product.registrar.hold("mira", "until the audit is over")
    path.write_bytes(whole)
    (what,) = [one.what for one in doctor.examine(product.registrar)]
    assert "promote of run late is half done, and line 2 of the ledger (hold) was written since it began" in what
    doctor.mend(product.registrar)
    line = product.shelf.line("promote", "late")
    assert line is not None
    assert line["decision"] == "abandoned"
    assert registry.book(product.tracking).model.aliases[CHAMPION] == 1
    path.write_bytes(whole)
    assert doctor.mend(product.registrar)[1] == []
    assert registry.book(product.tracking).model.aliases[CHAMPION] == 1


def test_a_name_of_the_chain_is_not_given_twice(product: Product) -> None:
    shelf = product.shelf
    first = [shelf.add_to_ledger("plan", f"r{one}", "train", "because") for one in range(4)][1]
    local(product, "ledger/plan--r1.json").unlink()
    assert shelf.add_to_ledger("plan", "r1", "skip", "again") == first
    assert ledger.check(shelf) == []
    last = newest(shelf.chain)
    assert last is not None
    assert last.n == 4


def test_two_numbers_of_one_name_are_told_and_end(product: Product) -> None:
    """Somebody hid that a line is gone by a file of their own, and its step was run again."""
    shelf = product.shelf
    for one in range(3):
        shelf.add_to_ledger("plan", f"r{one}", "train", "because")
    local(product, "ledger/plan--r1.json").unlink()
    local(product, "ledger/plan--x.json").write_bytes(as_json({"at": "", "kind": "plan"}))
    shelf.add_to_ledger("plan", "r1", "skip", "again")
    left = doctor.mend(product.registrar)[1]
    assert [one.what for one in left] == ["line 4: chain/00000004.json has the name of line 2, plan--r1.json"]
