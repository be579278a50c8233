"""The page of a snapshot: it adds up, it names every reason, it holds no personal data and needs no network."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from ftcore.context import Context
from ftcore.data import snapshot
from ftcore.errors import DataRejectedError
from ftcore.reports import snapshot as reports
from ftcore.steps import prepare, validate
from tests.unit.steps._drafts import RECIPE, context, keep, many, row

PLANTED = {"mail": "jane.doe@example.com", "iban": "DE89370400440532013000", "phone": "+49 30 901820"}


def ftcore(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, with this test's settings."""
    return subprocess.run([sys.executable, "-m", "ftcore", *words], capture_output=True, text=True, check=False)


def rows(count: int) -> list[dict[str, Any]]:
    plain = many(count)
    return [
        *plain,
        *(one | {"row_id": snapshot.row_id("copy", one["row_id"]), "text": one["text"].upper()} for one in plain[:9]),
        *(one | {"row_id": snapshot.row_id("near", one["row_id"]), "text": one["text"] + "s"} for one in plain[:9]),
        row("odd", "<script>alert(1)</script> & an unknown label", "odd"),
        row("none", f"nobody labelled this: {PLANTED['mail']} {PLANTED['iban']}", None),
        row("kept", f"call {PLANTED['phone']} now", "neg"),
    ]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Context, list[str]]:
    """A recipe with two snapshots."""
    root = tmp_path_factory.mktemp("two")
    made = []
    for run_id, count in (("one", 200), ("two", 260)):
        given = context(root, rows(count), run_id=run_id)
        run = keep(given, prepare.run(given))
        made.append(validate.run(run).figures["snapshot"])
    return run, made


def text_of(page: bytes) -> str:
    """What a reader sees of a page, white space folded."""
    seen: list[str] = []

    class Words(HTMLParser):
        skip = False

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.skip = tag == "style"

        def handle_data(self, data: str) -> None:
            if not self.skip:
                seen.append(data)

    reader = Words()
    reader.feed(page.decode())
    return " ".join(" ".join(seen).split())


def test_the_page_is_sealed_with_the_snapshot(two: tuple[Context, list[str]]) -> None:
    run, made = two
    for identity in made:
        assert snapshot.verify(run.shelf, identity) == []
        assert reports.FILE in snapshot.manifest(run.shelf, identity)["files"]


def test_what_was_left_out_adds_up_and_every_reason_is_there(two: tuple[Context, list[str]]) -> None:
    run, made = two
    manifest = snapshot.manifest(run.shelf, made[1])
    left_out = reports._left_out(manifest, {})
    assert manifest["rows"] + sum(one["rows"] for one in left_out) == manifest["rows_in"]
    words = text_of(reports.published(run.shelf, run.recipe, made[1]))
    for reason in manifest["quarantine_reasons"]:
        assert f"Set aside: {reason}" in words
    for check in manifest["checks"]:
        assert " ".join(check["what"].split()) in words
    for one in left_out:
        assert one["what"] in words
    assert f"{manifest['rows']:,} rows in the snapshot" in words
    assert made[1] in words


def test_no_value_of_personal_data_is_on_the_page(two: tuple[Context, list[str]]) -> None:
    run, made = two
    for identity in made:
        page = reports.published(run.shelf, run.recipe, identity).decode()
        for value in PLANTED.values():
            assert value not in page
    assert "nobody labelled this: [EMAIL_ADDRESS] [IBAN_CODE]" in page
    assert "e-mail addresses" in page


def test_what_a_recipe_keeps_in_its_texts_is_masked_on_the_page(tmp_path: Path) -> None:
    kept = {"personal_data": {"entities": dict.fromkeys(("EMAIL_ADDRESS", "IBAN_CODE"), "keep")}}
    given = context(tmp_path, rows(200), prepare=kept)
    run = keep(given, prepare.run(given))
    identity = validate.run(run).figures["snapshot"]
    quarantine = (snapshot.folder(run.shelf, identity) / "quarantine.parquet").read_bytes()
    assert any(PLANTED["mail"] in str(one["text"]) for one in reports._table(quarantine).to_pylist())
    page = reports.published(run.shelf, run.recipe, identity).decode()
    assert PLANTED["mail"] not in page
    assert PLANTED["iban"] not in page


