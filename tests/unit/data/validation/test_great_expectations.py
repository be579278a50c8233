"""The shipped suite over real frames, through real Great Expectations."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pandas as pd
import pytest

from ftcore.data.validation.data_docs import make_offline
from ftcore.data.validation.great_expectations import SuiteResult, columns, run_suite

SUITE = json.loads((Path(__file__).parents[4] / "expectations" / "classification.json").read_text(encoding="utf-8"))
PARAMETERS = {"labels": ["negative", "positive"], "min_length": 1, "max_length": 200}


def rows(count: int = 40) -> pd.DataFrame:
    numbers = range(count)
    return pd.DataFrame(
        {
            "row_id": pd.Series([f"r{i}" for i in numbers], dtype=object),
            "text": pd.Series([f"a film, number {i}" for i in numbers], dtype=object),
            "label": pd.Series([("negative", "positive")[i % 2] for i in numbers], dtype=object),
            "source": "movie",
            "group": None,
            "observed_at": pd.Timestamp("2026-01-01", tz="UTC"),
            "split": "train",
        }
    )


def check(frame: pd.DataFrame, docs: Path, name: str = "one", **parameters: int) -> SuiteResult:
    return run_suite(frame, SUITE, PARAMETERS | parameters, name=name, docs=docs)


def test_good_rows_pass(tmp_path: Path) -> None:
    result = check(rows(), tmp_path)
    assert result.success
    assert (result.failures, result.row_failures, result.rejections, result.warnings) == ({}, {}, [], [])
    assert result.statistics["evaluated_expectations"] == len(SUITE["expectations"])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([("column_values_to_not_be_null", {"column": "text"})], ["row_id", "text"]),
        ([("column_max_to_be_between", {"column": "observed_at", "row_condition": "label.notnull()"})],
         ["row_id", "label", "observed_at"]),
        ([("table_columns_to_match_set", {"column_set": ["text", "split"], "exact_match": False})],
         ["row_id", "text", "split"]),
        ([("column_values_to_not_be_null", {"column": {"$PARAMETER": "named"}})], ["row_id", "group"]),
        ([("table_columns_to_match_set", {"column_set": ["text"]})], None),
        ([("table_column_count_to_equal", {"value": 7})], None),
        ([("column_values_to_not_be_null", {"column": "text"}), ("something_to_hold", {})], None),
    ],
)  # fmt: skip
def test_a_suite_gets_the_columns_that_it_names(
    wanted: list[tuple[str, dict[str, object]]], expected: list[str] | None
) -> None:
    there = list(rows(1).columns)
    suite = {"expectations": [{"type": f"expect_{kind}", "kwargs": kwargs} for kind, kwargs in wanted]}
    parameters = {"named": "group"} if "$PARAMETER" in json.dumps(suite) else {}
    assert columns(suite, parameters, there) == (expected or there)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("row_id", None, "row id is missing"),
        ("text", None, "text is missing"),
        ("text", " \n\t", "text is empty or blank"),
        ("text", "x" * 201, "text is shorter than 1 or longer than 200 characters"),
        ("text", "caf\ufffd", "text was decoded wrongly: it holds the replacement character U+FFFD"),
        ("text", "nul\x00", "text holds a NUL character"),
        ("label", None, "label is missing"),
        ("label", "neutral", "label is not one of negative, positive"),
        ("split", None, "split is missing"),
        ("split", "dev", "split is not one of train, validation, test"),
    ],
)
def test_a_bad_value_fails_its_row_only(tmp_path: Path, column: str, value: str | None, reason: str) -> None:
    frame = rows()
    frame.loc[7, column] = value
    result = check(frame, tmp_path)
    assert result.failures == {7: [reason]}
    assert result.row_failures == {"#7" if column == "row_id" else "r7": [reason]}
    assert result.rejections == []
    assert not result.success


def test_every_reason_of_a_row_is_listed(tmp_path: Path) -> None:
    frame = rows()
    frame.loc[3, ["text", "label"]] = ["", "neutral"]
    assert len(check(frame, tmp_path).failures[3]) == 3


def test_of_repeated_row_ids_the_first_stays(tmp_path: Path) -> None:
    frame = rows()
    frame.loc[[4, 9, 11], "row_id"] = "r2"
    frame.index = pd.Index(range(100, 140))
    result = check(frame, tmp_path)
    assert list(result.failures) == [4, 9, 11]
    assert result.row_failures == {"r2": ["row id repeats an earlier row's"]}


def test_repeated_texts_are_a_warning(tmp_path: Path) -> None:
    frame = rows()
    frame.loc[5, "text"] = frame.loc[6, "text"]
    result = check(frame, tmp_path)
    assert result.warnings == ["2 rows share their text with another row"]
    assert (result.failures, result.rejections) == ({}, [])


def test_the_table_as_a_whole_is_judged_with_numbers(tmp_path: Path) -> None:
    result = check(rows(19).assign(label="negative"), tmp_path)
    assert result.rejections == ["labels without a single row: positive"]


def test_an_empty_frame_is_rejected_not_a_crash(tmp_path: Path) -> None:
    result = check(rows(0), tmp_path)
    assert result.rejections == ["labels without a single row: negative, positive"]
    assert result.failures == {}


def test_missing_columns_are_named(tmp_path: Path) -> None:
    result = check(rows().drop(columns=["row_id", "text"]), tmp_path)
    assert result.rejections[0] == "columns are missing: row_id, text"
    assert any("could not be checked" in rejection and '"text"' in rejection for rejection in result.rejections)
    assert "Traceback" not in json.dumps(result.result_json)
    assert result.page.is_file()


def test_history_accumulates_and_a_second_run_replaces_the_first(tmp_path: Path) -> None:
    first = check(rows(), tmp_path, "snapshot-a")
    second = check(rows(10), tmp_path, "snapshot-b")
    again = check(rows(), tmp_path, "snapshot-a")
    assert first.page == again.page != second.page
    assert len(list((tmp_path / "validations").rglob("*.html"))) == 2
    index = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert index.count("'run_name': 'snapshot-a'") == index.count("'run_name': 'snapshot-b'") == 1
    for page in (first.page, second.page):
        assert page.relative_to(tmp_path).as_posix() in index


def test_pages_and_results_hold_few_short_examples(tmp_path: Path) -> None:
    frame = rows(300)
    frame["text"] = [f"{i} " + "secret " * 60 for i in range(300)]
    result = check(frame, tmp_path)
    assert len(result.failures) == 300
    for one in result.result_json["run_results"][0]["results"]:
        assert all(len(value) <= 20 for value in one["result"].values() if isinstance(value, list))
    written = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.suffix in {".html", ".json"}]
    for text in [*written, json.dumps(result.result_json)]:
        assert "secret " * 20 not in text
    assert "secret" in result.page.read_text(encoding="utf-8")


def test_pages_load_nothing_from_outside(tmp_path: Path) -> None:
    check(rows(5), tmp_path)
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) == 3
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"""(?:src|<link[^>]*href)="https?:|url\(["']?https?:""", text) == []
        assert text.index("window.$ =") < text.index("</head>")
        make_offline(page)
        assert page.read_text(encoding="utf-8") == text


def test_nobody_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: asked.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: asked.append(args) or [])
    assert check(rows(), tmp_path).success
    assert asked == []


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden"])
def test_a_name_must_fit_a_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        check(rows(), tmp_path, name)


def test_a_missing_parameter_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="labels, max_length"):
        run_suite(rows(), SUITE, {"min_length": 1}, name="one", docs=tmp_path)


def test_the_suite_is_what_great_expectations_writes() -> None:
    import great_expectations as gx

    own = gx.ExpectationSuite(**SUITE).to_json_dict()
    assert own["name"] == SUITE["name"]
    for ours, theirs in zip(SUITE["expectations"], own["expectations"], strict=True):
        assert ours.items() <= theirs.items()
        assert ours["meta"]["on_failure"] in {"quarantine", "reject", "warn"}
        assert ours["meta"]["reason"]
