"""What a model must beat to be worth its cost: the commonest label, a linear model over words, or its own base."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftcore import base
from ftcore._find import find
from ftcore.serving.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    import pyarrow as pa

    from ftcore.outputs import Outputs, Text
    from ftcore.recipe import Recipe
    from ftcore.settings import Settings

BASELINES = ("majority", "linear", "untrained")
MOST_ROWS = 20_000
"""Training rows that the linear model learns from."""


def of(recipe: Recipe, train: Callable[[], pa.Table], rows: pa.Table) -> dict[str, Outputs]:
    """What ``predict`` says of rows whose task, or part of a task, is to choose a label; nothing where there is none.

    Args:
        recipe: of the model.
        train: reads the training rows, with ``text``, ``label`` and ``source``.
        rows: to predict, with ``text`` and ``source``.
    """
    seed = recipe.train.seed
    if not recipe.parts:
        if find("tasks", recipe.task.kind).TARGET != "label":
            return {}
        return dict(predict(train(), rows["text"].to_pylist(), recipe.task.labels, seed))
    found: dict[str, Outputs] = {}
    taught: pa.Table | None = None
    for name, part in recipe.task.parts.items():  # type: ignore[attr-defined]
        places = [n for n, source in enumerate(rows["source"].to_pylist()) if recipe.task_of(source) == part]
        if find("tasks", part.kind).TARGET != "label" or not places:
            continue
        taught = taught if taught is not None else train()
        mine = taught.take(
            [n for n, source in enumerate(taught["source"].to_pylist()) if recipe.task_of(source) == part]
        )
        for baseline, said in predict(mine, rows["text"].take(places).to_pylist(), part.labels, seed).items():
            into = found.setdefault(baseline, [dict.fromkeys(recipe.parts) for _ in range(rows.num_rows)])
            for place, one in zip(places, said.tolist(), strict=True):
                into[place][name] = one
    return found


def predict(train: pa.Table, texts: Sequence[str], labels: Sequence[str], seed: int) -> dict[str, np.ndarray]:
    """Probabilities ``[texts, labels]`` of the ``majority`` of the training rows and of ``linear``.

    ``linear`` is logistic regression over TF-IDF of words and pairs of words; it is left out where the training rows
    have one label only, or no words.
    """
    import numpy as np

    number = {label: place for place, label in enumerate(labels)}
    rows = np.random.default_rng(seed).permutation(train.num_rows)[:MOST_ROWS]
    sample = train.select(["text", "label"]).take(rows)
    given = np.array([number[label] for label in sample["label"].to_pylist()], int)
    shares = np.bincount(given, minlength=len(labels)) / max(len(given), 1)
    made = {"majority": np.tile(shares, (len(texts), 1)).astype(np.float32)}
    if len(set(given.tolist())) > 1:
        linear = _linear(sample["text"].to_pylist(), given, texts, seed)
        if linear is not None:
            made["linear"] = np.zeros((len(texts), len(labels)), np.float32)
            made["linear"][:, np.unique(given)] = linear
    return made


def untrained(recipe: Recipe, settings: Settings, folder: Path, texts: Sequence[Text]) -> Outputs:
    """What the base model says before any training, where the task is one that it can do already.

    Args:
        recipe: of the model.
        settings: tell where base models are.
        folder: relative paths of the recipe start here.
        texts: rows as the task's model takes them.
    """
    found = base.resolve(recipe.base, settings, folder)
    predict = find("tasks", recipe.task.kind).predictor(recipe.task, found, recipe.train.max_length_tokens)
    return Model(0, "untrained", (), predict).outputs(texts)


def _linear(texts: Sequence[str], given: np.ndarray, wanted: Sequence[str], seed: int) -> np.ndarray | None:
    """Probabilities of the labels that occur, ``[wanted, labels there]``; None where no text has a word."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=200_000)
    try:
        seen = words.fit_transform(texts)
    except ValueError:  # an empty vocabulary
        return None
    model = LogisticRegression(max_iter=200, random_state=seed).fit(seen, given)
    return model.predict_proba(words.transform(list(wanted)))  # type: ignore[no-any-return]
