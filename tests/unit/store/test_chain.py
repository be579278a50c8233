"""The ledger as a chain: whatever is changed, added or taken away is named, and writers lose nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import hypothesis
import hypothesis.strategies as st
import pytest
from upath import UPath

from ftcore.errors import DamagedFileError, FtcoreError
from ftcore.recipe.canonical import sha256
from ftcore.registry import served
from ftcore.settings import Settings
from ftcore.store import adoption, keys, ledger, store
from ftcore.store.files import as_json
from ftcore.store.records import now
from ftcore.store.slots import HEAD, number
from ftcore.store.store import RecipeStore

if TYPE_CHECKING:
    from pathlib import Path

LINES = 6
WRITER = """
import sys
from pathlib import Path
from upath import UPath
from ftcore.store.store import RecipeStore
root, first = Path(sys.argv[1]), int(sys.argv[2])
shelf = RecipeStore(UPath(root / "store" / "demo"), "demo", root / "locks")
for one in range(first, first + 12):
    shelf.add_to_ledger("plan", f"r{one}", "train", "because")
"""


def shelf_at(root: Path) -> RecipeStore:
    return RecipeStore(UPath(root / "store" / "demo"), "demo", root / "locks")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of a few lines, to be copied."""
    root = tmp_path_factory.mktemp("chain")
    for one in range(LINES):
        shelf_at(root).add_to_ledger("plan", f"r{one}", "train", "because", rows=one, score=float("nan"))
    return root