def test_the_page_is_whole_by_itself_and_escapes_what_the_data_say(two: tuple[Context, list[str]]) -> None:
    run, made = two
    page = reports.published(run.shelf, run.recipe, made[1]).decode()
    assert re.findall(r"""<script|<link|src=|@import|url\(|https?://""", page) == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; an unknown label" in page


def test_it_is_compared_with_the_snapshot_before(two: tuple[Context, list[str]]) -> None:
    run, made = two
    first, second = (text_of(reports.published(run.shelf, run.recipe, identity)) for identity in made)
    assert "This is the first." in first
    assert f"The snapshot before is {made[0]}" in second
    change = snapshot.manifest(run.shelf, made[1])["change"]
    assert f"{change['kept']:,} rows are in both, {change['added']:,} are new" in second


def test_links_lead_to_the_data_docs(two: tuple[Context, list[str]]) -> None:
    run, made = two
    place = Path(str(snapshot.folder(run.shelf, made[1])))
    links = re.findall(r'href="([^"]+)"', reports.published(run.shelf, run.recipe, made[1]).decode())
    assert len(links) == 2
    for link in links:
        assert (place / link).resolve().is_file()


def test_rejected_data_has_a_page_in_the_folder_of_its_run(tmp_path: Path) -> None:
    given = context(tmp_path, [*many(120), *(row(f"b{n}", f"bad {n}", "odd") for n in range(50))])
    run = keep(given, prepare.run(given))
    with pytest.raises(DataRejectedError, match="would be quarantined") as caught:
        validate.run(run)
    report = Path(caught.value.report)
    assert report == Path(str(run.folder)) / "report.html"
    words = text_of(report.read_bytes())
    assert "✗ Rejected" in words
    assert "29.4% of 170 rows that came in would be quarantined, 5.0% are allowed" in words
    (link, _) = re.findall(r'href="([^"]+)"', report.read_text(encoding="utf-8"))
    assert (report.parent / link).resolve().is_file()


def test_a_snapshot_from_before_there_were_pages_gets_one(tmp_path: Path) -> None:
    given = context(tmp_path, many(150))
    outcome = prepare.run(given)
    run = keep(given, outcome)
    identity = validate.run(run).figures["snapshot"]
    manifest = snapshot.manifest(run.shelf, identity)
    tables = list(snapshot.batches(run.shelf, identity))
    quarantine = reports._table((snapshot.folder(run.shelf, identity) / "quarantine.parquet").read_bytes())
    new = ("shape", "checks", "read", "change", "rejections", "data_docs", "data_docs_as_a_whole", "versions", "target",
           "git_commit", "recipe_sha256", "files", "snapshot", "created_at", "warnings")  # fmt: skip
    old = {key: value for key, value in manifest.items() if key not in new}
    place = snapshot.folder(run.shelf, identity)
    place.fs.rm(place.path, recursive=True)
    assert snapshot.publish(run.shelf, lambda: tables, quarantine, old) == identity
    words = text_of(reports.published(run.shelf, run.recipe, identity))
    assert "150 rows in the snapshot" in words
    assert "before checks were kept" in words


def test_a_changed_page_is_not_shown(two: tuple[Context, list[str]]) -> None:
    run, made = two
    path = snapshot.folder(run.shelf, made[0]) / reports.FILE
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"Published", b"Approved!"))
    try:
        with pytest.raises(DataRejectedError, match=r"report\.html is gone or does not match"):
            reports.published(run.shelf, run.recipe, made[0])
    finally:
        path.write_bytes(whole)


def test_the_command_says_where_the_page_is(
    two: tuple[Context, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, made = two
    recipe = tmp_path / "demo.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    monkeypatch.setenv("FTCORE_HOME", str(run.shelf.chain.ring.private.parent.parent))
    monkeypatch.setenv("FTCORE_STORE", str(Path(str(run.shelf.root)).parent))
    command = ["snapshots", "report", str(recipe)]
    shown = ftcore(*command)
    sealed = Path(str(snapshot.folder(run.shelf, made[1]))) / reports.FILE
    assert shown.stdout.split() == [str(sealed)], shown.stderr
    ftcore(*command, made[0], "-o", str(tmp_path / "one.html"))
    assert (tmp_path / "one.html").read_bytes() == reports.published(run.shelf, run.recipe, made[0])
