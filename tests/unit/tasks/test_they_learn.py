"""Every task kind learns something small with the real loop, is saved, loaded and measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ftcore.models import loading, outputs
from ftcore.recipe.kinds import kind_class, kinds
from ftcore.recipe.training_sections import Train
from ftcore.training import loop
from ftcore.training.methods.lora import Lora
from tests import jobs
from tests.models import COLOURS, THINGS, rows, small

EVERY = [(colour, thing) for colour in COLOURS for thing in THINGS]
CASES: dict[str, tuple[str, dict[str, Any], Callable[[str, str], tuple[str | None, ...]], str, float]] = {
    "classification": (
        "bert", {"labels": COLOURS}, lambda c, t: (f"the {t} is {c}", None, c), "accuracy", 0.95,
    ),
    "multilabel": (
        "bert", {"labels": [*COLOURS, "long"], "separator": " "},
        lambda c, t: (f"the {t} is {c}", None, f"{c} long" if len(t) > 4 else c), "subset_accuracy", 0.95,
    ),
    "completion": ("llama", {}, lambda c, t: (f"the {t} is {c} and the {t} is {c}", None, None), "perplexity", 2.2),
    "chat": (
        "llama", {"judge_by": "answers", "answer_tokens": 6},
        lambda c, t: (f"{c} {t} ?", "what colour", f"{c} {c}"), "exact_match", 0.9,
    ),
    "seq2seq": ("t5", {"answer_tokens": 8}, lambda c, t: (f"the {t} is {c}", None, f"{c} {t}"), "exact_match", 0.9),
    "tagging": (
        "bert", {"labels": ["O", "B-COL", "B-THING"]},
        lambda c, t: (f"the {t} is {c} .", None, "O B-THING O B-COL O"), "f1", 0.95,
    ),
    "qa": (
        "bert", {"stride_tokens": 4},
        lambda c, t: (f"what colour is the {t} ?", f"the {t} is {c} . the {THINGS[THINGS.index(t) - 1]} is a", c),
        "exact_match", 0.9,
    ),
    "pair": (
        "bert", {}, lambda c, t: (f"the {t} is {c}", f"a {COLOURS[len(t) % 4]}", str(float(c == COLOURS[len(t) % 4]))),
        "pearson", 0.9,
    ),
    "preference": (
        "llama", {},
        lambda c, t: (f"the {t} is {c} . what colour ?", None, f"a {c}", f"a {t}"), "preferred", 0.9,
    ),
}  # fmt: skip

PACE: dict[str, dict[str, Any]] = {
    "completion": {"batch_size": 2},  # of sequences, each of which holds four rows
    "multilabel": {"epochs": 16, "learning_rate": 2e-3},
    "pair": {"epochs": 20, "learning_rate": 3e-3},
}


def test_every_kind_is_here() -> None:
    assert set(CASES) | {"multitask"} == set(kinds("tasks")), "multitask has tests of its own"


@pytest.mark.parametrize("kind", CASES)
def test_it_learns_is_saved_and_measured(kind: str, tmp_path: Path) -> None:
    import torch

    torch.set_num_threads(1)
    family, given, make, metric, bound = CASES[kind]
    task = kind_class("tasks", kind)
    config = task.model_validate({"kind": kind, **given})
    small(family, tmp_path / "base")
    table = rows(*(make(colour, thing) for colour, thing in EVERY))
    config.check({"train": table, "validation": table})
    tokenizer = loading.tokenizer(tmp_path / "base")
    model = config.load(tmp_path / "base")
    before = measured(task, config, model, tokenizer, tmp_path / "before", table)
    # Ten times over in an epoch, so that there are few validations and checkpoints beside the steps.
    encoded = {
        split: config.encode(tokenizer, pa.concat_tables([table] * times), 48)
        for split, times in {"train": 10, "validation": 1}.items()
    }
    pace = {"epochs": 6, "learning_rate": 5e-3, "batch_size": 8} | PACE.get(kind, {})
    train = Train(max_length_tokens=48, evaluations_per_epoch=1, patience=10, **pace)
    job = jobs.made(model, tokenizer, encoded, config.collator(tokenizer), train, tmp_path / "checkpoints")
    loop.fit(job)
    after = measured(task, config, model, tokenizer, tmp_path / "after", table)
    assert set(after) == set(task.METRICS)
    if task.METRICS[metric] == "higher":
        assert not before[metric] >= bound, "nothing was learnt that was not there before"
        assert after[metric] >= bound
    else:
        assert after[metric] <= bound < before[metric]


@pytest.mark.parametrize("kind", CASES)
def test_lora_learns_and_merges_into_a_model_that_predicts(kind: str, tmp_path: Path) -> None:
    family, given, make, _, _ = CASES[kind]
    task = kind_class("tasks", kind)
    config, method = task.model_validate({"kind": kind, **given}), Lora(rank=8)
    small(family, tmp_path / "base")
    table = rows(*(make(colour, thing) for colour, thing in EVERY))
    tokenizer = loading.tokenizer(tmp_path / "base")
    model = method.apply(config.load(tmp_path / "base"), tokenizer)
    encoded = config.encode(tokenizer, pa.concat_tables([table] * 4), 48)
    train = Train(epochs=3, learning_rate=5e-3, batch_size=4, max_length_tokens=48, evaluations_per_epoch=1)
    job = jobs.made(model, tokenizer, {"train": encoded, "validation": encoded}, config.collator(tokenizer), train,
              tmp_path / "checkpoints")  # fmt: skip
    figures = loop.fit(job)
    assert figures["validation_loss"] < 0.95 * figures["validation_loss_before"]
    method.save(model, tokenizer, tmp_path / "made")
    made = config.predictor(tmp_path / "made" / "model", 48)(outputs.given(table, answers=task.TARGET == "text"))
    assert len(config.tallies(table, made)) == table.num_rows


def measured(task: Any, config: Any, model: Any, tokenizer: Any, folder: Path, table: pa.Table) -> dict[str, float]:
    """Metrics of a model that is saved and loaded again; rows in batches, and their sums, give the same."""
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    predict = config.predictor(folder, 48)
    texts = outputs.given(table, answers=task.TARGET == "text")
    made = [predict(texts[start : start + 8]) for start in range(0, len(texts), 8)]
    together = outputs.join(made, np.arange(len(texts)))
    again = outputs.of(outputs.column(together))
    tallies = config.tallies(table, again)
    assert tallies.shape[0] == table.num_rows
    labels, scores = config.answers(together)
    assert (len(labels), len(scores)) == (table.num_rows, table.num_rows)
    values = config.metrics(np.stack([tallies.sum(0), tallies[:5].sum(0), np.zeros(tallies.shape[1])]))
    assert all(np.isnan(value[2]) for value in values.values()), "of no row nothing is known"
    return {name: float(value[0]) for name, value in values.items()}
