"""The YAML head of a model card, as Hugging Face's hub and tools read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

PIPELINES = {"classification": "text-classification"}
"""The hub's name for a kind of task, where it has another."""
LICENSES = frozenset(
    [
        "afl-3.0", "agpl-3.0", "apache-2.0", "apple-amlr", "apple-ascl", "artistic-2.0", "bigcode-openrail-m",
        "bigscience-bloom-rail-1.0", "bigscience-openrail-m", "bsd", "bsd-2-clause", "bsd-3-clause",
        "bsd-3-clause-clear", "bsl-1.0", "c-uda", "cc", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
        "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0",
        "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0",
        "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0", "creativeml-openrail-m",
        "deepfloyd-if-license", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "eupl-1.2", "gemma", "gfdl",
        "gpl", "gpl-2.0", "gpl-3.0", "h-research", "intel-research", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "lgpl-lr",
        "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "lppl-1.3c", "mit", "mpl-2.0", "ms-pl",
        "ncsa", "odbl", "odc-by", "ofl-1.1", "openmdw-1.0", "openrail", "openrail++", "osl-3.0", "other", "pddl",
        "postgresql", "unknown", "unlicense", "wtfpl", "zlib",
    ]
)  # fmt: skip
"""Licences that the hub knows; any other is ``other`` there, with its name beside."""


def head(name: str, known: Mapping[str, Any]) -> ModelCardData:
    """The head of a version's card.

    Args:
        name: of the recipe.
        known: what the card shows: see ``card.facts``.
    """
    from huggingface_hub import EvalResult, ModelCardData

    stated, base = str(known["licenses"]["model"] or "unknown").lower(), known["licenses"]["base"].get("hub_id")
    listed, pipeline = stated in LICENSES, PIPELINES.get(known["task"], known["task"])
    measured = [row for row in known["metrics"] if row["number"] is not None]
    results = [
        EvalResult(
            task_type=pipeline or "other",
            dataset_type=f"{name}/{_plain(row['part'])}",
            dataset_name=row["part"],
            metric_type=row["metric"],
            metric_name=row["title"],
            metric_value=row["number"],
        )
        for row in measured
    ]
    return ModelCardData(
        model_name=name,
        license=stated if listed else "other",
        license_name=None if listed else stated,
        language=list(known["languages"]) or None,
        base_model=base,
        base_model_relation="finetune" if base else None,
        datasets=[f"{name}/{_plain(source)}" for source in known["sources"]] or None,
        metrics=list(dict.fromkeys(row["metric"] for row in measured)) or None,
        library_name="transformers",
        pipeline_tag=pipeline,
        tags=["ftcore", *(kind for kind in (known["task"], known["method"]) if kind)],
        eval_results=results or None,
    )


def _plain(name: str) -> str:
    """A name as the hub takes it in an id."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "data"
