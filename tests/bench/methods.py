"""Every method on the same real sentences: accuracy, trained weights, seconds; few-shot; what replay saves."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from tests import jobs
from tests.bench._measure import Result, machine, side
from tests.bench._sentences import load, rows

ROWS, TEST_ROWS, EPOCHS, SHOTS, NEW = 400, 400, 2, 16, 300
METHODS: list[tuple[str, dict[str, Any], float]] = [
    ("full", {"kind": "full"}, 5e-5),
    ("lora, rank 16", {"kind": "lora"}, 5e-4),
    ("lora, PiSSA", {"kind": "lora", "init": "pissa"}, 5e-4),
    ("dora, rank 16", {"kind": "dora"}, 5e-4),
    ("ia3", {"kind": "ia3"}, 5e-3),
    ("prompt, 20 tokens", {"kind": "prompt"}, 1e-2),
    ("prefix, 10 tokens", {"kind": "prefix"}, 1e-2),
    ("distill, by the same", {"kind": "distill", "teacher": "champion"}, 5e-5),
]


def run() -> Result:
    """Few-shot beside plain fine-tuning on the same 16 rows a label; the table of all methods is in the note."""
    (lines, few, plain), peak = side(_all)
    note = f"full fine-tuning on the same {SHOTS} rows a label, 20 epochs\n" + "\n".join(lines)
    return Result(
        "methods",
        f"few-shot accuracy, {SHOTS} rows a label",
        few,
        plain,
        few / plain,
        ROWS,
        peak,
        machine(),
        note,
    )


def _all() -> tuple[list[str], float, float]:
    from ftcore.models import base

    recipe, conf, context = load()
    folder = base.resolve(recipe.base, conf, context.recipe_path.parent)
    movie, tweets = rows("movie", ROWS + TEST_ROWS), rows("tweets", NEW + TEST_ROWS)
    train, test = movie[:ROWS], movie[ROWS:]
    lines = [f"{'':<28}{'accuracy':<16}{'trained weights':>16}{'seconds':>9}"]
    with tempfile.TemporaryDirectory() as place:
        for name, method, rate in METHODS:
            found = _train(method, rate, EPOCHS, folder, train, Path(place) / name, test)
            lines.append(_line(name, found))
        few, plain = _few(folder, train, test, Path(place), lines)
        _incremental(Path(place) / "lora, rank 16" / "model", train, tweets, test, lines)
    return lines, few, plain


def _few(
    folder: Path, train: list[dict[str, str]], test: list[dict[str, str]], place: Path, lines: list[str]
) -> tuple[float, float]:
    shots = [row for label in load()[0].task.labels for row in [r for r in train if r["label"] == label][:SHOTS]]
    scores = []
    for name, method, epochs in (
        ("few_shot", {"kind": "few_shot", "rows_per_label": SHOTS, "pairs": 480}, 1),
        ("full, 20 epochs", {"kind": "full"}, 20),
    ):
        found = _train(method, 5e-5, epochs, folder, shots, place / name, test)
        scores.append(found["accuracy"][0])
        lines.append(_line(f"{SHOTS} a label: {name}", found))
    return scores[0], scores[1]


def _incremental(
    champion: Path,
    old: list[dict[str, str]],
    tweets: list[dict[str, str]],
    test: list[dict[str, str]],
    lines: list[str],
) -> None:
    new, other = tweets[:NEW], tweets[NEW:]
    lines.append(f"{'':<28}{'movies (old)':<16}{'tweets (new)':<16}")
    before = [_share(_accuracy(champion, part)) for part in (test, other)]
    lines.append(f"{'champion, movies only':<28}{before[0]:<16}{before[1]:<16}")
    for replay in (0.0, 0.3):
        mixed = new + old[: round(NEW * replay / (1 - replay))]
        with tempfile.TemporaryDirectory() as place:
            method = {"kind": "incremental", "replay": replay}
            found = _train(method, 5e-4, 3, champion, mixed, Path(place), test)
            now = [_share(found["accuracy"]), _share(_accuracy(Path(place) / "model", other))]
        lines.append(f"{f'{NEW} tweets, replay {replay:.0%}':<28}{now[0]:<16}{now[1]:<16}")


def _train(
    method: dict[str, Any],
    rate: float,
    epochs: int,
    folder: Path,
    train: list[dict[str, str]],
    target: Path,
    test: list[dict[str, str]],
) -> dict[str, Any]:
    import pyarrow as pa
    from transformers import set_seed

    from ftcore.models import loading
    from ftcore.recipe.kinds import kind_class
    from ftcore.training.strategies.ddp import Ddp

    recipe = load()[0]
    set_seed(recipe.train.seed)
    config = kind_class("methods", method["kind"]).model_validate(method)
    tokenizer = loading.tokenizer(folder)
    model = config.apply(recipe.task.load(folder), tokenizer)
    tables = {
        split: pa.Table.from_pylist([{"row_id": str(number), **row} for number, row in enumerate(part)])
        for split, part in (("train", train), ("validation", test[:64]))
    }
    encoded = {split: recipe.task.encode(tokenizer, table, 96) for split, table in tables.items()}
    settings = recipe.train.model_copy(
        update={"epochs": epochs, "learning_rate": rate, "evaluations_per_epoch": 1, "patience": 50}
    )
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    clock = time.perf_counter()
    with tempfile.TemporaryDirectory() as checkpoints:
        collate = recipe.task.collator(tokenizer)
        job = jobs.made(model, tokenizer, encoded, collate, settings, Path(checkpoints))
        config.fit(job, Ddp())
    seconds = time.perf_counter() - clock
    config.save(model, tokenizer, target)
    return {"accuracy": _accuracy(target / "model", test), "trained": trained, "seconds": seconds}


def _accuracy(folder: Path, test: list[dict[str, str]]) -> tuple[float, float]:
    """Share of right answers, and half of its 95 % interval."""
    task = load()[0].task
    ask = task.predictor(folder, 96)
    texts = [row["text"] for row in test]
    said = [n for start in range(0, len(texts), 32) for n in ask(texts[start : start + 32]).argmax(-1).tolist()]
    share = sum(task.labels[n] == row["label"] for n, row in zip(said, test, strict=True)) / len(test)
    return share, 1.96 * (share * (1 - share) / len(test)) ** 0.5


def _share(accuracy: tuple[float, float]) -> str:
    return f"{accuracy[0]:.3f} ± {accuracy[1]:.3f}"


def _line(name: str, found: dict[str, Any]) -> str:
    return f"{name:<28}{_share(found['accuracy']):<16}{found['trained']:>16,}{found['seconds']:>9.1f}"
