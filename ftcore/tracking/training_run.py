"""What a training leaves in its MLflow run: the curve, the load, the recipe, and a model that MLflow loads."""

from __future__ import annotations

import itertools
import logging
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError, TransientError
from ftcore.store import patience
from ftcore.store.store import read_json
from ftcore.tracking.curve_buffer import Point, Track, buffered
from ftcore.tracking.server import plainly

if TYPE_CHECKING:
    from ftcore.tracking.client import Tracking

log = logging.getLogger(__name__)

LOADER = "ftcore.tracking.pyfunc"
"""What MLflow loads a model with: a module of the installed package, never code beside the weights."""
WORDS = ("tokenizer", "special_tokens", "vocab", "merges", "added_tokens", "chat_template", "spiece")
"""How names of a tokenizer's files begin."""
PIPELINES: dict[str, tuple[str, str | tuple[str, ...], str]] = {
    "classification": ("text-classification", "ForSequenceClassification", "TextClassificationPipeline"),
    "multilabel": ("text-classification", "ForSequenceClassification", "TextClassificationPipeline"),
    "tagging": ("token-classification", "ForTokenClassification", "TokenClassificationPipeline"),
    "chat": ("text-generation", ("LMHeadModel", "ForCausalLM"), "TextGenerationPipeline"),
    "completion": ("text-generation", ("LMHeadModel", "ForCausalLM"), "TextGenerationPipeline"),
}
"""By task transformers' pipeline, how the name of its model's class ends, and the pipeline's class."""
SAMPLE_S, SYSTEM = 5, "system/"
"""Seconds between two samples of the machine's load; what their names start with."""


@contextmanager
def ending(tracking: Tracking, run: str) -> Iterator[None]:
    """End the run as FAILED or KILLED, with the reason, where the block raises.

    Where MLflow is away it stays as it is, and ``ftcore doctor`` finds it.
    """
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, TransientError | KeyboardInterrupt | SystemExit)  # another try goes on with it
        first = f"{error.args[0]}".strip().splitlines()[:1] if error.args else []  # what follows may quote rows
        reason = ": ".join([type(error).__name__, *first])
        with suppress(FtcoreError), patience.lasting(0):
            tracking.close_run(run, "KILLED" if stopped else "FAILED", reason)
        raise


@contextmanager
def curve(tracking: Tracking, run: str, folder: Path) -> Iterator[Track]:
    """A way to log points of a run's curve that neither waits for MLflow nor loses one while it is away.

    What an earlier attempt has logged is left out: steps done again after a crash give the same points.

    Args:
        tracking: of the recipe.
        run: MLflow's run id.
        folder: of this machine; keeps the points that MLflow does not have yet.
    """
    sent = last_steps(tracking, run, lambda name: not name.startswith(SYSTEM))
    known = dict(sent)

    def send(points: Sequence[Point]) -> None:
        log_curve(tracking, run, _fresh(points, sent))

    with buffered(folder / f"curve-{run}.jsonl", send) as buffer:
        for step, metrics, _ in buffer.left:
            known.update({name: max(step, known.get(name, -1)) for name in metrics})
        yield lambda points: buffer.add(_fresh(points, known))


def _fresh(points: Iterable[Point], known: Mapping[str, int]) -> list[Point]:
    return [
        (step, {name: value for name, value in metrics.items() if step > known.get(name, -1)}, at)
        for step, metrics, at in points
    ]


@plainly
def log_curve(tracking: Tracking, run: str, points: Iterable[Point]) -> None:
    """Log points of a curve, each a step, its metrics and its time in seconds since 1970, a thousand at a time."""
    from math import isfinite

    from mlflow.entities import Metric

    flat = [
        Metric(name, value, int(at * 1000), step)
        for step, metrics, at in points
        for name, value in metrics.items()
        if isfinite(value)
    ]
    for start in range(0, len(flat), 1000):
        tracking.client.log_batch(run, metrics=flat[start : start + 1000])


@plainly
def last_steps(tracking: Tracking, run: str, wanted: Callable[[str], bool]) -> dict[str, int]:
    """The last step that each metric of a run was logged at, of those whose names are wanted: a request for each."""
    names = filter(wanted, tracking.client.get_run(run).data.metrics)
    return {name: max(m.step for m in tracking.client.get_metric_history(run, name)) for name in names}


