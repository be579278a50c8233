"""What `evaluate` adds to inference: metrics, slices, fairness, calibration, baselines, perturbed rows, MLflow.

Inference is what candidate and champion take to answer every test row once, as exported and as trained: tokenizing and
the model, in the step's own batches, timed within the step, so that both numbers are of the same minutes. All else is
overhead, whatever it does: loading models, timing single texts, answering perturbed rows, resampling, writing. Starting
the process and importing are counted for neither; the note says how long imports took.
"""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench._measure import Result, machine, side
from tests.bench._sentences import load, rows

if TYPE_CHECKING:
    from ftcore.context import Context

ROWS, TRAIN = 10_000, 2_000
DOMAINS = {"movie": 6_000, "tweets": 3_000, "nyt": 2_000, "amazon": 1_000}
MODELS = ("onnx-int8", "model")


def run() -> Result:
    """Seconds of a whole evaluation of candidate and champion over the seconds that predicting alone takes."""
    with tempfile.TemporaryDirectory() as folder:
        side(_make, folder)
        (seconds, imports, (candidate, champion, perturbed)), peak = side(_evaluate, folder)
    inference = candidate + champion
    rest = seconds - inference
    note = (
        f"answering {ROWS:,} test rows by candidate ({candidate:.0f} s) and champion ({champion:.0f} s), each as "
        f"onnx-int8 and torch; the rest took {rest:.1f} s, {100 * rest / inference:.1f} %, {perturbed:.1f} s of it on "
        f"perturbed rows; 10 % is the aim. Where the champion's answers are known from before, as in the ring, it is "
        f"{100 * rest / candidate:.1f} % of the candidate's inference. Imports took {imports:.1f} s more"
    )
    return Result(
        "evaluate_overhead",
        "s, ratio at most 1.1",
        seconds,
        inference,
        seconds / inference,
        ROWS,
        peak,
        machine(),
        note,
    )


def _make(folder: str) -> None:
    """A MiniLM with a head that nobody trained, as trained and as int8: its speed is what a trained one's is."""
    from transformers import AutoTokenizer

    from ftcore.export.exporters import onnx
    from ftcore.models import base
    from ftcore.store import store

    recipe, conf, context = load()
    found = base.resolve(recipe.base, conf, context.recipe_path.parent)
    model, tokenizer = recipe.task.load(found).eval(), AutoTokenizer.from_pretrained(found)
    model.save_pretrained(Path(folder) / "model")
    tokenizer.save_pretrained(Path(folder) / "model")
    onnx.Onnx(precisions=("int8",)).export(model, tokenizer, Path(folder))
    for name in MODELS:
        card = {"task": recipe.task.model_dump(mode="json"), "max_length_tokens": recipe.train.max_length_tokens}
        store.write_json(Path(folder) / name / "ftcore.json", card)


def _evaluate(folder: str) -> tuple[float, float, tuple[float, float, float]]:
    """Seconds of the step; of imports; and within the step of the candidate's, champion's and all other inference."""
    from ftcore.steps import evaluate

    clock = time.perf_counter()
    for name in evaluate.NEEDS:
        importlib.import_module(name)
    imports = time.perf_counter() - clock
    from ftcore.serving.model import Model

    context = _context(Path(folder))
    spent: dict[int | None, float] = {1: 0.0, 2: 0.0, None: 0.0}
    outputs = Model.outputs

    def timed(self: Model, texts: list[str], *more: Any) -> Any:
        clock = time.perf_counter()
        said = outputs(self, texts, *more)
        most = len(texts) > ROWS // 2  # a few test rows are left out, since a text like theirs trained
        spent[self.version if most else None] += time.perf_counter() - clock
        return said

    Model.outputs = timed  # type: ignore[method-assign]
    clock = time.perf_counter()
    evaluate.run(context)
    return time.perf_counter() - clock, imports, (spent[2], spent[1], spent[None])


def _context(folder: Path) -> Context:
    """A run whose candidate was trained and exported, with a champion whose predictions nobody knows yet."""
    import pyarrow as pa

    from ftcore import settings
    from ftcore.context import Context
    from ftcore.data import snapshot
    from ftcore.recipe import reading as recipes
    from ftcore.registry import served
    from ftcore.store import store
    from ftcore.store.records import Record, now
    from ftcore.tracking.client import CHAMPION, Tracking

    every = [{**row, "source": domain} for domain, count in DOMAINS.items() for row in rows(domain, count)]
    for number, row in enumerate(every):
        row |= {"row_id": f"{number:08}", "split": "test" if number < ROWS else "train"}
    table = pa.Table.from_pylist(every[: ROWS + TRAIN], schema=snapshot.schema(split=True))
    os.environ["FTCORE_HOME"] = str(folder / "home")
    conf = settings.load()
    document = load()[0].resolved() | {"name": "bench", "exports": [{"kind": "onnx", "precisions": ["int8"]}]}
    document["evaluate"]["holdouts"] = {}
    document["gates"] = [{"kind": "threshold", "minimum": 0.5}]
    recipe = recipes.parse(document)
    shelf, tracking = store.shelf(conf, recipe.name), Tracking(conf, recipe.name)
    identity = snapshot.publish(shelf, lambda: [table], table.slice(0, 0), {"rows": table.num_rows})
    (folder / "evaluation").mkdir()
    store.write_table(folder / "evaluation" / "predictions.parquet", table.slice(0, 0).select(["row_id", "text"]))
    for run_id in ("before", "now"):
        run = tracking.open_run(run_id, {})
        for name in (*MODELS, "evaluation"):
            tracking.log_folder(run, folder / name, name)
        version = tracking.register(run_id, run, "model", {"ftcore.snapshot": identity})
        if run_id == "before":
            tracking.set_alias(CHAMPION, version)
            figures = served.facts(shelf, tracking, version) | {"version": version.number}
            shelf.add_to_ledger("promote", run_id, "promoted", "version 1 is champion", **figures)
    for step, figures in {"train": {"version": version.number}, "export": {"size_bytes": {}}}.items():
        record = Record(step=step, recipe="bench", run_id="now", fingerprint="", started_at=now(), figures=figures)
        shelf.write_record(record)
    shutil.rmtree(folder / "evaluation")
    return Context(recipe, load()[2].recipe_path, "now", "evaluate", {}, shelf, conf)
