"""What the plan says of memory is what a training takes: estimated here, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftcore import snapshot
from tests.conftest import WORDS, Product

LEAST, MOST = 0.8, 1.5
"""Estimate over what was used."""
ROWS = 150
BERT = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
LLAMA = {
    "hidden_size": 256,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 768,
}
CLASSES = {"kind": "classification", "labels": ["negative", "positive"]}
TEXTS = {"kind": "completion"}


def base(folder: Path, task: str) -> Path:
    """A model of a real one's shape that nobody trained, and a tokenizer for which each word is a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
    )

    known = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[END]", *WORDS])}
    plain = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]", eos_token="[END]", model_max_length=512
    )
    if task == "classification":
        model: Any = BertForSequenceClassification(BertConfig(vocab_size=30_522, num_labels=2, **BERT))
    else:
        model = LlamaForCausalLM(LlamaConfig(vocab_size=49_152, tie_word_embeddings=True, eos_token_id=2, **LLAMA))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def publish(product: Product, words: int) -> None:
    """Rows of so many words each."""
    import pyarrow as pa

    rows = product.rows(range(ROWS))
    texts = [" ".join(WORDS[(number + n * n) % 13] for n in range(words)) for number in range(ROWS)]
    rows = rows.set_column(rows.schema.get_field_index("text"), "text", pa.array(texts))
    quarantine = snapshot.schema().append(rows.schema.field("split").with_name("reason")).empty_table()
    snapshot.publish(product.shelf, lambda: [rows], quarantine, {"rows": rows.num_rows})


@pytest.mark.parametrize(
    ("task", "method", "batch", "words"),
    [
        (CLASSES, "lora", 16, 64),
        (CLASSES, "full", 32, 120),
        (TEXTS, "lora", 2, 40),
        (TEXTS, "full", 4, 60),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else str(value),
)
def test_a_training_takes_what_was_estimated(
    task: dict[str, Any], method: str, batch: int, words: int, product: Product, tmp_path: Path
) -> None:
    limit = 128 if task is CLASSES else 256  # several texts share a sequence
    train = {
        "epochs": 3 * batch / ROWS,
        "max_length_tokens": limit,
        "batch_size": batch,
        "evaluations_per_epoch": 1,
        "precision": "fp32",
    }
    changes = {"task": task, "base": str(base(tmp_path / "base", task["kind"])), "method": {"kind": method}}
    gate = {"kind": "threshold", "minimum": 0.5} if task is CLASSES else {"kind": "beats_baseline"}
    product.change(
        **changes, train=train, gates=[gate], exports=product.document()["exports"] if task is CLASSES else []
    )
    publish(product, words)
    estimated = product.run("plan").figures["estimate"]["memory_bytes"]
    command = [sys.executable, "-m", "ftcore", "step", "train", str(product.path), "--run", "r1"]
    subprocess.run(command, check=True, capture_output=True)
    used = product.context("train").earlier("train").figures
    said = f"{estimated['total'] / 2**20:,.0f} MiB estimated, {used['peak_memory_bytes'] / 2**20:,.0f} MiB used"
    assert LEAST <= estimated["total"] / used["peak_memory_bytes"] <= MOST, said
    assert used["of_estimate"]["memory"] == pytest.approx(used["peak_memory_bytes"] / estimated["total"], abs=1e-3)
