"""A file, a dataset and traces from a real MLflow, kept in a SQLite file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftcore.errors import DataRejectedError, FtcoreError, RecipeError
from ftcore.tracking import places
from ftcore.tracking.client import Tracking

Rows = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def _prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables, made once: migrations take seconds."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def tracking(tmp_path: Path, context: Callable[..., Any], _prepared: Path) -> Tracking:
    """An MLflow of its own for a test."""
    (tmp_path / "home" / "mlflow").mkdir(parents=True)
    (tmp_path / "home" / "mlflow" / "mlflow.db").write_bytes(_prepared.read_bytes())
    here = context()
    return Tracking(here.settings, "small")


def test_a_logged_file_and_a_logged_dataset(tmp_path: Path, tracking: Tracking, rows: Rows) -> None:
    from mlflow.entities import Dataset, DatasetInput

    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "rows.jsonl").write_text('{"text": "a", "label": "x"}\n')
    run = tracking.open_run("r1", {})
    tracking.log_folder(run, tmp_path / "up", "data")
    source = json.dumps({"uri": str(tmp_path / "up" / "rows.jsonl")})
    tracking.client.log_inputs(run, [DatasetInput(Dataset("reviews", "d1", "local", source), [])])
    tracking.client.log_inputs(run, [DatasetInput(Dataset("code", "d2", "code", "{}"), [])])
    for number, said in enumerate(("", "[]", "7", "null", "s3://b/k", '{"uri": 5}', '{"uri": ["a"]}', "{")):
        dataset = Dataset(f"odd{number}", f"o{number}", "odd", said)
        tracking.client.log_inputs(run, [DatasetInput(dataset, [])])
        with pytest.raises(FtcoreError, match="is no file but odd"):
            tracking.dataset_source(run, f"odd{number}")
        assert places._json_moved(said, places.Move(tmp_path, tmp_path / "new")) == said
    for place in ({"artifact": "data/rows.jsonl"}, {"dataset": "reviews"}):
        assert [(r["text"], r["label"]) for r in rows(kind="mlflow", run=run, **place)] == [("a", "x")]
    for place, said in (
        ({"artifact": "data/nothing.csv"}, "no file 'data/nothing.csv'"),
        ({"dataset": "other"}, "no dataset 'other'; it has"),
        ({"dataset": "code"}, "is no file but code"),
    ):
        with pytest.raises(FtcoreError, match=said):
            rows(kind="mlflow", run=run, **place)
    with pytest.raises(DataRejectedError, match=rf"mlflow:{run}/data/rows.jsonl has no column 'body'"):
        rows(kind="mlflow", run=run, artifact="data/rows.jsonl", text="body")


@pytest.mark.filterwarnings("ignore:.*Any type hint:UserWarning")  # MLflow's own; as an error it loses the trace
def test_traces_are_rows(tracking: Tracking, rows: Rows) -> None:
    import mlflow

    mlflow.set_tracking_uri(tracking.settings.mlflow_uri)
    experiment = tracking.client.create_experiment("assistant")
    for n in range(3):
        root = tracking.client.start_trace("ask", inputs={"question": f"q{n}?"}, experiment_id=experiment)
        tracking.client.end_trace(root.trace_id, outputs=f"answer {n}")
    mlflow.flush_trace_async_logging()
    got = rows(
        kind="mlflow", experiment="assistant", text="{{ inputs.question }} {{ outputs }}", label=None, id="trace_id",
        observed_at="at",
    )  # fmt: skip
    assert sorted(row["text"] for row in got) == ["q0? answer 0", "q1? answer 1", "q2? answer 2"]
    assert all(row["observed_at"] for row in got)
    with pytest.raises(FtcoreError, match="no experiment 'other'"):
        rows(kind="mlflow", experiment="other", text="request", label=None)


def test_one_place_is_named(rows: Rows) -> None:
    with pytest.raises(RecipeError, match="give one of"):
        rows(kind="mlflow", run="r")
    with pytest.raises(RecipeError, match="need the run"):
        rows(kind="mlflow", artifact="a.csv")
