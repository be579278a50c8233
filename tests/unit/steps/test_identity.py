"""A row never changes its split: ingest and prepare over real files and a real database, again and again.

``Ring`` publishes as ``validate`` does, without the suite. What holds is tried with personal data in texts and groups,
with rows that come, change and go in any order, and with rules that change in between.
"""

from __future__ import annotations

import random
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from ftcore import settings as settings_of
from ftcore.cli import recipes as check
from ftcore.compliance import forget
from ftcore.context import Context
from ftcore.data import carry, shards, snapshot, snapshot_diff, split, split_keys, suppression, watermarks
from ftcore.pipeline import run_step
from ftcore.recipe import reading as recipes
from ftcore.serving.scoring import log_schema
from ftcore.store import parts, store
from ftcore.store.records import Record
from ftcore.store.store import read_table

SQL = {"kind": "sql", "connection": "crm", "query": "SELECT * FROM t", "id": "id", "watermark": "seen"}
KEPT = dict.fromkeys(["EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS"], "keep")


@dataclass
class Ring:
    """A recipe and its store."""

    folder: Path
    runs: int = 0
    published: list[str] = field(default_factory=list)

    @property
    def recipe(self) -> Path:
        return self.folder / "demo.yaml"

    @property
    def shelf(self) -> store.RecipeStore:
        return store.shelf(settings_of.load(), "demo")

    def write(self, *sources: dict[str, Any], **keys: Any) -> None:
        document = {
            "name": "demo",
            "task": {"kind": "classification", "labels": ["ham", "spam"]},
            "base": "package://x/y",
            "sources": list(sources) or [SQL],
            "prepare": {"near_duplicates": None},
            "method": {"kind": "full"},
            "gates": [{"kind": "threshold", "minimum": 0.5}],
        }
        self.recipe.write_text(yaml.safe_dump(document | keys, sort_keys=False), encoding="utf-8")

    def prepare(self, **params: str) -> tuple[Record, Record]:
        """Read and prepare, without publishing."""
        self.runs += 1
        return tuple(run_step(step, self.recipe, f"r{self.runs}", params) for step in ("ingest", "prepare"))  # type: ignore[return-value]

    def publish(self, **params: str) -> dict[str, Any]:
        """Read, prepare and publish; returns what changed since the snapshot before."""
        ingest, prepared = self.prepare(**params)
        rows = self.shelf.root / prepared.paths["rows"]
        quarantine = read_table(self.shelf.root / prepared.paths["quarantine"])
        settings = {"prepare": recipes.read(self.recipe).prepare.model_dump(mode="json")}
        manifest = {"labels": {}, "settings": settings, "grouped_by": ingest.figures["grouped_by"]}
        manifest["source_names"] = shards.source_names(self.context("validate"))
        identity = snapshot.publish(self.shelf, lambda: parts.read(rows), quarantine, manifest)
        raw = self.shelf.folder(f"r{self.runs}", "ingest")
        split_keys.commit(self.shelf, split.load(self.shelf), raw, parts.read(rows), identity)
        left_out = _keep(self.context("validate"), quarantine)
        watermarks.commit(self.shelf, ingest, identity, left_out)
        before, self.published = self.published[-1:], [*self.published, identity]
        change = snapshot_diff.diff(self.shelf, before[0], identity) if before else {"moved": 0}
        return change | {"figures": prepared.figures}

    def context(self, step: str) -> Context:
        """A step of the newest run, with the sources called as ``run_step`` calls them."""
        recipe = recipes.read(self.recipe, snapshot.source_names(self.shelf))
        return Context(recipe, self.recipe, f"r{self.runs}", step, {}, self.shelf, settings_of.load())

    def rows(self, identity: str | None = None) -> list[dict[str, Any]]:
        return snapshot.read(self.shelf, identity or self.published[-1]).to_pylist()

    def prepared(self) -> list[dict[str, Any]]:
        folder = self.shelf.folder(f"r{self.runs}", "prepare") / "rows"
        return [row for table in parts.read(folder) for row in table.to_pylist()]


def _keep(context: Context, quarantine: pa.Table) -> str:
    repeated = context.shelf.folder(context.run_id, "prepare") / carry.REPEATED
    return carry.keep(context, quarantine, repeated)


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ring:
    monkeypatch.setenv("FTCORE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FTCORE_PSEUDONYM_KEY", raising=False)
    return Ring(tmp_path)


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    monkeypatch.setenv("FTCORE_CONNECTION_CRM", f"sqlite:///{tmp_path / 'crm.db'}")
    made = sqlite3.connect(tmp_path / "crm.db", isolation_level=None)
    made.execute("CREATE TABLE t (id INTEGER, text TEXT, label TEXT, customer TEXT, seen INTEGER, gone TEXT)")
    yield made
    made.close()