@pytest.fixture
def shelf(whole: Path, tmp_path: Path) -> RecipeStore:
    """A copy of it, with the keys; this machine remembers it at its own path."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    found = shelf_at(tmp_path)
    assert ledger.check(found) == []
    return found


def path(shelf: RecipeStore, name: str) -> Path:
    return store.local(shelf.root / "ledger" / name) or pytest.fail("not here")


def slot(shelf: RecipeStore, n: int) -> Path:
    return path(shelf, f"chain/{number(n)}")


def edit(file: Path, **figures: object) -> None:
    file.write_bytes(as_json(json.loads(file.read_bytes()) | figures))


def sign_anew(shelf: RecipeStore, n: int, forger: Path) -> None:
    """A line as somebody with a key of their own would sign it."""
    from ftcore.store.keys import Keyring
    from ftcore.store.slots import read

    old = read(slot(shelf, n).read_bytes(), "demo")
    assert old is not None
    (forger / "keys").mkdir(exist_ok=True)
    ring = Keyring(forger / "keys")
    ring.make()
    slot(shelf, n).write_bytes(old.sign(ring).data)


CHANGES: dict[str, tuple[Callable[[RecipeStore], object], str]] = {
    "a figure": (lambda s: edit(path(s, "plan--r2.json"), rows=9), "line 3: plan--r2.json was changed (rows)"),
    "no JSON": (lambda s: path(s, "plan--r2.json").write_text("{"), "line 3: plan--r2.json was changed"),
    "a space": (
        lambda s: path(s, "plan--r2.json").write_bytes(path(s, "plan--r2.json").read_bytes() + b" "),
        "line 3: plan--r2.json was changed",
    ),
    "a line is gone": (lambda s: path(s, "plan--r2.json").unlink(), "line 3: plan--r2.json is missing"),
    "a number is gone": (lambda s: slot(s, 3).unlink(), "line 3: chain/00000003.json is missing"),
    "the first is gone": (lambda s: slot(s, 1).unlink(), "line 1: chain/00000001.json is missing"),
    "both are gone": (
        lambda s: (slot(s, 3).unlink(), path(s, "plan--r2.json").unlink()),
        "line 3: chain/00000003.json is missing",
    ),
    "the end is cut off": (
        lambda s: (slot(s, LINES).unlink(), path(s, f"plan--r{LINES - 1}.json").unlink()),
        f"line {LINES}: the ledger was cut off: this machine knows of line {LINES}",
    ),
    "all is gone": (lambda s: shutil.rmtree(path(s, "")), "line 1: the ledger was cut off: this machine knows of line"),
    "the chain is gone": (lambda s: shutil.rmtree(path(s, "chain")), "line 1: the ledger was cut off"),
    "a new line": (
        lambda s: path(s, "promote--x.json").write_bytes(as_json({"kind": "promote", "decision": "promoted"})),
        "promote--x.json is not part of the chain",
    ),
    "a copied line": (
        lambda s: shutil.copy(path(s, "plan--r2.json"), path(s, "plan--r9.json")),
        "plan--r9.json is not part of the chain",
    ),
    "a copied number": (
        lambda s: shutil.copy(slot(s, 2), slot(s, 3)),
        "line 3: chain/00000003.json was changed, or is none of the platform's",
    ),
    "both changed": (
        lambda s: (
            edit(path(s, "plan--r2.json"), rows=9),
            edit(slot(s, 3), line=json.loads(path(s, "plan--r2.json").read_bytes())),
        ),
        "line 3: plan--r2.json is not signed by the platform, or was changed",
    ),
    "a signature": (lambda s: edit(slot(s, 3), signature="00" * 64), "line 3: plan--r2.json is not signed"),
    "another key": (
        lambda s: sign_anew(s, 3, s.locks.parent / "store"),
        "line 3: plan--r2.json is signed by the key",
    ),
    "another recipe": (lambda s: edit(slot(s, 3), recipe="other"), "line 3: chain/00000003.json was changed"),
    "a file among the numbers": (lambda s: slot(s, 3).with_name("x.json").write_text("{}"), "chain/x.json is no line"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_changed_is_named_first(shelf: RecipeStore, what: str) -> None:
    change, said = CHANGES[what]
    change(shelf)
    found = ledger.check(shelf)
    assert found, what
    assert str(found[0]).startswith(said), found


@hypothesis.settings(max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(data=st.data())
def test_whichever_byte_is_changed_is_found(shelf: RecipeStore, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, LINES), label="line")
    file = data.draw(st.sampled_from([slot(shelf, n), path(shelf, f"plan--r{n - 1}.json")]), label="file")
    kept = file.read_bytes()
    place = data.draw(st.integers(0, len(kept) - 1), label="place")
    other = data.draw(st.integers(1, 255), label="change")
    file.write_bytes(kept[:place] + bytes([kept[place] ^ other]) + kept[place + 1 :])
    found = ledger.check(shelf)
    file.write_bytes(kept)
    assert found
    assert found[0].n == n, found


def test_a_forged_line_decides_nothing(shelf: RecipeStore) -> None:
    forged = {"at": "2030", "kind": "plan", "run_id": "x", "decision": "train", "reason": "", "n": 99, "before": ""}
    path(shelf, "plan--x.json").write_bytes(as_json(forged))
    path(shelf, "plan--y.json").write_bytes(as_json(forged | {"n": 2}))
    edit(path(shelf, "plan--r2.json"), rows=9)
    assert [line["run_id"] for line in shelf.ledger()] == [f"r{one}" for one in range(LINES)]
    assert shelf.ledger()[2]["rows"] == 2, "the signed line counts, not what its file was made to say"
    assert [line["run_id"] for line in ledger.audit(shelf).lines] == [f"r{one}" for one in range(LINES)]
    assert shelf.line("plan", "x") is None
    with pytest.raises(DamagedFileError, match=r"plan--x.json is not in the chain"):
        shelf.add_to_ledger("plan", "x", "skip", "because")
    assert {line["decision"] for line in ledger.lines(shelf)} == {"train", ledger.UNSIGNED}


@pytest.mark.parametrize("run_id", ["../../escaped", "a/b", "..\\b"])
def test_a_line_cannot_leave_the_ledger(shelf: RecipeStore, run_id: str) -> None:
    with pytest.raises(FtcoreError, match="bad name of a ledger line"):
        shelf.add_to_ledger("approve", run_id, "approved", "")
    assert ledger.check(shelf) == []


def test_a_crash_between_number_and_line_loses_nothing(shelf: RecipeStore) -> None:
    """As it is left by a kill after the number: no line, an older head."""
    line = path(shelf, f"plan--r{LINES - 1}.json")
    kept, head = line.read_bytes(), json.loads(slot(shelf, LINES - 1).read_bytes())
    older = {"n": LINES - 1, "hash": json.loads(kept)["before"], "key": head["key"], "signature": head["signature"]}
    for file in (path(shelf, f"chain/{HEAD}"), shelf.chain.witness):
        file.write_bytes(as_json(older))
    line.unlink()
    assert shelf.add_to_ledger("plan", "r9", "train", "because")["n"] == LINES + 1
    assert line.read_bytes() == kept
    assert ledger.check(shelf) == []


@pytest.mark.parametrize("head", ["gone", "garbage", "older"])
def test_the_head_is_only_a_help(shelf: RecipeStore, head: str) -> None:
    shelf.chain.witness.unlink()
    file = path(shelf, f"chain/{HEAD}")
    if head == "gone":
        file.unlink()
    else:
        file.write_text("{" if head == "garbage" else json.dumps({"n": 99, "hash": "", "key": "00", "signature": ""}))
    assert shelf.add_to_ledger("plan", "r9", "train", "because")["n"] == LINES + 1
    assert ledger.check(shelf) == []


@pytest.mark.parametrize("last", [0, 3, LINES - 1])
def test_nothing_is_added_to_a_chain_that_was_cut_off_and_the_first_lost_line_is_named(
    shelf: RecipeStore, last: int
) -> None:
    for n in range(last + 1, LINES + 1):
        slot(shelf, n).unlink()
    with pytest.raises(DamagedFileError, match=rf"the ledger of demo is broken: chain/0000000{last + 1}.json is gone"):
        shelf.add_to_ledger("plan", "r9", "train", "because")


MOVES: dict[str, Callable[[Path], RecipeStore]] = {
    "the home": lambda home: shelf_at(home.rename(home.with_name("elsewhere"))),
    "the store": lambda home: RecipeStore(
        UPath((home / "store").rename(home.with_name("disk")) / "demo"), "demo", home / "locks"
    ),
    "a store beside the home": lambda home: RecipeStore(
        UPath(shutil.move(moved_out(home), home.with_name("disk2")) / "demo"), "demo", home / "locks"
    ),
    "the home of an earlier ftcore, and nothing": lambda home: shelf_at(earlier(home)),
}


def moved_out(home: Path) -> Path:
    """The store is beside the home, where lines are written before it is moved once more."""
    place = (home / "store").rename(home.with_name("disk"))
    RecipeStore(UPath(place / "demo"), "demo", home / "locks").add_to_ledger("plan", "r99", "train", "")
    return place


def earlier(home: Path) -> Path:
    """The newest line is kept by the store's address."""
    witness = shelf_at(home).chain.witness
    head = json.loads(witness.read_text())
    del head["first"]
    witness.unlink()
    former = witness.parent / f"demo-{sha256((home / 'store' / 'demo').as_uri())[:8]}.json"
    former.write_bytes(as_json(head))
    return home