@contextmanager
def system_metrics(tracking: Tracking, run: str, folder: Path) -> Iterator[None]:
    """Log processor, memory, disk, network and GPU load while the block runs, as ``system/…``.

    MLflow's own thread would end at the first request without an answer: its sensors are read, the rest is ours.
    """
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    sensors, over = SystemMetricsMonitor(run, SAMPLE_S, tracking_uri=tracking.settings.mlflow_uri), threading.Event()
    sent = last_steps(tracking, run, lambda name: name.startswith(SYSTEM)).values()

    def sample() -> None:
        for step in itertools.count(max([*sent, *(step for step, *_ in buffer.left)], default=-1) + 1):
            if over.wait(SAMPLE_S):
                return
            try:
                sensors.collect_metrics()
                load = {f"{SYSTEM}{name}": float(value) for name, value in sensors.aggregate_metrics().items()}
                buffer.add([(step, load, time.time())])
            except Exception as error:  # the load is good to know, and no reason to end a training
                log.warning("the load of the machine is not logged any more: %s", error)
                return
            for sensor in sensors.monitors:
                sensor.clear_metrics()

    with buffered(folder / f"system-{run}.jsonl", partial(log_curve, tracking, run)) as buffer:
        thread = threading.Thread(target=sample, name="system metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@plainly
def log_recipe(tracking: Tracking, run: str, recipe: Mapping[str, Any]) -> None:
    """Log the recipe with every default filled in as ``recipe.yaml``."""
    tracking.client.log_dict(run, dict(recipe), "recipe.yaml")


def describe(folder: Path, example: Mapping[str, str], packages: Mapping[str, str]) -> None:
    """Make a saved model one that ``mlflow.pyfunc.load_model`` loads: texts in, answers out, nothing pickled.

    A graph has the flavour ``onnx`` as well, and a model of transformers' own classes ``transformers``.

    Args:
        folder: weights or graph, tokenizer and ``ftcore.json``; ``MLmodel`` is written beside them.
        example: ``text``, and where the task takes them ``context`` and ``part``, made up; kept as the input example.
        packages: versions by package name, what the model needs to be loaded.
    """
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    inputs = {name: name != "context" for name in ("text", "context", *(["part"] if "part" in example else []))}
    signature = ModelSignature(
        Schema([ColSpec("string", name, required=required) for name, required in inputs.items()]),
        Schema([ColSpec("string", "answer"), ColSpec("double", "score")]),
    )
    needs = [f"{name}=={version}" for name, version in packages.items()]
    described = Model()
    for flavour, settings in _flavours(folder).items():
        described.add_flavor(flavour, **settings)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as made, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the signature stands above, type hints would say less
        target = Path(made) / "model"
        pyfunc.save_model(
            target,
            mlflow_model=described,
            loader_module=LOADER,
            signature=signature,
            input_example=pd.DataFrame({name: [example[name]] for name in inputs if name in example}),
            pip_requirements=needs,
        )
        shutil.copytree(target, folder, dirs_exist_ok=True)


def _flavours(folder: Path) -> dict[str, dict[str, Any]]:
    """MLflow's own flavours that can load what lies in a folder, with their settings in ``MLmodel``."""
    if (folder / "model.onnx").is_file():
        onnx = {"onnx_version": version("onnx"), "data": "model.onnx", "providers": ["CPUExecutionProvider"]}
        return {"onnx": {**onnx, "code": None}}
    card, config = (read_json(folder / name) or {} for name in ("ftcore.json", "config.json"))
    pipeline, architectures = PIPELINES.get(card.get("task", {}).get("kind", "")), config.get("architectures") or [""]
    words = [file for file in folder.iterdir() if file.is_file() and file.name.startswith(WORDS)]
    if pipeline is None or not architectures[0].endswith(pipeline[1]) or not words:
        return {}
    place = folder / "components" / "tokenizer"  # where the flavour looks for it
    place.mkdir(parents=True, exist_ok=True)
    for file in (*words, folder / "config.json"):
        shutil.copy(file, place)
    return {
        "transformers": {
            "transformers_version": version("transformers"),
            "task": pipeline[0],
            "instance_type": pipeline[2],
            "framework": "pt",
            "pipeline_model_type": architectures[0],
            "source_model_name": card.get("recipe", ""),
            "model_binary": ".",
            "components": ["tokenizer"],
            "tokenizer_type": "AutoTokenizer",
            "code": None,
        }
    }