def essence(rows: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    return {(row["row_id"], row["text"], row["label"], row["split"]) for row in rows}


def sides(rows: list[dict[str, Any]], by: str) -> dict[str, set[str]]:
    found = defaultdict(set)
    for row in rows:
        if row[by] is not None:
            found[row[by]].add(row["split"])
    return found


class Table:
    """A table at work: rows with personal data come, change and go."""

    def __init__(self, database: sqlite3.Connection, seed: int) -> None:
        self.database, self.draw = database, random.Random(seed)
        self.next = self.clock = 0

    def step(self) -> None:
        """One batch of changes."""
        ids = [row[0] for row in self.database.execute("SELECT id FROM t WHERE gone IS NULL ORDER BY id")]
        for _ in range(self.draw.randint(1, 25)):
            self.insert()
        for one in self.draw.sample(ids, min(len(ids), self.draw.randint(0, 5))):
            self.clock += 1
            change = self.draw.choice(["text", "label", "customer", "gone"])
            value = {"text": self.text(), "label": self.label(), "customer": self.customer(), "gone": "2026"}[change]
            self.database.execute(f"UPDATE t SET {change} = ?, seen = ? WHERE id = ?", (value, self.clock, one))  # noqa: S608

    def insert(self) -> None:
        self.next += 1
        self.clock += self.draw.randint(0, 1)
        row = (self.next, self.text(), self.label(), self.customer(), self.clock)
        self.database.execute("INSERT INTO t VALUES (?, ?, ?, ?, ?, NULL)", row)

    def text(self) -> str:
        # Some texts come again, some differ in personal data alone, so that they are one once that is masked.
        return f"order {self.draw.randint(1, 60)} is late, write to user{self.draw.randint(1, 3)}@example.com please"

    def label(self) -> str:
        return self.draw.choice(["ham", "ham", "ham", "spam"])

    def customer(self) -> str | None:
        return self.draw.choice([None, *(f"customer{n}@example.com" for n in range(6)), "12", "12.0"])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("grouped", [True, False])
def test_incremental_reads_lose_nothing_and_move_nothing(
    ring: Ring, crm: sqlite3.Connection, seed: int, grouped: bool
) -> None:
    source = SQL | {"deleted": "gone"} | ({"group": "customer"} if grouped else {})
    table, draw = Table(crm, seed), random.Random(seed)
    for _ in range(5):
        table.step()
        actions = draw.choice([{}, {"EMAIL_ADDRESS": "keep"}, {}])
        prepare = {"near_duplicates": draw.choice([None, 0.9]), "personal_data": {"entities": actions}}
        ring.write(source, prepare=prepare)
        assert ring.publish()["moved"] == 0
        rows = ring.rows()
        assert all(len(one) == 1 for one in sides(rows, "text").values()), "no text is on two sides"
        ring.prepare(reread="always")
        assert essence(ring.prepared()) == essence(rows), "as if all were read from the beginning"
        assert all(row["split"] == split.assign_split(row["split_key"], ring_shares()) for row in rows)


def ring_shares() -> Any:
    from ftcore.recipe.sections import Prepare

    return Prepare()


def test_a_second_read_moves_no_row_whatever_is_masked(ring: Ring, crm: sqlite3.Connection) -> None:
    text = "my order {0} number {1} has not come, write to user{0}@example.com please"
    crm.executemany(
        "INSERT INTO t VALUES (?, ?, ?, NULL, ?, NULL)",
        [(n, text.format(n, n * 7919 % 100003), ["ham", "spam"][n % 2], n) for n in range(1, 301)],
    )
    ring.write()
    ring.publish()
    crm.execute("INSERT INTO t VALUES (301, 'one new row', 'ham', NULL, 301, NULL)")
    change = ring.publish()
    assert {name: change[name] for name in ("added", "removed", "changed", "moved", "kept")} == {
        "added": 1, "removed": 0, "changed": 0, "moved": 0, "kept": 300,
    }  # fmt: skip


def feedback(ring: Ring, *given: tuple[str, str, str | None, str], day: int = 1) -> None:
    """Requests that were scored, each with the label that came back: id, text, group, label."""
    at = datetime(2026, 1, day, tzinfo=UTC)
    empty = dict.fromkeys(log_schema().names)
    rows = [
        empty | {"request_id": one, "at": at, "text": text, "label": "ham", "score": 0.9, "group": group}
        for one, text, group, _ in given
    ]
    for row in rows:
        row |= {"model_version": 1, "latency_ms": 1.0}
    ring.shelf.append("predictions", pa.Table.from_pylist(rows, schema=log_schema()), f"{at:%Y-%m-%d}", f"p{day}")
    labels = {
        "request_id": [one for one, *_ in given],
        "label": [label for *_, label in given],
        "at": pa.array([at + timedelta(hours=1)] * len(given), pa.timestamp("ms", "UTC")),
    }
    ring.shelf.append("feedback", pa.table(labels), f"{at:%Y-%m-%d}", f"f{day}")


def tickets(ring: Ring, count: int = 200, name: str = "t.csv") -> list[str]:
    texts = [f"ticket number {n} names thing {n * 7919 % 10007}" for n in range(count)]
    lines = [f"{text},{['ham', 'spam'][n % 2]},C-{n}" for n, text in enumerate(texts)]
    (ring.folder / name).write_text("\n".join(["text,label,customer", *lines]))
    return texts


@pytest.mark.parametrize("group", ["C-{}", "c-{} ", None, "somebody {}"])
@pytest.mark.parametrize("first", ["together", "file"])
def test_confirmed_feedback_keeps_its_training_row(ring: Ring, group: str | None, first: str) -> None:
    texts = tickets(ring)
    ring.write({"kind": "files", "path": "t.csv", "group": "customer"}, {"kind": "feedback"})
    if first == "file":
        ring.publish()
    given = [
        (f"q{n}", texts[n], group and group.format(n), ["ham", "spam"][(n + (n >= 30)) % 2]) for n in range(60)
    ]  # the last thirty are corrected
    feedback(ring, *given)
    change = ring.publish()
    assert change["moved"] == 0
    figures = change["figures"]
    assert (figures["rows"], figures["duplicates"], figures["contradictions"]) == (200, 60, 0)
    if group and group.lower().startswith("c"):
        assert figures["split_conflicts"] == 0, "a group in feedback is the group of the file"
    rows = {row["text"]: row for row in ring.rows()}
    assert {row["source"] for row in rows.values()} == {"files:t"}
    assert [rows[texts[n]]["label"] for n in range(60)] == [label for *_, label in given]


def test_rows_of_a_pattern_stay_who_they_are_when_another_source_leaves(ring: Ring) -> None:
    for month in ("jan", "feb"):
        (ring.folder / month).mkdir()
        rows = "".join(f"{n},ticket {month} {'abcdefghij'[n % 10]} {'klm'[n // 10]},ham\n" for n in range(30))
        (ring.folder / month / "t.csv").write_text(f"id,text,label\n{rows}")
    jan, feb = ({"kind": "files", "path": path, "id": "id"} for path in ("jan/*.csv", "feb/t.csv"))
    ring.write(jan, feb)
    ring.publish()
    ring.write(jan)
    change = ring.publish()
    assert (change["added"], change["kept"], change["removed"], change["moved"]) == (0, 30, 30, 0)
    ring.write(jan, feb)
    change = ring.publish()
    assert (change["added"], change["kept"], change["removed"], change["moved"]) == (30, 30, 0, 0)
    assert {row["source"] for row in ring.rows()} == {"files:jan/t", "files:t"}


@pytest.mark.parametrize("seed", range(3))
def test_groups_stay_together_whatever_texts_they_share(ring: Ring, seed: int) -> None:
    draw, known = random.Random(seed), {}
    ring.write({"kind": "files", "path": "a.csv", "group": "customer", "id": "id"})
    for step in range(6):
        for number in range(40):
            known[f"{step}-{number}"] = (f"text {draw.randint(1, 30)}", f"C-{draw.randint(1, 12)}")
        for gone in draw.sample(sorted(known), len(known) // 4):
            del known[gone]
        lines = [f"{text},ham,{one},{group}" for one, (text, group) in known.items()]
        draw.shuffle(lines)
        (ring.folder / "a.csv").write_text("\n".join(["text,label,id,customer", *lines]))
        assert ring.publish()["moved"] == 0
        rows = ring.rows()
        assert {row["text"] for row in rows} == {text for text, _ in known.values()}, "none is set aside"
        assert {len(one) for by in ("text", "group") for one in sides(rows, by).values()} == {1}


def test_one_customer_is_one_group_whatever_brings_it(ring: Ring) -> None:
    tickets(ring, 60, "jan.csv")
    lines = [f"another ticket {n} of theirs {n * 7919 % 10007},ham,c-{n}" for n in range(60)]
    (ring.folder / "feb.csv").write_text("\n".join(["text,label,customer", *lines]))
    ring.write(
        *({"kind": "files", "path": path, "group": "customer"} for path in ("jan.csv", "feb.csv")),
        {"kind": "feedback"},
    )
    feedback(ring, *((f"q{n}", f"a request {n} names {n * 7919 % 10007}", f" C-{n}", "spam") for n in range(60)))
    ring.publish()
    groups = defaultdict(set)
    for row in ring.rows():
        groups[row["group"].strip().casefold()].add((row["split"], row["split_key"]))
    assert len(groups) == 60
    assert all(len(one) == 1 for one in groups.values())


def test_groups_that_name_people_stay_apart(ring: Ring, crm: sqlite3.Connection) -> None:
    def insert(start: int) -> None:
        crm.executemany(
            "INSERT INTO t VALUES (?, ?, 'ham', ?, ?, NULL)",
            [
                (n, f"order {n} names {n * 7919 % 10007}", f"user{n // 4}@example.com", n)
                for n in range(start, start + 80)
            ],
        )

    ring.write(SQL | {"group": "customer"})
    for start in (0, 80, 84):
        crm.execute("DELETE FROM t WHERE id >= ?", (start,))
        insert(start)
        assert ring.publish()["moved"] == 0
        rows = ring.rows()
        assert not any("@" in row["group"] for row in rows)
        assert len({row["group"] for row in rows}) == len(rows) / 4
        assert {len(one) for one in sides(rows, "group").values()} == {1}


def test_the_secret_moves_no_row_when_it_is_set_or_lost(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    tickets(ring, 50)
    ring.write({"kind": "files", "path": "t.csv", "group": "customer"})
    ring.publish()
    for secret in ("x" * 40, "another" * 6):
        monkeypatch.setenv("FTCORE_PSEUDONYM_KEY", secret)
        tickets(ring, 50 + len(secret))
        assert ring.publish()["moved"] == 0


def test_a_changed_group_column_draws_anew_and_is_counted(ring: Ring, caplog: pytest.LogCaptureFixture) -> None:
    tickets(ring)
    ring.write({"kind": "files", "path": "t.csv"})
    ring.publish()
    ring.write({"kind": "files", "path": "t.csv", "group": "customer"})
    ingest, _ = ring.prepare()
    assert ingest.figures["redrawn"] == {"files:t": 200}
    assert "200 rows of files:t are drawn anew" in caplog.text
    ring.publish()
    assert {len(one) for one in sides(ring.rows(), "group").values()} == {1}


def test_a_changed_share_is_a_warning(ring: Ring, caplog: pytest.LogCaptureFixture) -> None:
    tickets(ring)
    ring.write({"kind": "files", "path": "t.csv"})
    ring.publish()
    ring.write({"kind": "files", "path": "t.csv"}, prepare={"near_duplicates": None, "test": 0.4})
    notes = check._of_snapshot(recipes.read(ring.recipe), settings_of.load())
    assert sum("prepare.test is 0.4 instead of 0.2" in note for note in notes) == 1
    ring.prepare()
    assert "prepare.test is 0.4 instead of 0.2" in caplog.text


def test_rows_of_a_snapshot_without_split_keys_stay_on_its_sides(ring: Ring, crm: sqlite3.Connection) -> None:
    crm.executemany(
        "INSERT INTO t VALUES (?, ?, 'ham', ?, ?, NULL)",
        [(n, f"order {n} names {n * 7919 % 10007}", f"C-{n // 3}", n) for n in range(120)],
    )
    ring.write(SQL | {"group": "customer"})
    ring.publish()
    rows = ring.rows()
    draw = random.Random(1)
    for row in rows:  # as an earlier version drew them
        row |= {"split_key": None, "group": f"sql:crm:{row['group']}"}
    by_group = {row["group"]: draw.choice(snapshot.SPLITS) for row in rows}
    old = [row | {"split": by_group[row["group"]]} for row in rows]
    table = pa.Table.from_pylist(old, schema=snapshot.schema(split=True))
    quarantine = snapshot.schema().append(pa.field("reason", pa.string())).empty_table()
    identity = snapshot.publish(ring.shelf, lambda: [table], quarantine, {"labels": {}})
    ring.published.append(identity)
    marks = ring.shelf.root / "state" / "watermarks.json"
    marks.write_text(marks.read_text().replace(ring.published[0], identity))
    crm.execute("INSERT INTO t VALUES (500, 'one new row', 'ham', 'C-9999', 500, NULL)")
    change = ring.publish()
    assert (change["moved"], change["added"]) == (0, 1)


def test_a_row_that_was_left_out_comes_back_when_its_reason_is_gone(ring: Ring, crm: sqlite3.Connection) -> None:
    made = [
        (1, "the same text", "ham", None, 1), (2, "The same  text", "spam", None, 2),
        (3, "a repeated text", "ham", None, 3),
        (4, "A repeated text", "ham", None, 4), (5, "das ist ein ganz gewöhnlicher deutscher Satz", "ham", None, 5),
        (6, "a row like any other", "ham", None, 6),
    ]  # fmt: skip
    crm.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, NULL)", made)
    ring.write()
    assert ring.publish()["figures"]["contradictions"] == 2
    assert {row["text"] for row in ring.rows()} == {
        ring.rows()[0]["text"],
        "a row like any other",
        "das ist ein ganz gewöhnlicher deutscher Satz",
    } | {row["text"] for row in ring.rows() if "repeated" in row["text"]}
    kept = next(int(row["source_id"]) for row in ring.rows() if "repeated" in row["text"].casefold())
    crm.execute("UPDATE t SET label = 'ham', seen = 7 WHERE id = 2")  # no contradiction any more
    crm.execute("UPDATE t SET text = 'quite another text', seen = 8 WHERE id = ?", (kept,))  # what was repeated is gone
    ring.publish()
    texts = {row["text"].casefold() for row in ring.rows()}
    assert texts >= {"quite another text", "a repeated text"}
    assert any("same" in text for text in texts)
    ring.write(prepare={"near_duplicates": None, "languages": ["en"], "language_confidence": 0.5})
    ring.publish()
    assert not any("deutscher" in row["text"] for row in ring.rows())
    ring.write()
    change = ring.publish()
    assert any("deutscher" in row["text"] for row in ring.rows())
    assert change["moved"] == 0


def test_a_row_that_only_goes_to_quarantine_is_not_lost(ring: Ring, crm: sqlite3.Connection) -> None:
    """The rows that are kept are the same, so the snapshot is: what was left out still has to be kept somewhere."""
    ring.write(task={"kind": "classification", "labels": ["ham", "spam"]})
    crm.execute("INSERT INTO t VALUES (1, 'a good row', 'ham', NULL, 1, NULL)")
    ring.publish()
    crm.execute("INSERT INTO t VALUES (2, 'another row', 'ham', NULL, 2, NULL)")
    crm.execute("INSERT INTO t VALUES (3, 'Another row', 'spam', NULL, 3, NULL)")
    assert ring.publish()["figures"]["rows"] == 1
    assert ring.published[0] == ring.published[1]
    crm.execute("UPDATE t SET label = 'ham', seen = 4 WHERE id = 3")
    assert ring.publish()["figures"]["rows"] == 2


def test_a_mask_that_is_taken_off_shows_the_raw_text_and_moves_nothing(ring: Ring, crm: sqlite3.Connection) -> None:
    crm.executemany(
        "INSERT INTO t VALUES (?, ?, 'ham', NULL, ?, NULL)",
        [(n, f"order {n} of user{n}@example.com names {n * 7919 % 10007}", n) for n in range(100)],
    )
    ring.write()
    ring.publish()
    assert all("[EMAIL_ADDRESS]" in row["text"] for row in ring.rows())
    crm.execute("DELETE FROM t WHERE id = 7")  # what the source no longer has comes from the snapshot
    ring.write(prepare={"near_duplicates": None, "personal_data": {"entities": KEPT}})
    change = ring.publish()
    assert (change["moved"], change["removed"], change["changed"]) == (0, 0, 99)
    assert sum("[EMAIL_ADDRESS]" in row["text"] for row in ring.rows()) == 1


@pytest.mark.parametrize(("overlap", "found"), [(0, False), (2, True)])
def test_rows_that_are_committed_late_are_read(
    ring: Ring, crm: sqlite3.Connection, overlap: float, found: bool
) -> None:
    crm.executemany("INSERT INTO t VALUES (?, ?, 'ham', NULL, ?, NULL)", [(n, f"row {n}", n) for n in (1, 2, 3, 6)])
    ring.write(SQL | {"overlap": overlap})
    ring.publish()
    crm.execute("INSERT INTO t VALUES (5, 'a late row', 'ham', NULL, 5, NULL)")
    assert ring.publish()["removed"] == 0
    assert ("a late row" in {row["text"] for row in ring.rows()}) is found


@pytest.mark.parametrize(
    "option", [{}, {"deletions": "compare"}, {"deleted": "gone"}], ids=["keep", "compare", "tombstone"]
)
def test_rows_that_are_deleted_at_the_source_go(ring: Ring, crm: sqlite3.Connection, option: dict[str, str]) -> None:
    crm.executemany("INSERT INTO t VALUES (?, ?, 'ham', NULL, ?, NULL)", [(n, f"row {n}", n) for n in range(1, 7)])
    crm.execute("INSERT INTO t VALUES (7, 'Row 5', 'ham', NULL, 7, NULL)")  # repeats one that will go
    ring.write(SQL | option)
    ring.publish()
    if "deleted" in option:
        crm.execute("UPDATE t SET gone = '2026-01-01', seen = 9 WHERE id IN (2, 5)")
    else:
        crm.execute("DELETE FROM t WHERE id IN (2, 5)")
    change = ring.publish()
    texts = {row["text"].casefold() for row in ring.rows()}
    assert texts == ({f"row {n}" for n in range(1, 7)} - ({"row 2"} if option else set()))
    assert change["moved"] == 0


def test_keys_are_taken_from_what_is_raw(ring: Ring, crm: sqlite3.Connection) -> None:
    crm.execute("INSERT INTO t VALUES (1, 'write to Ann@example.com', 'ham', NULL, 1, NULL)")
    ring.write()
    ring.publish()
    (row,) = ring.rows()
    assert row["text"] == "write to [EMAIL_ADDRESS]"
    assert [row["split_key"]] == split.load(ring.shelf).of([None], ["write  to ann@example.com"])


CHAT = {
    "task": {"kind": "chat"},
    "prepare": {"near_duplicates": None},
    "gates": [{"kind": "threshold", "metric": "token_accuracy", "minimum": 0.1}],
}


@pytest.mark.parametrize("seed", range(3))
def test_no_group_and_no_prompt_is_in_two_splits_whatever_comes_and_goes(ring: Ring, seed: int) -> None:
    draw, known = random.Random(seed), dict[int, tuple[str, str, str]]()
    ring.write({"kind": "files", "path": "c.csv", "group": "customer", "id": "id"}, **CHAT)
    for step in range(4):
        for number in range(1000 * step, 1000 * step + (60 if step else 400)):
            group = draw.choice(["", *(f"g{draw.randrange(80)}" for _ in range(4))])
            known[number] = (f"question {draw.randrange(150)} is what?", f"answer {number}", group)
        for changed in draw.sample(sorted(known), 20):  # a row's group stays what it was
            known[changed] = (f"question {draw.randrange(150)} is what?", f"answer {changed}", known[changed][2])
        for again in draw.sample(sorted(known), 20):  # an id that is given again
            known[again] = (f"new question {step} {again}?", f"answer {again}", f"h{step}-{draw.randrange(9)}")
        for gone in draw.sample(sorted(known), len(known) // 5):
            del known[gone]
        change = listed(ring, dict(draw.sample(sorted(known.items()), len(known))))
        rows, figures = ring.rows(), change["figures"]
        ingest = ring.shelf.record(f"r{ring.runs}", "ingest")
        assert ingest
        assert change["moved"] <= sum(ingest.figures["reused_ids"].values()) <= 20
        assert {len(one) for by in ("text", "group") for one in sides(rows, by).values()} == {1}
        assert figures["rows_in"] == len(known) == len(rows) + figures["leaked"] + figures["duplicates"]
        assert figures["leaked"] == figures["texts_on_two_sides"] > 0
        assert figures["groups_on_two_splits"] == 0


def test_the_test_split_keeps_a_prompt_that_two_groups_have(ring: Ring) -> None:
    lines = [f"{n},question {n // 2} is what?,answer {n},g{n}" for n in range(200)]
    (ring.folder / "c.csv").write_text("\n".join(["id,text,label,customer", *lines]))
    ring.write({"kind": "files", "path": "c.csv", "group": "customer", "id": "id"}, **CHAT)
    figures = ring.publish()["figures"]
    keys = split.load(ring.shelf)
    drawn = {str(n): split.assign_split(keys.of_group(f"g{n}"), ring_shares()) for n in range(200)}
    rows = {row["source_id"]: row["split"] for row in ring.rows()}
    assert all(drawn[one] == where for one, where in rows.items())
    best = {n // 2: max((drawn[str(n)], drawn[str(n + 1)]), key=snapshot.SPLITS.index) for n in range(0, 200, 2)}
    assert rows == {one: where for one, where in drawn.items() if where == best[int(one) // 2]}
    assert figures["leaked"] == 200 - len(rows) > 20


def test_a_group_that_is_filled_in_later_is_counted(ring: Ring, caplog: pytest.LogCaptureFixture) -> None:
    """The rows stay where they are, so that a group may lie in two splits: that is said."""
    for group in ("", "C-{}"):
        lines = [f"{n},ticket number {n} names {n * 7919},ham,{group.format(n // 10)}" for n in range(100)]
        (ring.folder / "c.csv").write_text("\n".join(["id,text,label,customer", *lines]))
        ring.write({"kind": "files", "path": "c.csv", "group": "customer", "id": "id"})
        change = ring.publish()
        assert change["moved"] == 0
        torn = sum(len(one) > 1 for one in sides(ring.rows(), "group").values())
        assert change["figures"]["groups_on_two_splits"] == torn
    assert torn > 3
    assert f"groups_on_two_splits: {torn}" in caplog.text


def listed(ring: Ring, rows: dict[int, tuple[str, str, str]]) -> dict[str, Any]:
    """Publish a file with rows of text, label and customer by their ids."""
    lines = [f"{one},{','.join(row)}" for one, row in rows.items()]
    (ring.folder / "c.csv").write_text("\n".join(["id,text,label,customer", *lines]))
    return ring.publish()


def test_an_id_that_is_given_again_is_another_row(ring: Ring, caplog: pytest.LogCaptureFixture) -> None:
    """Weekly exports count their rows from 0 on."""
    ring.write({"kind": "files", "path": "c.csv", "group": "customer", "id": "id"})
    for week in range(3):
        listed(
            ring, {n: (f"week {week} ticket {n} {n * 7919 % 10007}", "ham", f"C-{week}-{n // 3}") for n in range(90)}
        )
        assert {len(one) for one in sides(ring.rows(), "group").values()} == {1}
    ingest = ring.shelf.record("r3", "ingest")
    assert ingest
    assert ingest.figures["reused_ids"]["files:c"] > 80
    assert "reused_ids" in caplog.text


@pytest.mark.parametrize("group", ["C-{}", ""])
def test_an_edited_text_keeps_its_split(ring: Ring, group: str) -> None:
    ring.write({"kind": "files", "path": "c.csv", "group": "customer", "id": "id"})
    for version in range(3):
        texts = {n: f"version {version} of ticket {n} {n * 7919 % 10007}" for n in range(90)}
        change = listed(ring, {n: (text, "ham", group.format(n // 3)) for n, text in texts.items()})
        assert change["moved"] == 0
        ingest = ring.shelf.record(f"r{ring.runs}", "ingest")
        assert ingest
        assert ingest.figures["reused_ids"] == {}


@pytest.mark.parametrize("state", ["kept", "damaged", "gone"])
@pytest.mark.parametrize("missing", ["absent", "faulty"])
def test_a_row_that_misses_a_snapshot_comes_back_where_it_was(
    ring: Ring, missing: str, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    ring.write({"kind": "files", "path": "c.csv", "group": "customer", "id": "id"})
    first = {n: (f"ticket number {n} names thing {n * 7919 % 10007}", "ham", "") for n in range(60)}
    edited = {n: (f"edited ticket number {n} names thing {n * 7919 % 10007}", "ham", "") for n in range(60)}
    more = {99: ("a row that is always there", "ham", "")}
    faulty = {n: (text, "no such label", "") for n, (text, *_) in edited.items()} if missing == "faulty" else {}
    for version in (first, edited, faulty, edited):
        listed(ring, version | more)
        file = ring.shelf.root / "state" / "split_keys.parquet"
        if version is faulty and state == "damaged":
            file.write_bytes(file.read_bytes()[:100] + b"x" * 50 + file.read_bytes()[150:])
        elif version is faulty and state == "gone":
            file.unlink()
    assert len(ring.rows(ring.published[2])) == 1
    assert snapshot_diff.diff(ring.shelf, ring.published[0], ring.published[3])["moved"] == 0
    assert len(ring.rows()) == 61
    assert ("is damaged" in caplog.text) is (state == "damaged")


@pytest.mark.parametrize("first", ["together", "file"])
def test_answers_to_one_prompt_are_on_one_side(ring: Ring, first: str) -> None:
    """Corrected feedback on a text that a model writes is another row: it must not take the training row away."""
    prompts = [f"{n * 7919:x} {n * 104729 + 7:x} asks {n * 1299709:x} about {n * 15485863:x}" for n in range(1, 121)]
    lines = [f"{text},the answer is {n},C-{n}" for n, text in enumerate(prompts)]
    (ring.folder / "t.csv").write_text("\n".join(["text,label,customer", *lines]))
    ring.write(
        {"kind": "files", "path": "t.csv", "group": "customer"},
        {"kind": "feedback"},
        task={"kind": "seq2seq"},
        gates=[{"kind": "threshold", "metric": "rouge_l", "minimum": 0.1}],
        prepare={"near_duplicates": 0.8},
    )
    if first == "file":
        ring.publish()
    before = {row["text"]: row["split"] for row in ring.rows()} if first == "file" else {}
    groups = [None, "C-{}", "agent {}"]  # none of its own, that of the row, another
    given = [(f"q{n}", prompts[n], groups[n % 3], f"a better answer, {n * 31}") for n in range(60)]
    feedback(ring, *((one, text, group and group.format(one[1:]), more) for one, text, group, more in given))
    change = ring.publish()
    assert change["moved"] == 0
    rows = ring.rows()
    assert {len(one) for one in sides(rows, "text").values()} == {1}
    lost = change["figures"]["texts_on_two_sides"]
    assert len(rows) == 180 - lost
    assert 0 < lost <= 20, "where the group of an answer is on another side"
    assert {len(one) for one in sides(rows, "group").values()} == {1}
    if first == "file":
        assert sum(row["source"] == "files:t" for row in rows) == 120, "what was published is not taken away"
    assert all(row["split"] == before.get(row["text"], row["split"]) for row in rows)


def test_rows_that_the_suite_refused_are_looked_at_anew(ring: Ring, crm: sqlite3.Connection) -> None:
    """The whole data half, validation included."""
    crm.executemany(
        "INSERT INTO t VALUES (?, ?, ?, NULL, ?, NULL)",
        [(n, f"order {n} names {n * 7919 % 10007}", ["ham", "spam"][n % 2], n) for n in range(300)],
    )
    crm.execute("INSERT INTO t VALUES (300, 'no', 'ham', NULL, 300, NULL)")

    def publish(run_id: str) -> list[dict[str, Any]]:
        for step in ("ingest", "prepare", "validate"):
            record = run_step(step, ring.recipe, run_id)
        return snapshot.read(ring.shelf, record.figures["snapshot"]).to_pylist()

    ring.write(validation={"text_length": [5, 4000]})
    assert "no" not in {row["text"] for row in publish("r1")}
    crm.execute("INSERT INTO t VALUES (301, 'one new order', 'ham', NULL, 301, NULL)")
    assert "no" not in {row["text"] for row in publish("r2")}
    crm.execute("DELETE FROM t WHERE id = 300")  # it stands in the store alone now
    ring.write(validation={"text_length": [1, 4000]})
    rows = publish("r3")
    assert "no" in {row["text"] for row in rows}
    assert len(rows) == 302
    identity = snapshot.current(ring.shelf)
    assert identity
    manifest = snapshot.manifest(ring.shelf, identity)
    assert "12.0" in manifest["identity"]["ids"]
    assert manifest["grouped_by"] == {"sql:crm": '[null, "recipe"]'}
    assert len(list((ring.shelf.root / "state" / "left_out").iterdir())) == 1


def test_a_subject_is_found_under_its_pseudonym(ring: Ring, crm: sqlite3.Connection) -> None:
    crm.executemany(
        "INSERT INTO t VALUES (?, ?, 'ham', ?, ?, NULL)",
        [(n, f"order {n} names {n * 7919 % 10007}", f"user{n // 4}@example.com", n) for n in range(40)],
    )
    ring.write(SQL | {"group": "customer"})
    ring.publish()
    told = suppression.opened(ring.shelf, {}, keep=False)
    wish = forget.ErasureRequest("User3@example.com")
    _, _, found = forget._find(recipes.read(ring.recipe), ring.shelf, wish, told)
    assert sum(sum(counts.values()) for counts in found.snapshots.values()) == 4
