"""Datasets of the `datasets` library: saved to disk, as files, broken; the hub is not asked."""

from __future__ import annotations

import gc
import warnings
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ftcore.errors import DataRejectedError, FtcoreError, NotFoundError, RecipeError

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
    with pytest.raises(NotFoundError, match="no folder 'nothing'"):
        rows(kind="hf", path="nothing")
    with pytest.raises(RecipeError, match="needs a revision"):
        rows(kind="hf", dataset="org/reviews")
    with pytest.raises(RecipeError, match="either path"):
        rows(kind="hf")
    with pytest.raises(FtcoreError, match="org/reviews"):
        rows(kind="hf", dataset="org/reviews", revision="0" * 40)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of sound: clips of 20 ms with a transcript and an intent each."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "calls #1 100% é"
    folder.mkdir()
    lines = ["file_name,transcript,intent"]
    for n in range(4):
        with wave.open(str(folder / f"c{n}.wav"), "wb") as clip:
            clip.setnchannels(1)
            clip.setsampwidth(1)
            clip.setframerate(8000)
            clip.writeframes(bytes([128 + n]) * 160)
        lines.append(f"c{n}.wav,call {n},{'ask' if n % 2 else 'order'}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_only_the_columns_that_the_recipe_names_are_read(calls: Path, rows: Rows) -> None:
    with warnings.catch_warnings():  # the datasets library leaves metadata.csv open
        warnings.simplefilter("ignore", ResourceWarning)
        got = rows(kind="hf", path=calls.name, text="transcript", label="intent")
        gc.collect()
    assert [(r["text"], r["label"]) for r in got] == [(f"call {n}", "ask" if n % 2 else "order") for n in range(4)]
    assert [row["origin"] for row in got] == [f"hf:{calls.name}, row {n}" for n in range(1, 5)]


@pytest.mark.parametrize("kind", ["Audio", "Image", "Video"])
def test_no_clip_is_decoded(tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    feature = getattr(datasets, kind)()
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.Value("string"), "clip": feature})
    table = pa.table(
        {"text": ["a"], "label": ["x"], "clip": [{"bytes": b"no clip", "path": "a.bin"}]}, features.arrow_schema
    )
    datasets.Dataset(table, info=datasets.DatasetInfo(features=features)).save_to_disk(str(tmp_path / "saved"))
    assert [row["text"] for row in rows(kind="hf", path="saved")] == ["a"]
    assert [row["text"] for row in rows(kind="hf", path="saved", text="{{ clip.path }}")] == ["a.bin"]


def test_numbers_of_labels_have_names_in_lists_and_objects_too(
    tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    names = datasets.ClassLabel(names=["O", "B-PER"])
    features = datasets.Features(
        {
            "tokens": datasets.Sequence(datasets.Value("string")),
            "tags": datasets.Sequence(names),
            "spans": [{"tag": names}],
            "one": {"tag": names},
        }
    )
    row = {"tokens": ["a", "b"], "tags": [0, 1], "spans": [{"tag": 1}], "one": {"tag": 0}}
    datasets.Dataset.from_list([row, {"tokens": ["c"]}], features=features).save_to_disk(str(tmp_path / "saved"))
    (got, empty) = rows(
        kind="hf", path="saved", text="{{ tokens | join(' ') }}", label="{{ tags | join(' ') }}",
        context="{{ spans | tojson }}", group="{{ one.tag }}",
    )  # fmt: skip
    assert (got["text"], got["label"], got["context"]) == ("a b", "O B-PER", '[{"tag": "B-PER"}]')
    assert got["group"].endswith("O")
    assert (empty["text"], empty["label"]) == ("c", None)


def test_a_folder_that_the_library_takes_for_a_pattern_is_refused(
    tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "data [old]").mkdir()
    (tmp_path / "data [old]" / "train.csv").write_text("text,label\na,x\n")
    with pytest.raises(DataRejectedError, match="rename that folder"):
        rows(kind="hf", path="data [old]")