@pytest.mark.parametrize("what", MOVES)
def test_an_older_state_is_told_wherever_it_was_moved(whole: Path, tmp_path: Path, what: str) -> None:
    shutil.copytree(whole, home := tmp_path / "home")
    shutil.copytree(home / "store", tmp_path / "old")
    shelf_at(home).add_to_ledger("rollback", "r9", "rolled back", "it insults customers")
    found = MOVES[what](home)
    assert ledger.check(found) == []
    place = store.local(found.root)
    assert place
    shutil.rmtree(place)
    shutil.copytree(tmp_path / "old" / "demo", place)
    assert "the ledger was cut off: this machine knows of line" in str(ledger.check(found)[0])
    with pytest.raises(DamagedFileError, match="is gone"):
        found.add_to_ledger("promote", "r8", "promoted", "")


def test_relocate_takes_over_what_an_earlier_ftcore_knew(whole: Path, tmp_path: Path) -> None:
    """By the address that the store had before the home was moved."""
    shutil.copytree(whole, home := tmp_path / "home")
    earlier(home)
    conf = Settings(home=home.rename(tmp_path / "moved"))
    assert store.shelf(conf, "demo").chain.kept() is None
    assert store.take_over_heads(conf, home / "store") == ["demo"]
    assert store.take_over_heads(conf, home / "store") == []
    kept = store.shelf(conf, "demo").chain.kept()
    assert kept
    assert kept["n"] == LINES


