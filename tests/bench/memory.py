"""What a plan says of memory beside what the training then takes, each training in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ftcore.data import snapshot
from tests.bench._measure import Result, machine
from tests.conftest import WORDS, Product, document

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
CHAT = {"kind": "chat"}
REWARDS = [{"kind": "length", "most": 20}]
PREFERENCES = {"kind": "dpo", "adapter": {"rank": 8}}
DRAWN = {"rewards": REWARDS, "answer_tokens": 64, "adapter": None}
LARGE = {**BERT, "hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072}


@dataclass(frozen=True)
class Case:
    """A training of three steps or so."""

    task: dict[str, Any]
    method: dict[str, Any]
    batch: int
    words: int
    steps: float = 3
    longest: int = 0
    """Tokens; 0 means 128 for classes and 256 for texts, where several share a sequence."""
    teacher: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Task and method."""
        return f"{self.task['kind']}-{self.method['kind']}-{self.batch}-{self.words}"


SMALLEST = Case(TEXTS, {"kind": "lora"}, 2, 40)
CASES = [
    Case(CLASSES, {"kind": "lora"}, 16, 64),
    Case(CLASSES, {"kind": "full"}, 32, 120),
    SMALLEST,
    Case(TEXTS, {"kind": "full"}, 4, 60),
    Case(CHAT, PREFERENCES, 4, 60, 1.99),
    Case(TEXTS, {"kind": "rloo", "generations": 4, **DRAWN}, 2, 60, 1.99),
    Case(TEXTS, {"kind": "ppo", "minibatch": 4, **DRAWN}, 8, 60, 1.99),
    Case(CLASSES, {"kind": "distill"}, 8, 60, longest=64, teacher=LARGE),
]


def run() -> Result:
    """The estimate that is farthest from what was used, as a ratio; every case is in the note."""
    found = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            found[case.name] = _alone(case, Path(folder))
        print(f"  {case.name}: {found[case.name][2]}", file=sys.stderr)
    estimated, used, _ = max(found.values(), key=lambda one: max(one[0] / one[1], one[1] / one[0]))
    note = f"what the training took; an estimate may be {LEAST} to {MOST} of it\n" + "\n".join(
        f"{name:<32}{said}{'' if LEAST <= one / other <= MOST else '  OUTSIDE'}"
        for name, (one, other, said) in found.items()
    )
    mebibytes = (estimated / 2**20, used / 2**20)
    return Result("memory", "MiB estimated, worst of all", *mebibytes, estimated / used, ROWS, used, machine(), note)


def _alone(case: Case, folder: Path) -> tuple[int, int, str]:
    """Measure in a home of its own."""
    before = dict(os.environ)
    product = Product("measured", folder / "recipes" / "measured.yaml")
    product.path.parent.mkdir()
    product.path.write_text(yaml.safe_dump(document(product.name), sort_keys=False), encoding="utf-8")
    os.environ |= {"FTCORE_HOME": str(folder / "home"), "FTCORE_RECIPES": str(product.path.parent)}
    try:
        estimated, figures = measured(case, product, folder)
    finally:
        os.environ.clear()
        os.environ |= before
    used = figures["peak_memory_bytes"]
    said = f"{estimated / 2**20:,.0f} MiB estimated, {used / 2**20:,.0f} MiB used"
    drawn = figures["actual_vs_estimated"].get("tokens_drawn")
    return estimated, used, said + (f", {drawn:.2f} of the tokens drawn" if drawn else "")


def measured(case: Case, product: Product, folder: Path) -> tuple[int, dict[str, Any]]:
    """Plan here and train in a process of its own; the estimate in bytes, and the training's figures."""
    classes, answers = case.task is CLASSES, case.task is CHAT
    gates = [{"kind": "threshold", "metric": "perplexity", "maximum": 1e9}]
    source = {"kind": "files", "path": "rows.csv"} | ({"rejected": "worse"} if answers else {})
    teacher = {"teacher": str(base(folder / "teacher", "classification", case.teacher))} if case.teacher else {}
    product.change(
        task=case.task, base=str(base(folder / "base", case.task["kind"])), method={**case.method, **teacher},
        sources=[source], gates=product.document()["gates"] if classes else gates,
        exports=product.document()["exports"] if classes else [],
    )  # fmt: skip
    rows = snapshot.read(product.shelf, publish(product, case.words, answers=answers), ["train"]).num_rows
    train = {"epochs": case.steps * case.batch / rows, "max_length_tokens": case.longest or (128 if classes else 256)}
    product.change(train={**train, "batch_size": case.batch, "evaluations_per_epoch": 1, "precision": "fp32"})
    estimated = product.run("plan").figures["estimate"]["memory_bytes"]["total"]
    command = [sys.executable, "-m", "ftcore", "step", "train", str(product.path), "--run", "r1"]
    subprocess.run(command, check=True, capture_output=True)
    return estimated, dict(product.context("train").earlier("train").figures)


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
