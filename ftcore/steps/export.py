"""export: write the candidate in every format that the recipe asks for, beside the trained model."""

from __future__ import annotations

import shutil
from pathlib import Path

from ftcore import base
from ftcore._find import find
from ftcore.context import Context, Outcome, log
from ftcore.store import hash_folder
from ftcore.tracking import Tracking, Version
from ftcore.verdict import TORCH

NEEDS = ("torch", "transformers", "transformers.modeling_utils", "onnx", "onnxruntime", "mlflow")


def run(context: Context) -> Outcome:
    """Export, and log each format as an artefact of the version's run; without any torch serves.

    Raises:
        ExportError: the model cannot be translated.
    """
    tracking = Tracking(context.settings, context.recipe.name)
    version = tracking.version(context.earlier("train").figures["version"])
    source = tracking.fetch(version, "model")
    sizes = {TORCH: _size(source)}
    if context.recipe.exports:
        sizes |= _export(context, tracking, version, source)
    tracking.log(version.run, metrics={f"size_bytes.{name}": size for name, size in sizes.items()})
    said = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in sizes.items())
    return Outcome(
        reason=said if context.recipe.exports else f"the recipe asks for no export, torch serves: {said}",
        figures={"version": version.number, "size_bytes": sizes},
        inputs={"model": hash_folder(source)},
    )


def _export(context: Context, tracking: Tracking, version: Version, source: Path) -> dict[str, int]:
    """Write and log every export; returns the size of each by name."""
    from ftcore.training.loading import tokenizer as load_tokenizer

    task = find("tasks", context.recipe.task.kind)
    load = getattr(task, "exportable", task.load)
    model = base.with_prefix(load(context.recipe.task, source), source).eval()
    tokenizer = load_tokenizer(source)
    made = context.scratch / "made"
    shutil.rmtree(made, ignore_errors=True)
    sizes = {}
    for config in context.recipe.exports:
        exporter = find("exporters", config.kind)
        exporter.export(config, model, tokenizer, made)
        for name in exporter.names(config):
            shutil.copy(source / "ftcore.json", made / name)
            sizes[name] = _size(made / name)
            log.info("exported %s: %.1f MB", name, sizes[name] / 1e6)
            tracking.log_folder(version.run, made / name, name)
    shutil.rmtree(context.scratch)
    return sizes


def _size(folder: Path) -> int:
    """Bytes of the weights and graphs in a folder; tokenizers and notes do not count."""
    return sum(f.stat().st_size for f in folder.iterdir() if f.suffix in {".safetensors", ".onnx", ".data"})
