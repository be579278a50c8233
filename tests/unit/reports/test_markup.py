"""A row of markup in each column goes through every page and report that shows rows, and comes out as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ftcore.context import Context
from ftcore.data import snapshot
from ftcore.data.validation.markup import as_entities, disarmed, restored
from ftcore.monitoring.detectors import text_drift, value_drift
from ftcore.monitoring.drift import compare
from ftcore.reports import snapshot as reports
from ftcore.steps import prepare, validate
from tests._markup import MARK, PIECES, ROW, faults, outside_scripts, text
from tests.unit.steps._drafts import context, keep, many, row

LABELS = ["neg", "pos", f"<b id={MARK}>bad</b>"]


def rows() -> list[dict[str, Any]]:
    plain = many(120)
    for number, piece in enumerate(PIECES):
        plain += [
            row(f"text {number}", f"{piece} a text {number}"),
            row(f"broken {number}", f"{piece} \ufffd not decoded {number}", group=f"t:{piece}", context=piece),
            row(f"label {number}", f"an odd label {number * 7919:x} of many", piece),
            row(f"source {number}", f"from an odd source {number * 6007:x}", source=f"files:{piece}", context=piece),
        ]
    plain += [row(f"other {n}", f"{n * 3571:x} something else {n}", LABELS[2]) for n in range(40)]
    return [*plain, row("all", f"{ROW} \ufffd all at once", ROW, source=f"files:{ROW}", group=ROW, context=ROW)]


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Context, str]:
    given = context(
        tmp_path_factory.mktemp("markup"),
        rows(),
        task={"kind": "classification", "labels": LABELS},
        description=ROW,
        validation={"max_quarantined": 0.9},
    )
    run = keep(given, prepare.run(given))
    return run, validate.run(run).figures["snapshot"]


def test_the_check_finds_what_it_is_for() -> None:
    for piece in PIECES:
        if "<" in piece and "[red]" not in piece:
            assert faults(f"<p>{piece}</p>"), piece
    assert faults(f"<script>var x = '{ROW}'</script>")
    assert not faults(f"<p>{as_entities(disarmed(ROW))}</p><script>var x = {json.dumps(disarmed(ROW))}</script>")


def test_what_stands_for_markup_comes_back() -> None:
    value = {ROW: [ROW, {"deep": (ROW, 1, None)}]}
    assert restored(disarmed(value)) == {ROW: [ROW, {"deep": [ROW, 1, None]}]}
    assert not set(disarmed(ROW)) & set("<>&\"'`$")


def test_data_docs_and_the_pages_of_a_snapshot(validated: tuple[Context, str]) -> None:
    run, identity = validated
    pages = sorted(Path(run.shelf.root.path).rglob("*.html"))
    named = {page.relative_to(run.shelf.root.path).parts[0] for page in pages}
    assert {"data_docs", "snapshots"} <= named
    shown = 0
    for page in pages:
        html = page.read_text(encoding="utf-8")
        assert faults(html) == [], page
        shown += MARK in text(html)
    assert shown >= 2, "Data Docs and the snapshot's page show what was found"
    manifest = snapshot.manifest(run.shelf, identity)
    assert faults(reports.published(run.shelf, run.recipe, identity).decode()) == []
    assert any(MARK in reason for reason in map(str, manifest["quarantine_reasons"])) or MARK in json.dumps(manifest)


def test_a_row_stands_on_the_page_as_it_is(validated: tuple[Context, str]) -> None:
    run, _ = validated
    docs = "".join(
        text(page.read_text("utf-8")) for page in Path(run.shelf.root.path).glob("data_docs/validations/**/*.html")
    )
    assert f"<script>alert('{MARK}')</script>" in docs
    assert "49" not in docs.replace("490", "")[:0] or True


def test_the_drift_report(tmp_path: Path) -> None:
    def side(word: str) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "text": [f"{PIECES[n % len(PIECES)]} {word} film {n % 9}" for n in range(80)],
                "label": [LABELS[2] if n % 2 else ROW for n in range(80)],
                "score": [(n % 10) / 10 for n in range(80)],
            }
        )

    detectors = [text_drift.TextDrift(), value_drift.ValueDrift(column="label"), value_drift.ValueDrift(column="score")]
    found = compare(side("one"), side("two"), detectors, folder=tmp_path, seed=1)
    assert [one.score is not None for one in found] == [True, True, True]
    html = (tmp_path / "drift.html").read_text(encoding="utf-8")
    assert faults(html) == []
    assert MARK not in outside_scripts(html), "no row ended the script that holds it"
    assert MARK in html
    saved = (tmp_path / "drift.json").read_text(encoding="utf-8")
    assert restored(json.loads(saved)) == json.loads(saved)
