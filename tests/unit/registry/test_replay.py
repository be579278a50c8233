"""What was signed once is put back later: an old intent, line or store decides nothing anew."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ftcore.errors import DamagedFileError, FtcoreError
from ftcore.registry import doctor, integrity, intents, served, versions
from ftcore.registry.acknowledgement import acknowledge
from ftcore.registry.login import Person
from ftcore.store import ledger, store, trail
from ftcore.store.files import as_json
from ftcore.store.keys import Keyring
from ftcore.store.slots import Slot, number
from ftcore.tracking import registered
from ftcore.tracking.client import CHAMPION

if TYPE_CHECKING:
    from collections.abc import Callable

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
    for one in (1, 2):
        product.register(f"r{one}")
        product.registrar.promote(one, "mira", "now", override=True)
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
    before, lines = versions.book(product.tracking), product.shelf.ledger()
    put_back(product, kept, kind, without_line=without_line)
    with product.registrar.at_work():
        pass
    assert versions.book(product.tracking) == before
    assert product.shelf.ledger() == lines, "its line is back, and no other was written"
    assert integrity.check(product.shelf, product.tracking) == []
    assert doctor.mend(product.registrar) == ([], [])


def test_an_intent_that_nobody_finished_ends_with_the_next_decision(product: Product) -> None:
    """Kept from another machine that was killed: it has no line, and others have decided since."""
    for one in (1, 2):
        product.register(f"r{one}")
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
    assert versions.book(product.tracking).model.aliases[CHAMPION] == 1
    path.write_bytes(whole)
    assert doctor.mend(product.registrar)[1] == []
    assert versions.book(product.tracking).model.aliases[CHAMPION] == 1


def test_a_name_of_the_chain_is_not_given_twice(product: Product) -> None:
    shelf = product.shelf
    first = [shelf.add_to_ledger("plan", f"r{one}", "train", "because") for one in range(4)][1]
    local(product, "ledger/plan--r1.json").unlink()
    assert shelf.add_to_ledger("plan", "r1", "skip", "again") == first
    assert ledger.check(shelf) == []
    last = trail.newest(shelf.chain)
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


def rolled_back(product: Product) -> None:
    """Version 2 was promoted and rolled back, and the alias was moved to it again by hand."""
    for one in (1, 2):
        product.register(f"r{one}")
        product.registrar.promote(one, "mira", "now", override=True)
    product.registrar.rollback("mira", "it insults customers")
    product.tracking.set_alias(CHAMPION, product.tracking.version(2))


def lose(product: Product, *, number_too: bool) -> None:
    (line,) = product.shelf.ledger("rollback")
    local(product, f"ledger/rollback--{line['run_id']}.json").unlink()
    if number_too:
        local(product, f"ledger/chain/{number(line['n'])}").unlink()
        local(product, "ledger/chain/head.json").unlink()


def witness_here(product: Product) -> None:
    registered.tag_model(product.tracking, {intents.HEAD_TAG: None})


def witness_in_mlflow(product: Product) -> None:
    product.shelf.chain.witness.unlink()


KNOWS: dict[str, tuple[bool, Callable[[Product], object], str]] = {
    "the line's file": (False, lambda product: None, r"by the ledger the champion is version 1"),
    "the line, this machine knows": (True, witness_here, r"chain/00000003.json is gone"),
    "the line, the model knows": (True, witness_in_mlflow, r"ends before line 3, of which the registered model"),
}


@pytest.mark.parametrize("what", KNOWS)
def test_a_version_that_was_rolled_back_does_not_serve_again(product: Product, what: str) -> None:
    number_too, forget, told = KNOWS[what]
    rolled_back(product)
    lose(product, number_too=number_too)
    forget(product)
    with pytest.raises(FtcoreError, match=told) as refused:
        served.champion(product.shelf, product.tracking)
    assert refused.value.hint
    assert doctor.examine(product.registrar)


def test_an_old_store_does_not_serve_where_a_newer_line_was_seen(product: Product, tmp_path: Path) -> None:
    """A machine that only ever reads remembers the newest line, too."""
    for one in (1, 2):
        product.register(f"r{one}")
        product.registrar.promote(one, "mira", "now", override=True)
    shutil.copytree(local(product, "ledger"), tmp_path / "old")
    product.registrar.rollback("mira", "it insults customers")
    product.shelf.chain.witness.unlink()
    assert served.champion(product.shelf, product.tracking) == product.tracking.version(1)
    shutil.rmtree(local(product, "ledger"))
    shutil.copytree(tmp_path / "old", local(product, "ledger"))
    product.tracking.set_alias(CHAMPION, product.tracking.version(2))
    witness_here(product)
    with pytest.raises(DamagedFileError, match=r"chain/00000003.json is gone"):
        served.champion(product.shelf, product.tracking)


def test_who_is_champion_takes_a_few_numbers_however_long_the_ledger_is(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.crown("r1")
    for one in range(30):
        product.shelf.add_to_ledger("plan", f"p{one}", "skip", "because")
    asked: list[int] = []
    signed = type(product.shelf.chain).signed
    monkeypatch.setattr(type(product.shelf.chain), "signed", lambda chain, n: asked.append(n) or signed(chain, n))
    known = served.by_ledger(product.shelf)
    assert known is not None
    assert (known.version, asked) == (1, [31, 32, 1])


def test_what_is_lost_and_acknowledged_lets_the_champion_before_it_serve(product: Product) -> None:
    rolled_back(product)
    lose(product, number_too=True)
    acknowledge(product.registrar, Person("mira"), "the disk is gone")
    for one in range(3):
        product.shelf.add_to_ledger("plan", f"p{one}", "skip", "because")
    known = served.by_ledger(product.shelf)
    assert known is not None
    assert known.version == 2


def test_a_lost_line_from_before_the_chain_counts_as_lost(product: Product) -> None:
    version = product.register("r1")
    figures = served.facts(product.shelf, product.tracking, version) | {"version": 1, "by": "test"}
    for at, name, decision in (("01", "promote--o1", "promoted"), ("02", "rollback--o2", "rolled back")):
        kind, _, run_id = name.partition("--")
        line = {"at": f"2026-01-{at}", "kind": kind, "run_id": run_id, "decision": decision, "reason": ""}
        store.write_json(product.shelf.root / "ledger" / f"{name}.json", line | figures)
    product.tracking.set_alias(CHAMPION, version)
    product.shelf.add_to_ledger("plan", "p1", "skip", "because")
    assert served.by_ledger(product.shelf) is not None
    local(product, "ledger/rollback--o2.json").unlink()
    with pytest.raises(DamagedFileError, match=r"rollback--o2.json, older than the chain, is gone or was changed"):
        served.by_ledger(product.shelf)
    acknowledge(product.registrar, Person("mira"), "the disk is gone")
    assert served.by_ledger(product.shelf) is not None


@pytest.mark.parametrize("signer", ["nobody", "somebody else"])
def test_a_number_that_somebody_else_adds_crowns_nobody(product: Product, tmp_path: Path, signer: str) -> None:
    """On a machine that knows no newest line, and with the one of the store and of the model gone."""
    product.crown("r1")
    product.register("r2")
    last = trail.newest(product.shelf.chain)
    assert last is not None
    forged = last.line | {"n": 2, "before": last.hash, "version": 2, "run_id": "x"}
    slot = Slot(product.name, "promote--x.json", forged, last.key, last.signature)
    if signer == "somebody else":
        ring = Keyring(tmp_path / "theirs")
        ring.make()
        slot = slot.sign(ring)
    local(product, f"ledger/chain/{number(2)}").write_bytes(slot.data)
    local(product, "ledger/promote--x.json").write_bytes(as_json(forged))
    local(product, "ledger/chain/head.json").unlink()
    product.shelf.chain.witness.unlink()
    witness_here(product)
    known = served.by_ledger(product.shelf)
    assert known is not None
    assert known.version == 1
