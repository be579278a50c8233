"""watch and decide: windows follow one another without a gap, and one request is open at a time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from ftcore.data import snapshot
from ftcore.data.cleaning import personal, rows
from ftcore.recipe.sections import PersonalData
from ftcore.registry import served
from ftcore.serving.scoring import log_schema
from ftcore.store import ledger, store

if TYPE_CHECKING:
    from conftest import Product

    from ftcore.store.records import Record

START = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
FILM = ["film", "plot", "actor", "scene", "script", "camera", "drama", "story", "ending", "role", "comedy", "director"]
TWEET = ["lol", "omg", "gym", "monday", "selfie", "haha", "today", "coffee", "traffic", "phone", "brunch", "weekend"]
WORDS = ["tax", "court", "law", "clause", "party", "claim", "judge", "appeal", "statute", "brief", "ruling", "plea"]


@pytest.fixture
def watched(product: Product, tmp_path: Path) -> Product:
    """A champion that was evaluated on sentences about films, and a recipe that watches texts."""
    identity = product.publish(range(60))
    table = pa.table(
        {
            "text": texts(FILM, 200, 0),
            "dataset": ["test"] * 180 + ["tweets"] * 20,
            "onnx-int8": pa.array([[0.2, 0.8], [0.7, 0.3]] * 100, pa.list_(pa.float32())),
        }
    )
    store.write_table(tmp_path / "evaluation" / "predictions.parquet", table)
    product.crown("first", identity, [tmp_path / "evaluation"])
    product.change(watch={"min_rows": 40, "min_feedback": 5, "detectors": [{"kind": "text_drift", "floor": 0.8}]})
    return product


def texts(words: list[str], rows: int, seed: int) -> list[str]:
    chance = np.random.default_rng(seed)
    return [" ".join(chance.choice(words, 6)) for _ in range(rows)]


def predict(product: Product, name: str, words: list[str], minutes: range) -> None:
    """One prediction a minute; the request ids are ``name-minute``."""
    found = zip(minutes, texts(words, len(minutes), minutes.start), strict=True)
    rows = [
        {
            "request_id": f"{name}-{minute}",
            "text": text,
            "label": "positive",
            "score": 0.8,
            "at": START + timedelta(minutes=minute),
        }
        for minute, text in found
    ]
    by_day: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_day.setdefault(f"{row['at']:%Y-%m-%d}", []).append(row)
    for day, some in by_day.items():
        product.shelf.append("predictions", pa.Table.from_pylist(some, schema=log_schema()), day, name)


def label(product: Product, *requests: str, given: str = "positive", minute: int = 0, name: str = "f") -> None:
    schema = pa.schema([("request_id", pa.string()), ("label", pa.string()), ("at", pa.timestamp("ms", "UTC"))])
    rows = [{"request_id": r, "label": given, "at": START + timedelta(minutes=minute)} for r in requests]
    product.shelf.append("feedback", pa.Table.from_pylist(rows, schema=schema), "2026-03-02", name)


def look(product: Product, run_id: str) -> tuple[Record, Record]:
    return product.run("watch", run_id), product.run("decide", run_id)


def test_without_a_champion_there_is_nothing_to_watch(product: Product) -> None:
    watch, decide = look(product, "m1")
    assert (watch.proceed, watch.reason) == (False, "there is no champion to watch yet")
    assert (decide.proceed, decide.reason) == (False, "nothing to decide: there is no champion to watch yet")
    assert product.shelf.ledger() == []


def test_a_small_window_is_left_to_grow(watched: Product) -> None:
    assert watched.run("watch", "m0").reason == "0 predictions, waiting for 40"
    predict(watched, "a", FILM, range(30))
    watch, decide = look(watched, "m1")
    assert (watch.proceed, watch.reason) == (False, "30 predictions, waiting for 40")
    assert not decide.proceed
    assert ledger.looked_until(watched.shelf, "m2") is None
    predict(watched, "b", FILM, range(30, 50))
    assert watched.run("watch", "m2").figures["rows"] == 50


def test_no_drift_is_written_down_and_the_next_window_starts_where_this_one_ended(watched: Product) -> None:
    predict(watched, "a", FILM, range(60))
    watch, decide = look(watched, "m1")
    assert (watch.proceed, watch.figures["alarms"], watch.figures["since"]) == (True, 0, None)
    assert decide.proceed is False
    assert decide.reason.startswith("wait: 0 alarms, drift takes 1; by ")
    assert re.search(r" predictions of version \d+ until 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC$", decide.reason)
    assert watch.figures["until"] == (START + timedelta(minutes=59)).isoformat()
    predict(watched, "b", FILM, range(60, 105))
    second = watched.run("watch", "m2")
    assert second.figures["since"] == watch.figures["until"]
    window = store.read_table(watched.shelf.folder("m2", "watch") / "window.parquet")
    assert window["request_id"].to_pylist() == [f"b-{minute}" for minute in range(60, 105)]


def test_only_a_decision_moves_the_window(watched: Product) -> None:
    predict(watched, "a", FILM, range(50))
    for run_id in ("m1", "m2"):
        assert watched.run("watch", run_id).figures["rows"] == 50
    watched.run("decide", "m1")
    assert watched.run("watch", "m3").proceed is False
    # Run again, the first one looks at its own window, not at what its own decision left.
    assert watched.run("watch", "m1", again=True).figures["rows"] == 50


def test_what_only_cleaning_masking_and_dropping_copies_changed_is_no_drift(watched: Product) -> None:
    """The reference is cleaned, masked and without copies; here a log has the same texts as they came."""
    told = [f"{text}  regards, user{n}@example.com &amp; co" for n, text in enumerate(texts(FILM, 80, 5))]
    cleaned = rows.Editor(personal.cleaner(PersonalData(), {}, "r")).texts(told, range(len(told)), lines=False)
    assert "@" not in "".join(cleaned)
    evaluation = pa.table(
        {
            "text": cleaned,
            "dataset": ["test"] * 80,
            "onnx-int8": pa.array([[0.2, 0.8], [0.7, 0.3]] * 40, pa.list_(pa.float32())),
        }
    )
    folder = watched.shelf.folder("made", "evaluation")
    store.write_table(folder / "evaluation" / "predictions.parquet", evaluation)
    watched.crown("second", watched.tracking.version(1).snapshot, [Path(str(folder / "evaluation"))])
    watched.change(watch={"min_rows": 40, "min_feedback": 5, "detectors": [{"kind": "text_drift"}]})
    log = told + told[:5] * 20  # a few requests come again and again
    lines = [
        {"request_id": f"{n}", "text": text, "label": "positive", "score": 0.8, "at": START + timedelta(minutes=n)}
        for n, text in enumerate(log)
    ]
    watched.shelf.append("predictions", pa.Table.from_pylist(lines, schema=log_schema()), "2026-03-02", "raw")
    watch = watched.run("watch", "m1")
    assert (watch.figures["rows"], watch.figures["alarms"]) == (180, 0)


def test_the_report_and_the_reference_are_kept(watched: Product) -> None:
    predict(watched, "a", TWEET, range(60))
    record = watched.run("watch", "m1")
    (finding,) = record.figures["findings"]
    assert finding["alarm"]
    assert (finding["rows_reference"], finding["rows_current"]) == (180, 60)
    assert "<html" in (watched.shelf.root / record.paths["html"]).read_text(encoding="utf-8")
    assert store.read_json(watched.shelf.root / record.paths["json"])["findings"] == record.figures["findings"]


def test_drift_with_labels_asks_once(watched: Product) -> None:
    predict(watched, "a", TWEET, range(60))
    label(watched, *(f"a-{minute}" for minute in range(5)))
    _, decide = look(watched, "m1")
    assert decide.proceed
    assert decide.reason.startswith("retrain: drift is confirmed by 1 alarm, and 5 labelled rows are new; by")
    predict(watched, "b", TWEET, range(60, 120))
    _, second = look(watched, "m2")
    assert not second.proceed
    assert second.reason.startswith("wait: drift is confirmed, and run m1 has requested retraining already; by")
    watched.shelf.add_to_ledger("plan", "r1", "train", "asked", answers="m1")
    predict(watched, "c", TWEET, range(120, 180))
    _, third = look(watched, "m3")
    assert third.proceed


def test_a_decision_that_is_run_again_stays(watched: Product) -> None:
    predict(watched, "a", TWEET, range(60))
    label(watched, *(f"a-{minute}" for minute in range(5)))
    _, first = look(watched, "m1")
    watched.shelf.add_to_ledger("plan", "r1", "train", "asked", answers="m1")
    again = watched.run("decide", "m1", again=True)
    assert (again.proceed, again.reason) == (first.proceed, first.reason)
    assert len(watched.shelf.ledger("decide")) == 1


def test_without_labels_there_is_nothing_to_learn(watched: Product) -> None:
    predict(watched, "a", TWEET, range(60))
    label(watched, *(f"a-{minute}" for minute in range(4)))
    watch, decide = look(watched, "m1")
    assert watch.figures["alarms"] == 1
    assert not decide.proceed
    assert "only 4 labelled rows have come back; 5 are needed" in decide.reason


def test_labels_that_the_champion_has_learnt_from_do_not_count(watched: Product) -> None:
    predict(watched, "a", TWEET, range(60))
    label(watched, *(f"a-{minute}" for minute in range(6)))
    asked = dict(zip((f"a-{n}" for n in range(60)), texts(TWEET, 60, 0), strict=True))
    known = watched.rows(range(2))
    for name, values in (("text", [asked["a-0"], asked["a-1"]]), ("label", ["positive", "positive"])):
        known = known.set_column(known.column_names.index(name), name, pa.array(values))
    rows = pa.concat_tables([watched.rows(range(10, 60)), known])
    quarantine = snapshot.schema().append(pa.field("reason", pa.string())).empty_table()
    identity = snapshot.publish(watched.shelf, lambda: [rows], quarantine, {"rows": rows.num_rows})
    evaluation = served.folder(watched.tracking, watched.tracking.version(1), "evaluation")
    watched.crown("second", identity, [evaluation])
    _, decide = look(watched, "m1")
    assert "only 4 labelled rows" in decide.reason


def test_feedback_on_a_text_that_is_in_the_snapshot_is_nothing_new(watched: Product) -> None:
    predict(watched, "a", TWEET, range(60))
    answered = {"label": "positive", "score": 0.9, "at": START}
    known = watched.rows(range(9)).select(["text", "label"]).to_pylist()
    repeated = [{"request_id": f"again-{n}", **answered, "text": row["text"]} for n, row in enumerate(known)]
    watched.shelf.append("predictions", pa.Table.from_pylist(repeated, schema=log_schema()), "2026-03-01", "again")
    for given in ("negative", "positive"):
        told = [f"again-{n}" for n, row in enumerate(known) if row["label"] == given]
        label(watched, *told, given=given, name=given)
    _, decide = look(watched, "m1")
    assert "only 0 labelled rows" in decide.reason


def test_how_well_it_did_where_labels_came_back(watched: Product) -> None:
    predict(watched, "a", FILM, range(60))
    assert watched.run("watch", "m1").figures["performance"] is None
    label(watched, "a-0", "a-1", "a-2", "a-3", name="z")
    label(watched, "a-0", given="negative", minute=9, name="a")
    label(watched, "unknown")
    performance = watched.run("watch", "m2").figures["performance"]
    assert performance == {"rows": 4, "accuracy": 0.75}


@pytest.mark.parametrize("alarms", [1, 2])
def test_it_takes_as_many_alarms_as_the_recipe_says(watched: Product, alarms: int) -> None:
    watched.change(watch=watched.document()["watch"] | {"alarms": alarms})
    predict(watched, "a", TWEET, range(60))
    label(watched, *(f"a-{minute}" for minute in range(5)))
    assert look(watched, "m1")[1].proceed is (alarms == 1)


@pytest.fixture
def of_parts(product: Product, tmp_path: Path) -> Product:
    """A champion of two parts, one about films and one about the day, that was evaluated on more films."""
    identity = product.publish(range(60))
    table = pa.table(
        {
            "text": [*texts(FILM, 240, 0), *texts(TWEET, 80, 1)],
            "source": ["files:films"] * 240 + ["files:days"] * 80,
            "dataset": ["test"] * 320,
            "torch": pa.array([{"film": [0.2, 0.8], "day": None}] * 240 + [{"film": None, "day": 0.3}] * 80),
        }
    )
    store.write_table(tmp_path / "evaluation" / "predictions.parquet", table)
    product.crown("first", identity, [tmp_path / "evaluation"])
    film = {"kind": "classification", "labels": ["negative", "positive"], "sources": ["files:films"]}
    product.change(
        task={"kind": "multitask", "parts": {"film": film, "day": {"kind": "pair", "sources": ["files:days"]}}},
        sources=[{"kind": "files", "path": "rows.csv", "name": name} for name in ("films", "days")],
        watch={"min_rows": 40, "min_feedback": 5, "detectors": [{"kind": "text_drift", "floor": 0.65}]},
        exports=[],
    )
    return product


def ask(product: Product, **words: list[str]) -> None:
    """Forty predictions of each part."""
    rows = [
        {"request_id": f"{part}-{n}", "text": text, "label": "positive", "score": 0.8, "at": START, "part": part}
        for part, some in words.items()
        for n, text in enumerate(texts(some, 40, 7))
    ]
    product.shelf.append("predictions", pa.Table.from_pylist(rows, schema=log_schema()), f"{START:%Y-%m-%d}", "p")


def test_parts_in_another_mix_are_no_drift(of_parts: Product) -> None:
    ask(of_parts, film=FILM, day=TWEET)
    label(of_parts, "film-1", "film-2", "day-1")
    label(of_parts, "film-3", given="negative", name="g")
    (finding,) = (figures := of_parts.run("watch", "m1").figures)["findings"]
    assert (finding["alarm"], finding["rows_reference"]) == (False, 160), "as many of each part"
    assert figures["performance"] == {"rows": 3, "accuracy": pytest.approx(2 / 3)}, "of the part that chooses labels"


def test_other_words_in_one_part_are_drift(of_parts: Product) -> None:
    ask(of_parts, film=WORDS, day=TWEET)
    (finding,) = of_parts.run("watch", "m1").figures["findings"]
    assert finding["alarm"], finding
