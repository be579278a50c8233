"""A product whose ring costs seconds: a BERT of one layer that nobody trained, and sentences that say nothing."""

from __future__ import annotations

import csv
from pathlib import Path

import yaml

LABELS = ("negative", "positive")
WORDS = ("a", "the", "film", "plot", "is", "was", "good", "great", "bad", "awful", "dull", "bright", "story", "end")
ROWS = 600


def write_product(folder: Path) -> Path:
    """Write the model, the rows and the recipe ``tiny`` into a folder; returns the recipe's file."""
    recipes = folder / "recipes"
    recipes.mkdir(parents=True)
    _model(folder / "model")
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


def _model(folder: Path) -> None:
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "number", *"0123456789"]
    vocabulary += [f"##{n}" for n in range(10)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    torch.manual_seed(3)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(vocabulary), **sizes, max_position_embeddings=64, num_labels=2)
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
