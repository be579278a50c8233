"""What is lost for good can be acknowledged: the ring goes on, it stays listed, and the next break is found."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ftcore.errors import DamagedFileError, FtcoreError
from ftcore.registry import doctor, integrity, intents
from ftcore.registry.acknowledgement import acknowledge
from ftcore.registry.intents import HEAD_TAG
from ftcore.registry.login import Person
from ftcore.store import appending, keys, ledger, store
from ftcore.store.keys import Keyring
from ftcore.store.records import now
from ftcore.store.slots import HEAD, number, read
from ftcore.store.store import RecipeStore
from ftcore.tracking import registered
from ftcore.tracking.client import CANDIDATE, CHAMPION

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Product

MIRA = Person("os:mira")


@dataclass(frozen=True)
class Broken:
    """A product whose ledger, records and registry somebody's hand can reach."""

    product: Product

    def slot(self, n: int) -> Path:
        return self.path(f"ledger/chain/{number(n)}")

    def path(self, name: str) -> Path:
        return store.local(self.product.shelf.root / name) or pytest.fail("not here")

    def line(self, n: int) -> Path:
        slot = read(self.slot(n).read_bytes(), self.product.name)
        assert slot
        return self.path(f"ledger/{slot.name}")

    @property
    def last(self) -> int:
        return max(int(path.stem) for path in self.path("ledger/chain").glob("0*.json"))

    def lose(self, *numbers: int) -> None:
        for n in numbers:
            self.line(n).unlink()
            self.slot(n).unlink()

    def tag(self, **tags: str) -> None:
        self.product.tracking.tag(self.product.tracking.version(2), {k.replace("__", "."): v for k, v in tags.items()})

    def alias(self, name: str, version: int) -> None:
        self.product.tracking.set_alias(name, self.product.tracking.version(version))

    def record(self, step: str) -> Path:
        return self.path(f"runs/r2/{step}/record.json")

    def open(self) -> list[str]:
        """Breaks that nobody acknowledged."""
        product = self.product
        return [str(one) for one in ledger.unacknowledged(integrity.check(product.shelf, product.tracking))]

    def faults(self) -> list[str]:
        return [one.what for one in doctor.examine(self.product.registrar) if one.fault]

    def acknowledge(self, person: Person = MIRA) -> dict[str, Any]:
        return acknowledge(self.product.registrar, person, "the disk is gone")


@pytest.fixture
def broken(product: Product) -> Broken:
    """Version 1 is champion, version 2 was judged and waits; some lines lie between and after."""
    for one in range(5):
        product.shelf.add_to_ledger("plan", f"p{one}", "skip", "nothing is new")
    product.register("r1")
    product.judge(1)
    product.registrar.promote(1, "mira")
    product.register("r2")
    store.write_json(product.shelf.folder("r2", "evaluate") / "evaluation.json", {"metrics": {}})
    made = {"recipe": product.name, "run_id": "r2", "fingerprint": "", "reason": "nothing is new", "started_at": now()}
    for step in ("plan", "train"):
        product.shelf.write_record(store.Record.model_validate(made | {"step": step}))
    product.judge(2, champion=1, run_id="r2")
    for one in range(5, 7):
        product.shelf.add_to_ledger("plan", f"p{one}", "skip", "nothing is new")
    intents.witness(product.shelf, product.tracking)
    found = Broken(product)
    assert found.faults() == found.open() == []
    return found


def garble(path: Path, text: str = "{") -> None:
    path.write_text(text)


def spoil(b: Broken, n: int, how: Callable[[Path], object]) -> None:
    """A number with its line gone, too: what only the line tells is put back from it."""
    b.line(n).unlink()
    how(b.slot(n))


def older(path: Path, words: str = "nothing is old") -> None:
    """A record or number as somebody would like it to be."""
    path.write_text(path.read_text().replace("nothing is new", words).replace("nothing is old", words))