def test_another_store_of_the_same_recipe_is_another_chain(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, home := tmp_path / "home")
    other = RecipeStore(UPath(tmp_path / "trial" / "demo"), "demo", home / "locks")
    assert other.add_to_ledger("plan", "r1", "train", "")["n"] == 1
    assert ledger.check(other) == ledger.check(shelf_at(home)) == []


def test_writers_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    words = [(0, 12), (6, 18), (12, 24)]
    started = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(first)], stderr=subprocess.PIPE)
        for first, _ in words
    ]
    assert [(process.communicate()[1], process.returncode) for process in started] == [(b"", 0)] * 3
    shelf = shelf_at(tmp_path)
    assert ledger.check(shelf) == []
    assert sorted(line["n"] for line in shelf.ledger()) == list(range(1, 25))
    assert len({line["run_id"] for line in shelf.ledger()}) == 24


def test_the_order_is_that_of_writing_whatever_the_clock_says(
    shelf: RecipeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "now", lambda: now() - timedelta(days=400))
    shelf.add_to_ledger("plan", "late", "skip", "the clock went back")
    assert shelf.ledger()[-1]["run_id"] == ledger.lines(shelf)[0]["run_id"] == "late"
    assert ledger.check(shelf) == []


def test_an_old_store_is_adopted_once(tmp_path: Path) -> None:
    shelf = shelf_at(tmp_path)
    old: dict[str, Any] = {"at": "2026-01-01T00:00:00+00:00", "kind": "plan", "run_id": "o1", "decision": "train"}
    store.write_json(shelf.root / "ledger" / "plan--o1.json", old | {"reason": ""})
    assert (len(shelf.ledger()), ledger.check(shelf)) == (1, []), "it may be read before anybody writes"
    assert shelf.add_to_ledger("plan", "o1", "skip", "again")["decision"] == "train"
    shelf.add_to_ledger("plan", "r1", "train", "")
    assert [(line["run_id"], line.get("n")) for line in shelf.ledger()] == [("o1", None), ("adopted", 0), ("r1", 1)]
    assert ledger.check(shelf) == []
    store.write_json(shelf.root / "ledger" / "plan--o2.json", old | {"reason": "", "run_id": "o2"})
    assert [str(one) for one in ledger.check(shelf)] == ["plan--o2.json is not part of the chain"]
    path(shelf, "plan--o1.json").write_text("{}")
    assert str(ledger.check(shelf)[0]) == "line 0: plan--o1.json was changed; it is older than the chain"


def test_unsigned_lines_count_only_where_a_person_adopts_them_once_there_is_a_key(shelf: RecipeStore) -> None:
    """Somebody took the chain away with all that knows of it, and left lines that nobody signed."""
    shutil.rmtree(shelf.root / "ledger")
    shelf.chain.witness.unlink()
    line = {"at": "2026-01-01T00:00:00+00:00", "kind": "promote", "run_id": "x", "decision": "promoted", "reason": ""}
    store.write_json(shelf.root / "ledger" / "promote--x.json", line | {"version": 3})
    assert (shelf.ledger(), served.by_ledger(shelf)) == ([], None)
    (found,) = ledger.check(shelf)
    assert found.what.startswith("1 line is not signed; where they are older than ftcore's keys, ftcore ledger demo")
    with pytest.raises(FtcoreError, match="1 line of the ledger of demo is not signed: nothing is added") as refused:
        shelf.add_to_ledger("plan", "r9", "train", "")
    assert "--adopt --reason" in refused.value.hint
    assert not path(shelf, "chain").exists()
    adopted = adoption.by_person(shelf.chain, "mira", "of 2025, before there were keys")
    assert (adopted["by"], adopted["why"], list(adopted["lines"])) == (
        "mira",
        "of 2025, before there were keys",
        ["promote--x.json"],
    )
    assert shelf.add_to_ledger("plan", "r9", "train", "")["n"] == 1
    assert [one["run_id"] for one in shelf.ledger()] == ["x", "adopted", "r9"]
    assert ledger.check(shelf) == []
    with pytest.raises(FtcoreError, match="is a chain already"):
        adoption.by_person(shelf.chain, "mira", "again")


