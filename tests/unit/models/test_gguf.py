"""GGUF bases: what is no model is said, and what was unpacked is not unpacked again."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftcore import settings
from ftcore.errors import TrainingError
from ftcore.models import base, gguf


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all, only words"])
def test_a_file_that_is_no_model_is_said_and_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.gguf").write_bytes(content)
    with pytest.raises(TrainingError, match=r"broken.gguf cannot be read as a GGUF model"):
        gguf.unpack(tmp_path / "broken.gguf", tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache" / "bases").iterdir() if path.is_dir()] == []


def test_what_was_unpacked_is_taken_as_it_is(home: Path) -> None:
    file = home.parent / "model.gguf"
    file.write_bytes(b"GGUF")
    status = file.stat()
    made = settings.load().cache / "bases" / f"model-{status.st_size:x}-{int(status.st_mtime):x}"
    made.mkdir(parents=True)
    (made / "config.json").write_text("{}", encoding="utf-8")
    assert base.resolve("./model.gguf", settings.load(), home.parent) == made