BREAKS: dict[str, tuple[Callable[[Broken], object], Callable[[Broken], object]]] = {
    "line and number deleted": (lambda b: b.lose(b.last - 3), lambda b: b.lose(b.last - 3)),
    "number garbage": (
        lambda b: spoil(b, b.last - 3, garble),
        lambda b: spoil(b, b.last - 4, lambda path: garble(path, "[]")),
    ),
    "number changed": (lambda b: spoil(b, b.last - 3, older), lambda b: spoil(b, b.last - 3, older)),
    "tail cut off": (lambda b: b.lose(b.last, b.last - 1), lambda b: b.lose(b.last)),
    "newest garbage": (lambda b: spoil(b, b.last, garble), lambda b: spoil(b, b.last, garble)),
    "first deleted": (lambda b: b.lose(1), lambda b: b.lose(2)),
    "record changed": (lambda b: older(b.record("train")), lambda b: older(b.record("train"), "another")),
    "record missing": (
        lambda b: b.record("plan").unlink(),
        lambda b: garble(b.record("plan"), b.record("train").read_text()),
    ),
    "verdict missing": (
        lambda b: b.path("runs/r2/gate/verdict.json").unlink(),
        lambda b: garble(b.path("runs/r2/gate/verdict.json"), "{}"),
    ),
    "tag changed": (lambda b: b.tag(verdict__reason="none"), lambda b: b.tag(verdict__reason="another")),
    "tag added": (lambda b: b.tag(approval__x="eve"), lambda b: b.tag(approval__x="eva")),
    "alias moved": (
        lambda b: b.alias(CANDIDATE, 1),
        lambda b: registered.drop_alias(b.product.tracking, CANDIDATE),
    ),
}
"""Kinds of breaks, each with the next of its kind."""


def test_what_was_acknowledged_holds_nobody_up_and_the_next_break_of_each_kind_does(broken: Broken) -> None:
    """All in one ledger, one after the other: what was acknowledged before stays so."""
    product = broken.product
    for what, both in BREAKS.items():
        for change in both:
            for _ in range(5):
                product.shelf.add_to_ledger("plan", f"n{broken.last}", "skip", "nothing is new")
            intents.witness(product.shelf, product.tracking)
            change(broken)
            assert broken.open(), what
            model = registered.model(product.tracking)
            refused = integrity.against(product.shelf, product.tracking.version(2), model)
            line = broken.acknowledge()
            assert (line["by"], line["why"], line["kind"]) == ("os:mira", "the disk is gone", "acknowledge")
            told = integrity.check(product.shelf, product.tracking)
            assert [str(one) for one in told if not one.acknowledged or one.acknowledged.by != "os:mira"] == [], what
            assert {one.what for one in told if one.acknowledged and one.acknowledged.n == line["n"]}, "told ever after"
            model = registered.model(product.tracking)
            left = integrity.against(product.shelf, product.tracking.version(2), model)
            assert left == [], (what, refused)
            assert product.shelf.add_to_ledger("plan", f"on{line['n']}", "train", "on")["n"] == line["n"] + 1
    assert broken.faults() == []
    assert product.registrar.promote(2, "jon")["version"] == 2
    assert broken.open() == []


def test_what_is_signed_is_put_back_and_not_acknowledged(broken: Broken) -> None:
    lines = [broken.line(n) for n in (3, 4)]
    kept = [line.read_bytes() for line in lines]
    lines[0].unlink()
    lines[1].write_text("{}")
    broken.path("ledger/promote--forged.json").write_text("{}")
    with pytest.raises(FtcoreError, match="nothing is to acknowledge"):
        broken.acknowledge()
    assert [line.read_bytes() for line in lines] == kept
    assert broken.faults() == []
    broken.alias(CHAMPION, 2)
    with pytest.raises(FtcoreError, match="champion is version 2 in MLflow") as told:
        broken.acknowledge()
    assert "--fix" in told.value.hint


@pytest.mark.parametrize("how", [Path.unlink, garble, older], ids=["deleted", "garbage", "changed"])
def test_a_number_is_written_again_from_its_line(broken: Broken, how: Callable[[Path], object]) -> None:
    """Of the first, two that follow each other, and the newest, by whatever signed thing proves each."""
    numbers = (1, 4, 5, broken.last)
    kept = {broken.slot(n): broken.slot(n).read_bytes() for n in numbers}
    lines = {path: path.read_bytes() for path in broken.path("ledger").glob("*.json")}
    for path in kept:
        how(path)
    assert broken.faults()
    assert doctor.mend(broken.product.registrar)[1] == []
    assert {path: path.read_bytes() for path in kept} == kept
    assert {path: path.read_bytes() for path in broken.path("ledger").glob("*.json")} == lines
    assert broken.open() == []