def test_a_chain_that_was_taken_away_is_not_adopted(shelf: RecipeStore) -> None:
    shutil.rmtree(shelf.root / "ledger" / "chain")
    with pytest.raises(DamagedFileError, match="is gone"):
        adoption.by_person(shelf.chain, "mira", "why not")


def test_records_from_before_they_were_signed_are_adopted_and_no_others(tmp_path: Path) -> None:
    shelf = shelf_at(tmp_path)
    old = shelf.folder("r0", "ingest") / "record.json"
    store.write_json(old, {"step": "ingest"})
    assert not shelf.is_ours(old), "nobody has vouched for it yet"
    shelf.add_to_ledger("plan", "r1", "train", "")
    assert shelf.is_ours(old)
    store.write_json(old, {"step": "ingest", "rows": 1})
    assert not shelf.is_ours(old)
    late = shelf.folder("r1", "train") / "record.json"
    store.write_json(late, {"step": "train"})
    assert not shelf.is_ours(late)
    assert ledger.check(shelf) == []


def test_where_records_are_signed_one_that_lost_its_signature_is_not_adopted(tmp_path: Path) -> None:
    shelf = shelf_at(tmp_path)
    for step in ("ingest", "prepare"):
        path = shelf.folder("r0", step) / "record.json"
        data = store.as_json({"step": step})
        shelf.sign(path, data)
        store.write_bytes(path, data)
    path.with_suffix(".sig.json").unlink()
    store.write_json(path, {"step": "prepare", "rows": 7})
    shelf.add_to_ledger("plan", "r1", "train", "")
    assert not shelf.is_ours(path)


def test_a_ledger_that_was_emptied_says_how_to_begin_anew(shelf: RecipeStore) -> None:
    shutil.rmtree(shelf.root / "ledger")
    with pytest.raises(DamagedFileError, match=r"emptied on purpose, delete .*heads.*json"):
        shelf.add_to_ledger("plan", "r9", "train", "")
    assert [str(one) for one in ledger.check(shelf)] != []


def test_a_machine_without_the_key_reads_and_cannot_write(shelf: RecipeStore, tmp_path: Path) -> None:
    other = RecipeStore(shelf.root, "demo", tmp_path / "other" / "locks")
    assert len(other.ledger()) == LINES
    with pytest.raises(FtcoreError, match=r"is signed by the key .*, and this machine has not that key"):
        other.add_to_ledger("plan", "r9", "train", "")
    assert ledger.check(other)[0].n == 1, "nobody there vouches for the key"
    (key,) = shelf.chain.ring.trusted()
    other.chain.ring.trust(key)
    assert ledger.check(other) == []
    with pytest.raises(FtcoreError, match=r"private key is not on this machine[\s\S]*bring the platform's private key"):
        other.add_to_ledger("plan", "r9", "train", "")
    keys.create(new := tmp_path / "new.pem")  # where it is lost for good
    other = RecipeStore(shelf.root, "demo", tmp_path / "other" / "locks", new)
    assert other.add_to_ledger("plan", "r9", "train", "")["n"] == LINES + 1
    assert len(ledger.check(other)) == 0


def lose_private(home: Path) -> None:
    (home / "keys" / "platform.pem").unlink()


ELSEWHERE: dict[str, Callable[[Path], object]] = {
    "its public key is here": lambda home: shutil.rmtree(home / "store"),
    "another trusted key is here": lambda home: (
        shutil.rmtree(home / "store"),
        (home / "keys" / "platform.pem.pub").rename(home / "keys" / "a.pub"),
    ),
    "a ledger is signed": lambda home: shutil.rmtree(home / "keys"),
    "this machine knows of a line": lambda home: (
        shutil.rmtree(home / "store"),
        (home / "keys" / "platform.pem.pub").unlink(),
    ),
    "all of it": lambda home: None,
}


