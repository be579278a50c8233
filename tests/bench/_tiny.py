"""A product whose ring costs seconds: a BERT of one layer that nobody trained, and sentences that say nothing."""

from __future__ import annotations

import csv
from pathlib import Path

import yaml

from tests.models import classifier

LABELS = ("negative", "positive")
WORDS = ("a", "the", "film", "plot", "is", "was", "good", "great", "bad", "awful", "dull", "bright", "story", "end")
ROWS = 600


def write_product(folder: Path) -> Path:
    """Write the model, the rows and the recipe ``tiny`` into a folder; returns the recipe's file."""
    recipes = folder / "recipes"
    recipes.mkdir(parents=True)
    classifier(folder / "model", [*WORDS, "number"])
    with (recipes / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((sentence(n), LABELS[n % 2]) for n in range(ROWS))])
    document = {
        "name": "tiny",
        "task": {"kind": "classification", "labels": list(LABELS)},
        "base": str(folder / "model"),
        "sources": [{"kind": "files", "path": "rows.csv"}],
        "prepare": {"near_duplicates": 0.99},
        "validation": {"min_rows": 10},
        "method": {"kind": "lora", "rank": 2},
        "train": {"epochs": 2, "max_length_tokens": 32, "batch_size": 8, "precision": "fp32"},
        "exports": [{"kind": "onnx", "precisions": ["int8", "fp32"]}],
        "evaluate": {"resamples": 200},
        "gates": [{"kind": "threshold", "minimum": 0.01, "min_rows": 10}],
    }
    path = recipes / "tiny.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def sentence(number: int) -> str:
    """A text that no other number has."""
    words = [WORDS[number % 14], WORDS[number // 14 % 14], WORDS[number // 196 % 14], "film number", str(number)]
    return " ".join(words)