def test_a_line_that_nothing_proves_is_left_where_it_is(broken: Broken) -> None:
    """One that may be the missing number's; one that cannot be is set aside."""
    genuine, forged = broken.line(4), broken.path("ledger/plan--forged.json")
    broken.slot(4).unlink()
    broken.lose(5)
    forged.write_bytes(genuine.read_bytes().replace(b'"n": 4', b'"n": 3'))
    _, left = doctor.mend(broken.product.registrar)
    assert (genuine.exists(), forged.exists()) == (True, False)
    assert any("chain/00000004.json from a backup: this may be its line" in one.hint for one in left)


def test_a_machine_that_lacks_the_key_before_a_rotation_takes_nothing_away(broken: Broken, tmp_path: Path) -> None:
    """It says which key to trust, and after that finds all in order: alias, lines and records stay as they are."""
    product, ring = broken.product, broken.product.shelf.chain.ring
    (before,) = ring.trusted()
    new = ring.replacement()
    product.shelf.add_to_ledger("keys", f"to-{new[:16]}", "rotated", "", public_key=new)
    ring.replace()
    (other := tmp_path / "other" / "keys").mkdir(parents=True)
    shutil.copy(ring.private, other)
    there = RecipeStore(product.shelf.root, product.name, tmp_path / "other" / "locks")
    registrar = type(product.registrar)(product.recipe, there, product.tracking)
    files = {path: path.read_bytes() for path in broken.path("ledger").rglob("*") if path.is_file()}
    aliases = registered.model(product.tracking).aliases
    done, left = doctor.mend(registrar)
    assert done == []
    assert [one for one in left if one.fault and f"ftcore keys trust {before}" not in one.hint] == []
    assert {path: path.read_bytes() for path in broken.path("ledger").rglob("*") if path.is_file()} == files
    assert registered.model(product.tracking).aliases == aliases
    there.chain.ring.trust(before)
    assert doctor.mend(registrar) == ([], [])


def test_what_lies_behind_the_newest_line_is_set_aside(broken: Broken) -> None:
    for n in (broken.last + 1, 200_000):
        broken.slot(n).write_text("garbage")
    assert len(broken.faults()) == 2
    assert doctor.mend(broken.product.registrar)[1] == []
    assert broken.open() == []


@pytest.mark.parametrize("killed", ["before the line", "before the heads", "before the model's head"])
def test_killed_in_between_it_is_all_or_nothing(broken: Broken, killed: str) -> None:
    witness, head = broken.product.shelf.chain.witness, broken.path(f"ledger/chain/{HEAD}")
    broken.lose(broken.last, broken.last - 1)
    kept, tag = (witness.read_bytes(), head.read_bytes()), registered.model(broken.product.tracking).tags
    line = broken.acknowledge()
    if killed == "before the line":
        broken.line(line["n"]).unlink()
    if killed != "before the model's head":
        witness.write_bytes(kept[0])
        head.write_bytes(kept[1])
    registered.tag_model(broken.product.tracking, {HEAD_TAG: tag[f"ftcore.{HEAD_TAG}"]})
    assert broken.product.shelf.add_to_ledger("plan", "p9", "train", "it goes on")["n"] == line["n"] + 1
    assert broken.open() == []
    assert broken.product.shelf.line("acknowledge", line["run_id"])


def test_an_acknowledgement_that_is_deleted_acknowledges_nothing(broken: Broken) -> None:
    broken.lose(broken.last)
    line = broken.acknowledge()
    broken.lose(line["n"])
    assert any("cut off" in one for one in broken.open())
    with pytest.raises(DamagedFileError, match="is gone") as told:
        broken.product.shelf.add_to_ledger("plan", "p9", "train", "")
    assert "--acknowledge" in told.value.hint
    again = broken.acknowledge()
    assert again["lost"] == [[line["n"] - 1, line["n"]]]
    broken.product.shelf.add_to_ledger("plan", "p9", "train", "")
    broken.lose(again["n"])
    assert broken.open(), "also where others were written since"