@pytest.mark.parametrize("left", ELSEWHERE)
def test_no_key_is_made_where_the_platform_has_one_elsewhere(shelf: RecipeStore, tmp_path: Path, left: str) -> None:
    """As in a restored home: whatever is tried, the files stay as they are, and it says what to bring."""
    pem = shelf.chain.ring.private.read_bytes()
    lose_private(tmp_path)
    ELSEWHERE[left](tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    found, ring = shelf_at(tmp_path), shelf_at(tmp_path).chain.ring
    for attempt in (ring.make, lambda: ring.seal({}), lambda: found.sign(found.root / "a.json", b"{}"),
                    lambda: found.add_to_ledger("hold", "r1", "held", "")):  # fmt: skip
        with pytest.raises(FtcoreError):
            attempt()
    with pytest.raises(FtcoreError, match="not on this machine") as told:
        ring.make()
    assert told.value.hint.startswith(f"bring the platform's private key (FTCORE_SIGNING_KEY or {ring.private})")
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    ring.folder.mkdir(exist_ok=True)
    ring.private.write_bytes(pem)
    assert ring.make() == ring.private


def test_a_rotated_key_is_followed(shelf: RecipeStore) -> None:
    (first,) = shelf.chain.ring.trusted()
    new = shelf.chain.ring.replacement()
    shelf.add_to_ledger("keys", f"to-{new[:16]}", "rotated", "a new key signs from now on", public_key=new)
    shelf.chain.ring.replace()
    shelf.add_to_ledger("plan", "r9", "train", "")
    assert ledger.check(shelf) == []
    assert ledger.check(shelf, trusted=frozenset({first})) == [], "who knows the first key alone can follow"
    assert ledger.check(shelf, trusted=frozenset({new}))[0].n == 1
    assert (shelf.chain.ring.private.stat().st_mode & 0o077) == 0


@pytest.mark.parametrize("where", ["ledger", "ledger/chain"])
def test_a_ledger_that_cannot_be_written_says_so(tmp_path: Path, where: str) -> None:
    """A file in the folder's place: what no permission hides from root either."""
    shelf = shelf_at(tmp_path)
    place = tmp_path / "store" / "demo" / where
    place.parent.mkdir(parents=True)
    place.write_text("in the way")
    with pytest.raises(FtcoreError, match="cannot be written") as told:
        shelf.add_to_ledger("plan", "r1", "train", "")
    assert "run it again" in told.value.hint
    assert shelf.ledger() == []
    place.unlink()
    assert shelf.add_to_ledger("plan", "r1", "train", "")["n"] == 1


def test_the_head_on_the_registered_model_is_compared(shelf: RecipeStore) -> None:
    from ftcore.store.slots import read

    last = read(slot(shelf, LINES).read_bytes(), "demo")
    assert last is not None
    assert ledger.check(shelf, json.dumps(last.head)) == []
    slot(shelf, LINES).unlink()
    path(shelf, f"plan--r{LINES - 1}.json").unlink()
    shelf.chain.witness.unlink()
    assert ledger.check(shelf) == [], "nothing in the store tells"
    told = f"line {LINES}: the ledger was cut off: the registered model knows of line {LINES}"
    assert [str(one) for one in ledger.check(shelf, last.head)] == [told]
    for forged in ("x", "[]", json.dumps(last.head | {"n": 2}), json.dumps(last.head | {"hash": sha256("")})):
        (found,) = ledger.check(shelf, forged)
        assert str(found) == "the newest line as the registered model keeps it is not signed by the platform"


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    ring = keys.Keyring(tmp_path / "keys")
    assert ring.make().stat().st_mode & 0o077 == 0
    before = ring.trusted()
    ring.make()
    assert ring.trusted() == before == {keys.public(tmp_path / "keys" / "platform.pem.pub")}
    with pytest.raises(FtcoreError, match="of FTCORE_SIGNING_KEY is not there"):
        keys.Keyring(tmp_path / "keys", tmp_path / "gone.pem").make()
