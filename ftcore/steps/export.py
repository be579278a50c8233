"""export: write the candidate in every format that the recipe asks for, beside the trained model."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from ftcore.context import Context, Outcome
from ftcore.data import snapshot
from ftcore.evaluation.predictions import given
from ftcore.models import base, input_example
from ftcore.models.outputs import Sample
from ftcore.registry import recorded, served
from ftcore.registry.verdict import TORCH
from ftcore.store.records import versions
from ftcore.store.store import hash_folder, read_json, write_json
from ftcore.tracking import training_run
from ftcore.tracking.client import Tracking, Version

log = logging.getLogger(__name__)

NEEDS = ("torch", "transformers", "transformers.modeling_utils", "onnx", "onnxruntime", "mlflow")

NEEDED = ("ftcore", "onnxruntime", "transformers")
"""Packages that MLflow needs to load an export."""
SAMPLED = 256
"""Train rows that exports are calibrated and proven on."""


def run(context: Context) -> Outcome:
    """Export, and log each format as an artefact of the version's run; without any torch serves.

    Raises:
        ExportError: the model cannot be translated.
        ParityError: an export gives other outputs than the model, or a row's depend on what else is in its batch.
        ChangedArtefactError: the trained model is not what ``train`` recorded.
    """
    tracking = Tracking(context.settings, context.recipe.name)
    version = recorded.candidate(context, tracking)
    source = served.folder(tracking, version, "model")
    sizes, hashes = {TORCH: _size(source)}, {"model": hash_folder(source)}
    if context.recipe.exports:
        more, logged = _export(context, tracking, version, source)
        sizes, hashes = sizes | more, hashes | logged
    tracking.log(version.run, metrics={f"size_bytes.{name}": size for name, size in sizes.items()})
    said = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in sizes.items())
    return Outcome(
        reason=said if context.recipe.exports else f"the recipe asks for no export, torch serves: {said}",
        figures={"version": version.number, "size_bytes": sizes},
        inputs={"model": hashes["model"], **recorded.inputs(hashes)},
    )


def _export(
    context: Context, tracking: Tracking, version: Version, source: Path
) -> tuple[dict[str, int], dict[str, str]]:
    """Write and log every export; returns size and hash of each by name."""
    from ftcore.models.loading import tokenizer as load_tokenizer

    log.info("loading the model to export it")
    model = base.with_prefix(context.recipe.task.exportable(source), source).eval()
    tokenizer = load_tokenizer(source)
    sample = _sample(context, version, source)
    made = context.scratch / "made"
    shutil.rmtree(made, ignore_errors=True)
    sizes, hashes = {}, {}
    for exporter in context.recipe.exports:
        exporter.export(model, tokenizer, made, sample)
        for name in exporter.names():
            card = read_json(source / "ftcore.json") | {"exporter": exporter.kind}
            write_json(made / name / "ftcore.json", card)
            needs = {package: version for package, version in versions().items() if package in NEEDED}
            training_run.describe(made / name, input_example.example(context.recipe.task), needs)
            sizes[name] = _size(made / name)
            log.info("exported %s: %.1f MB", name, sizes[name] / 1e6)
            hashes[name] = tracking.log_folder(version.run, made / name, name)
    shutil.rmtree(context.scratch)
    return sizes, hashes


def _sample(context: Context, version: Version, source: Path) -> Sample:
    """Train rows that exports are calibrated and proven on: those with the lowest row ids, which are hashes."""
    import pyarrow as pa

    limit = (read_json(source / "ftcore.json") or {})["max_length_tokens"]
    columns = ["row_id", *snapshot.TEXTS, "source"]
    lowest = None
    for table in snapshot.batches(context.shelf, version.snapshot, ["train"], columns) if version.snapshot else ():
        both = table if lowest is None else pa.concat_tables([lowest, table])
        lowest = both.sort_by("row_id").slice(0, SAMPLED)
    if lowest is None or not lowest.num_rows:
        return Sample(max_length_tokens=limit)  # the exporter has texts of its own
    return Sample(given(context.recipe, lowest), lowest["row_id"].to_pylist(), limit)


def _size(folder: Path) -> int:
    """Bytes of the weights and graphs in a folder; tokenizers and notes do not count."""
    return sum(f.stat().st_size for f in folder.iterdir() if f.suffix in {".safetensors", ".onnx", ".data"})
