"""What the plan says of memory is what a training takes: estimated here, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftcore.data import snapshot
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


def base(folder: Path, task: str, bert: dict[str, int] = BERT) -> Path:
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
        model: Any = BertForSequenceClassification(
            BertConfig(vocab_size=30_522, num_labels=2, id2label=dict(enumerate(CLASSES["labels"])), **bert)
        )
    else:
        model = LlamaForCausalLM(LlamaConfig(vocab_size=49_152, tie_word_embeddings=True, eos_token_id=2, **LLAMA))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def publish(product: Product, words: int, *, answers: bool = False) -> str:
    """Rows of so many words each; with answers, a good and a worse one of as many. Returns the snapshot's id."""
    import pyarrow as pa

    rows = product.rows(range(ROWS))
    for shift, name in enumerate(("text", "label", "rejected") if answers else ("text",)):
        texts = [" ".join(WORDS[(number + shift + n * n) % 13] for n in range(words)) for number in range(ROWS)]
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(texts))
    quarantine = snapshot.schema().append(rows.schema.field("split").with_name("reason")).empty_table()
    return snapshot.publish(product.shelf, lambda: [rows], quarantine, {"rows": rows.num_rows})


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
    takes_what_was_estimated(product)


def takes_what_was_estimated(product: Product) -> dict[str, Any]:
    """Plan here, train in a process of its own, and compare; returns the training's figures."""
    estimated = product.run("plan").figures["estimate"]["memory_bytes"]
    command = [sys.executable, "-m", "ftcore", "step", "train", str(product.path), "--run", "r1"]
    subprocess.run(command, check=True, capture_output=True)
    used = product.context("train").earlier("train").figures
    said = f"{estimated['total'] / 2**20:,.0f} MiB estimated, {used['peak_memory_bytes'] / 2**20:,.0f} MiB used"
    assert LEAST <= estimated["total"] / used["peak_memory_bytes"] <= MOST, said
    assert used["actual_vs_estimated"]["memory"] == pytest.approx(
        used["peak_memory_bytes"] / estimated["total"], abs=1e-3
    )
    return used


ADAPTER = {"rank": 8}
REWARDS = [{"kind": "length", "most": 20}]
CHAT = {"kind": "chat"}


@pytest.mark.long
@pytest.mark.parametrize(
    ("task", "method", "batch", "words"),
    [
        (CHAT, {"kind": "dpo", "adapter": ADAPTER}, 4, 60),
        (TEXTS, {"kind": "rloo", "rewards": REWARDS, "generations": 4, "answer_tokens": 64, "adapter": None}, 2, 60),
        (TEXTS, {"kind": "ppo", "rewards": REWARDS, "answer_tokens": 64, "minibatch": 4, "adapter": None}, 8, 60),
    ],
    ids=lambda value: f"{value['kind']}-{value.get('adapter', '')}" if isinstance(value, dict) else str(value),
)
def test_what_learns_from_answers_takes_what_was_estimated(
    task: dict[str, Any], method: dict[str, Any], batch: int, words: int, product: Product, tmp_path: Path
) -> None:
    train = {
        "max_length_tokens": 256,
        "batch_size": batch,
        "evaluations_per_epoch": 1,
        "precision": "fp32",
    }
    source = {"kind": "files", "path": "rows.csv"} | ({"rejected": "worse"} if task is CHAT else {})
    product.change(
        task=task, base=str(base(tmp_path / "base", task["kind"])), method=method, train=train, sources=[source],
        gates=[{"kind": "threshold", "metric": "perplexity", "maximum": 1e9}], exports=[],
    )  # fmt: skip
    rows = snapshot.read(product.shelf, publish(product, words, answers=task is CHAT), ["train"]).num_rows
    product.change(train={**train, "epochs": 1.99 * batch / rows})
    used = takes_what_was_estimated(product)
    if "rewards" in method:  # answers of a model that nobody trained end by chance, and rarely
        assert 0.9 <= used["actual_vs_estimated"]["tokens_drawn"] <= 1.05


@pytest.mark.long
def test_a_pupil_with_its_teacher_takes_what_was_estimated(product: Product, tmp_path: Path) -> None:
    large = {**BERT, "hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072}
    teacher = base(tmp_path / "teacher", "classification", large)
    train = {"epochs": 0.2, "max_length_tokens": 64, "batch_size": 8, "evaluations_per_epoch": 1, "precision": "fp32"}
    pupil, method = base(tmp_path / "base", "classification"), {"kind": "distill", "teacher": str(teacher)}
    product.change(task=CLASSES, base=str(pupil), method=method, train=train)
    publish(product, 60)
    takes_what_was_estimated(product)
