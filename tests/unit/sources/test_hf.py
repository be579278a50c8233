"""Datasets of the `datasets` library: saved to disk, as files, broken; the hub is not asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftcore.errors import DataRejectedError, FtcoreError, MissingExtraError, RecipeError

Rows = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset with a ClassLabel and two splits, as ``save_to_disk`` writes it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    parts = {
        split: datasets.Dataset.from_dict(
            {"text": [f"{split} {n}" for n in range(3)], "label": [0, 1, -1]}, features=features
        )
        for split in ("train", "test")
    }
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


@pytest.mark.usefixtures("saved")
def test_a_saved_dataset_gives_label_names(rows: Rows) -> None:
    got = rows(kind="hf", path="saved", split="test", label_map={"neg": "negative"})
    assert [(row["text"], row["label"]) for row in got] == [("test 0", "negative"), ("test 1", "pos"), ("test 2", None)]
    assert {row["source"] for row in got} == {"hf:saved"}
    with pytest.raises(DataRejectedError, match="no split 'dev'; it has train, test"):
        rows(kind="hf", path="saved", split="dev")
    with pytest.raises(DataRejectedError, match="has no column 'body'; it has text, label"):
        rows(kind="hf", path="saved", text="body")


def test_a_folder_of_files_is_streamed(tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("text,label\na,x\nb,y\n")
    assert [(r["text"], r["label"]) for r in rows(kind="hf", path="data")] == [("a", "x"), ("b", "y")]
    (tmp_path / "data" / "run.py").write_text("raise SystemExit('code of a dataset ran')")
    assert len(rows(kind="hf", path="data")) == 2


def test_what_is_not_there_says_so(rows: Rows) -> None:
    with pytest.raises(MissingExtraError, match="no folder 'nothing'"):
        rows(kind="hf", path="nothing")
    with pytest.raises(RecipeError, match="needs a revision"):
        rows(kind="hf", dataset="org/reviews")
    with pytest.raises(RecipeError, match="either path"):
        rows(kind="hf")
    with pytest.raises(FtcoreError, match="org/reviews"):
        rows(kind="hf", dataset="org/reviews", revision="0" * 40)
