"""What a training leaves in its MLflow run: the curve, the load, the recipe, and a model that MLflow loads."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftcore.tracking import Tracking

CODE = Path(__file__).with_name("tracking_pyfunc.py")
"""The model as code, copied beside its weights."""
SAMPLE_S = 5
"""Seconds between two samples of the machine's load."""


def log_curve(tracking: Tracking, run: str, points: Iterable[tuple[int, Mapping[str, float], float]]) -> None:
    """Log points of a curve, each a step, its metrics and its time in seconds since 1970, a thousand at a time."""
    from math import isfinite

    from mlflow.entities import Metric

    flat = [
        Metric(name, value, int(at * 1000), step)
        for step, metrics, at in points
        for name, value in metrics.items()
        if isfinite(value)
    ]
    with tracking.speaking_plainly():
        for start in range(0, len(flat), 1000):
            tracking.client.log_batch(run, metrics=flat[start : start + 1000])


def last_steps(tracking: Tracking, run: str) -> dict[str, int]:
    """The last step that each metric of a run was logged at."""
    with tracking.speaking_plainly():
        names = tracking.client.get_run(run).data.metrics
        return {name: max(m.step for m in tracking.client.get_metric_history(run, name)) for name in names}


@contextmanager
def system_metrics(tracking: Tracking, run: str) -> Iterator[None]:
    """Log processor, memory, disk, network and GPU load while the block runs, as ``system/…``."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run, SAMPLE_S, resume_logging=True, tracking_uri=tracking.settings.mlflow_uri)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()


def log_recipe(tracking: Tracking, run: str, recipe: Mapping[str, Any]) -> None:
    """Log the recipe with every default filled in as ``recipe.yaml``."""
    with tracking.speaking_plainly():
        tracking.client.log_dict(run, dict(recipe), "recipe.yaml")


def describe(folder: Path, example: Mapping[str, str], packages: Mapping[str, str]) -> None:
    """Make a saved model one that ``mlflow.pyfunc.load_model`` loads: texts in, answers out, nothing pickled.

    Args:
        folder: the model's weights, tokenizer and ``ftcore.json``; ``MLmodel`` and the code are written beside them.
        example: a ``text``, and where the task has several parts the ``part`` that is asked; kept as the input example.
        packages: versions by package name, what the model needs to be loaded.
    """
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    texts = pd.DataFrame({name: [value] for name, value in example.items()})
    needed = [ColSpec("string", name) for name in example]
    signature = ModelSignature(
        Schema([*needed, ColSpec("string", "context", required=False)]),
        Schema([ColSpec("string", "answer"), ColSpec("double", "score")]),
    )
    needs = [f"{name}=={version}" for name, version in packages.items()]
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as made, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the signature stands above, type hints would say less
        target = Path(made) / "model"
        pyfunc.save_model(
            target, python_model=str(CODE), signature=signature, input_example=texts, pip_requirements=needs
        )
        shutil.copytree(target, folder, dirs_exist_ok=True)