def test_what_a_backup_brings_back_fits_again(broken: Broken) -> None:
    lost = [broken.slot(n) for n in (broken.last - 1, broken.last)]
    kept = [path.read_bytes() for path in lost]
    broken.lose(broken.last, broken.last - 1)
    broken.acknowledge()
    for path, data in zip(lost, kept, strict=True):
        path.write_bytes(data)
    assert doctor.mend(broken.product.registrar)[1] == []
    assert integrity.check(broken.product.shelf, broken.product.tracking) == []


def test_the_whole_ledger_can_be_lost(broken: Broken) -> None:
    broken.lose(*range(1, broken.last + 1))
    line = broken.acknowledge()
    assert line["lost"] == [[1, line["n"] - 1]]
    assert ledger.unacknowledged(ledger.check(broken.product.shelf)) == []
    assert broken.product.shelf.add_to_ledger("plan", "p9", "train", "")["n"] == line["n"] + 1


def test_without_the_platforms_key_nobody_acknowledges(broken: Broken, tmp_path: Path) -> None:
    """Neither on a machine of their own, nor by a line that they sign and put into the store."""
    product, shelf = broken.product, broken.product.shelf
    sound = ledger.audit(shelf).chained
    other = RecipeStore(shelf.root, shelf.name, tmp_path / "other" / "locks")
    broken.lose(3)
    with pytest.raises(FtcoreError, match="no line of a key that is trusted here"):
        acknowledge(type(product.registrar)(product.recipe, other, product.tracking), MIRA, "mine")
    (platform,) = shelf.chain.ring.trusted()
    forger = Keyring(tmp_path / "other" / "keys")
    forger.trust(platform)
    with pytest.raises(FtcoreError, match="private key is not on this machine"):
        acknowledge(type(product.registrar)(product.recipe, other, product.tracking), MIRA, "mine")
    assert not forger.private.exists()
    keys.create(forger.private)
    breaks = [{"n": one.n, "line": one.line, "digest": one.digest} for one in ledger.check(shelf)]
    assert appending.resume(other.chain, "acknowledge--x.json", {"at": "", "kind": "acknowledge", "decision": "",
        "run_id": "x", "reason": "", "breaks": breaks}, sound, sound[max(sound)].head)  # fmt: skip
    assert len(broken.open()) >= 2
    assert broken.acknowledge()["n"] == broken.last
    assert broken.open() == []


def test_where_approvals_are_asked_for_it_needs_a_login(broken: Broken) -> None:
    broken.product.change(approval={"required": 1})
    broken.lose(3)
    with pytest.raises(FtcoreError, match="needs a login"):
        broken.acknowledge()
    for person, reason in ((MIRA, " "), (Person(""), "why")):
        with pytest.raises(FtcoreError):
            acknowledge(broken.product.registrar, person, reason)
    line = broken.acknowledge(Person("mira", {"by": "login", "user": {"name": "mira"}}))
    assert (line["by"], line["witness"]["by"]) == ("mira", "login")


def test_two_at_once(broken: Broken) -> None:
    """Another machine takes the number first: whoever is later looks again."""
    broken.lose(broken.last)
    shelf = broken.product.shelf
    audit = ledger.audit(shelf, registered.model(broken.product.tracking).tags[f"ftcore.{HEAD_TAG}"])
    assert audit.newest
    line = broken.acknowledge()
    assert not appending.resume(shelf.chain, "acknowledge--y.json", line, audit.chained, audit.newest)
    with pytest.raises(FtcoreError, match="nothing is to acknowledge"):
        broken.acknowledge()


def test_a_half_done_change_can_be_finished_after_it(broken: Broken) -> None:
    product = broken.product
    intent = product.registrar.crowning(product.tracking.version(2), 1, "jon", "jon").model_copy(update={"run_id": "h"})
    intents.begin(product.shelf, intent)
    broken.lose(broken.last)
    broken.acknowledge()
    assert [one for one in doctor.mend(product.registrar)[1] if one.fault] == []
    assert product.shelf.ledger("promote")[-1]["version"] == 2
    assert broken.open() == []
