"""A profile counts what is planted, and the suite that it proposes holds for its data and not for others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import yaml

from ftcore.data import snapshot
from ftcore.data.validation.great_expectations import SuiteResult, run_suite
from ftcore.recipe import reading
from ftcore.reports import profile
from tests.unit.steps._drafts import RECIPE, WORDS, many, row

SUITE = json.loads((Path(__file__).parents[3] / "expectations" / "classification.json").read_text(encoding="utf-8"))


def ftcore(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, with this test's settings."""
    return subprocess.run([sys.executable, "-m", "ftcore", *words], capture_output=True, text=True, check=False)


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=snapshot.schema())


def looked(rows: list[dict[str, Any]], sample: int = 1_000) -> dict[str, Any]:
    halves = [table(rows[: len(rows) // 2]), table(rows[len(rows) // 2 :])]
    return profile.look(reading.parse(RECIPE), halves, sample)


def check(rows: list[dict[str, Any]], suite: dict[str, Any], docs: Path) -> SuiteResult:
    frame = table(rows).to_pandas().assign(split="train")
    parameters = {"labels": ["neg", "pos"], "min_length": 1, "max_length": 20_000}
    return run_suite(frame, suite, parameters, name="one", docs=docs)


def test_what_is_planted_is_counted() -> None:
    plain = many(200)
    rows = [
        *plain,
        *(one | {"row_id": snapshot.row_id("c", one["row_id"]), "text": one["text"].upper()} for one in plain[:7]),
        *(one | {"row_id": snapshot.row_id("n", one["row_id"]), "text": one["text"] + "s"} for one in plain[:5]),
        row("a", "write to anna@example.org", "odd"),
        row("b", "nobody said what this is", None),
    ]
    found = looked(rows)
    assert (found["rows"], found["sampled"]) == (214, 214)
    assert found["exact_duplicates"] == 7
    assert 5 <= found["near_duplicates"] <= 6
    assert found["personal_data"]["EMAIL_ADDRESS"] == 1
    assert found["unknown_labels"] == ["odd"]
    assert found["nulls"]["label"] == pytest.approx(1 / 214, abs=1e-4)
    assert found["by_source"] == {"t": 214}
    assert found["lengths"]["1"] == max(len(one["text"]) for one in rows)


def test_texts_that_were_decoded_wrongly_are_counted() -> None:
    rows = [
        *many(20),
        row("a", "f\ufffdr B\ufffdcher"),
        row("b", "\ufffd [no JSON object] x"),
        row("c", "B\ufffd", "odd"),
    ]
    found = looked(rows)["faults"]
    assert found[profile.UNDECODED] == 1, "what cannot be used anyway has its own reason"
    assert sum(found.values()) == 3


def test_the_sample_is_bounded_and_does_not_depend_on_order() -> None:
    rows = many(300)
    one, other = looked(rows, 50), looked(rows[::-1], 50)
    assert (one["rows"], one["sampled"]) == (300, 50)
    assert one == other


def test_the_suite_holds_for_its_data(tmp_path: Path) -> None:
    rows = many(300)
    suite = profile.propose(looked(rows), SUITE, "mine")
    result = check(rows, suite, tmp_path)
    assert result.success, result.warnings
    assert len(suite["expectations"]) > len(SUITE["expectations"]) + 3
    assert result.statistics["evaluated_expectations"] == len(suite["expectations"])
    assert all(one["met"] for one in result.checks)


@pytest.mark.parametrize("name", ["{why}", "{said}"])
def test_the_suite_does_not_hold_for_other_data(tmp_path: Path, name: str) -> None:
    """Also one that an earlier ftcore proposed."""
    dated = [one | {"observed_at": pd.Timestamp("2026-01-01", tz="UTC")} for one in many(300)]
    suite = json.loads(json.dumps(profile.propose(looked(dated), SUITE, "mine")).replace("{why}", name))
    assert check(dated, suite, tmp_path / "good").success
    bad = [one | {"label": "pos", "source": "elsewhere", "observed_at": None} for one in dated[:100]]
    bad += [row(f"long {n}", " ".join(WORDS + WORDS[:5]) + f" {n}", "pos") for n in range(20)]
    bad.append(row("huge", "word " * 500, "pos"))
    result = check(bad, suite, tmp_path / "bad")
    said = " / ".join([*result.rejections, *result.warnings])
    for words in ("the share of label 'neg' went from", "only 121 rows",
                  "100 rows are from a source that was not seen before",
                  "rows have no observed at", "texts are not of the usual", "labels without a single row"):  # fmt: skip
        assert words in said
    assert list(result.failures) == [120]


def test_no_rows_still_give_a_suite(tmp_path: Path) -> None:
    found = looked([])
    assert (found["rows"], found["lengths"], found["languages"]) == (0, {}, {})
    assert profile.propose(found, None, "mine")["name"] == "mine"


def test_the_command_writes_a_suite_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(json.dumps({"text": one["text"], "label": one["label"]}) for one in many(120)))
    path = tmp_path / "demo.yaml"
    path.write_text(yaml.safe_dump(RECIPE | {"sources": [{"kind": "files", "path": str(data)}]}), encoding="utf-8")
    monkeypatch.setenv("FTCORE_HOME", str(tmp_path / "home"))
    command = ["profile", str(path), "--output", str(tmp_path / "mine.json")]
    shown = ftcore(*command)
    assert "120, of which 120 were looked at closely" in shown.stdout
    suite = json.loads((tmp_path / "mine.json").read_text(encoding="utf-8"))
    assert suite["name"] == "mine"
    refused = ftcore(*command)
    assert (refused.returncode, "is there already" in refused.stderr) == (1, True)
    shown = ftcore(*command, "--force", "--json")
    assert json.loads(shown.stdout)["rows"] == 120
    assert not (tmp_path / "home" / "store").exists(), "looking leaves nothing behind"


def test_balance_is_proposed_where_labels_are_skewed() -> None:
    assert profile.imbalance({"a": 0.6, "b": 0.4}) is None
    assert profile.imbalance({"a": 1.0}) is None
    found = profile.imbalance({"a": 0.96, "b": 0.04})
    assert found is not None
    assert (found["ratio"], found["rarest"]) == (24, "b")
    assert "'a' is 24 times as frequent as 'b': try train.class_weights: balanced" in found["proposal"]
