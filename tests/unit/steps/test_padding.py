"""Training pads as prediction does: a batch costs what its rows cost alone, whatever the tokenizer's side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftcore.models import loading
from ftcore.models.features import IGNORED
from ftcore.recipe.kinds import kind_class, kinds
from ftcore.training import jobs
from tests.models import COLOURS, VOCABULARY, rows, small

LONG = "the green car is a boat and a lamp . the chair is white"
SEVERAL: dict[str, tuple[str, dict[str, Any], list[tuple[str | None, ...]]]] = {
    "classification": (
        "bert", {"labels": COLOURS}, [("red", None, "red"), (LONG, None, "green"), ("a car", None, "blue")],
    ),
    "classification over a decoder": (
        "gpt2", {"labels": COLOURS}, [("red", None, "red"), (LONG, None, "green"), ("a car", None, "blue")],
    ),
    "multilabel": (
        "bert", {"labels": COLOURS, "separator": " "}, [("red", None, "red"), (LONG, None, "green white")],
    ),
    "pair": ("bert", {}, [("red", "a car", "0.5"), (LONG, "the green car", "1.0")]),
    "tagging": (
        "bert", {"labels": ["O", "B-COL"]},
        [("red car", None, "B-COL O"), ("the boat and the lamp is red", None, "O O O O O O B-COL")],
    ),
    "qa": (
        "bert", {}, [("what colour ?", "red", "red"), ("what colour is the car ?", LONG, "green")],
    ),
    "preference": ("gpt2", {}, [("what colour ?", None, "red", LONG), (LONG, None, "a", "white")]),
    "chat": ("gpt2", {}, [("what colour ?", None, "red"), (LONG, None, "the lamp is white")]),
    "completion": ("gpt2", {}, [("red", None, None), (LONG, None, None)]),
    "seq2seq": ("bart", {}, [("red", None, "a car"), (LONG, None, "white")]),
}  # fmt: skip


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models with absolute positions that nobody trained, of each family."""
    import torch
    from transformers import BartConfig, BartForConditionalGeneration, GPT2Config, GPT2LMHeadModel

    folder, size = tmp_path_factory.mktemp("bases"), len(VOCABULARY)
    for family, like in (("bert", "bert"), ("gpt2", "llama"), ("bart", "t5")):
        small(like, folder / family)
    torch.manual_seed(3)
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    gpt2 = GPT2Config(vocab_size=size, n_embd=48, n_layer=2, n_head=4, n_positions=128, **ids)
    GPT2LMHeadModel(gpt2).save_pretrained(folder / "gpt2")
    sides = {
        f"{side}_{name}": n
        for side in ("encoder", "decoder")
        for name, n in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 96))
    }
    bart = BartConfig(
        vocab_size=size,
        d_model=48,
        max_position_embeddings=128,
        decoder_start_token_id=2,
        forced_eos_token_id=3,
        **sides,
        **ids,
    )
    BartForConditionalGeneration(bart).save_pretrained(folder / "bart")
    return folder


def test_every_kind_is_here() -> None:
    assert {name.split()[0] for name in SEVERAL} == set(kinds("tasks")) - {"multitask"}, "which is made of these"


@pytest.mark.parametrize("name", SEVERAL)
def test_a_batch_of_mixed_lengths_costs_what_its_rows_cost_alone(name: str, bases: Path) -> None:
    import torch

    family, settings, given = SEVERAL[name]
    kind = name.split(maxsplit=1)[0]
    task = kind_class("tasks", kind)
    config = task.model_validate({"kind": kind, **settings})
    tokenizer = loading.tokenizer(bases / family)
    tokenizer.padding_side = "left"
    model = loading.model(lambda: config.load(bases / family), bases / family, tokenizer).eval()
    collate = jobs.collator(config, model, tokenizer)
    assert tokenizer.padding_side == "left", "what is saved is the base model's"
    features = config.encode(tokenizer, rows(*given), 100)
    every = [features[number] for number in range(len(features))]
    assert len(set(features.lengths)) > 1

    def cost(some: list[dict[str, Any]]) -> tuple[float, int]:
        batch = collate([dict(one) for one in some])
        labels = batch.get("labels")
        shift = 1 if kind in ("chat", "completion") else 0
        learnt = labels is not None and labels.ndim == 2 and kind != "multilabel"
        count = int(labels[:, shift:].ne(IGNORED).sum()) if learnt else len(some)
        with torch.inference_mode():
            made = model(**batch)
        if kind != "qa":
            return float(made.loss), count
        # transformers' loss lets an answer begin in the padding, too; of the tokens the costs are the same.
        losses = [
            torch.nn.functional.cross_entropy(logits.where(batch["attention_mask"].bool(), -torch.inf), places)
            for logits, places in (
                (made.start_logits, batch["start_positions"]),
                (made.end_logits, batch["end_positions"]),
            )
        ]
        return float(sum(losses)) / 2, count

    alone = [cost([one]) for one in every]
    loss, count = cost(every)
    assert count == sum(one for _, one in alone)
    assert loss == pytest.approx(sum(loss * many for loss, many in alone) / count, abs=1e-5)
