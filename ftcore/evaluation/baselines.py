"""What a model must beat to be worth its cost: the commonest label, a linear model over words, or its own base."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ftcore.models import base
from ftcore.progress import busy, progress
from ftcore.serving.model import Model
from ftcore.statistics.intervals import values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    import pyarrow as pa

    from ftcore.models.outputs import Outputs, Text
    from ftcore.recipe.model import Recipe
    from ftcore.recipe.sections import Task
    from ftcore.settings import Settings

log = logging.getLogger(__name__)

BASELINES = ("majority", "linear", "untrained")
MOST_ROWS = 20_000
"""Training rows that the linear model learns from, and validation rows that choose its strength."""
STRENGTHS = (1.0, 10.0, 100.0)
"""Inverse regularisation strengths that are tried: the default of scikit-learn is far too low for rare labels."""


def of(recipe: Recipe, read: Callable[[str], pa.Table], rows: pa.Table) -> dict[str, Outputs]:
    """What ``predict`` says of rows whose task, or part of a task, is to choose a label; nothing where there is none.

    Args:
        recipe: of the model.
        read: reads the rows of a split, with ``text``, ``label`` and ``source``.
        rows: to predict, with ``text`` and ``source``.
    """
    seed = recipe.train.seed
    if not recipe.parts:
        if recipe.task.TARGET != "label":
            return {}
        return dict(predict(read("train"), read("validation"), rows["text"].to_pylist(), recipe.task, seed))
    found: dict[str, Outputs] = {}
    taught: tuple[pa.Table, ...] = ()
    for name, part in recipe.task.parts.items():
        places = _of_part(recipe, rows, part)
        if part.TARGET != "label" or not len(places):
            continue
        taught = taught or (read("train"), read("validation"))
        train, validation = (table.take(_of_part(recipe, table, part)) for table in taught)
        texts = rows["text"].take(places).to_pylist()
        for baseline, said in predict(train, validation, texts, part, seed).items():
            into = found.setdefault(baseline, [dict.fromkeys(recipe.parts) for _ in range(rows.num_rows)])
            for place, one in zip(places.to_pylist(), said.tolist(), strict=True):
                into[place][name] = one
    return found


def predict(
    train: pa.Table, validation: pa.Table, texts: Sequence[str], task: Task, seed: int
) -> dict[str, np.ndarray]:
    """Probabilities ``[texts, labels]`` of the ``majority`` of the training rows and of ``linear``.

    ``linear`` is logistic regression over TF-IDF of words and pairs of words, with the inverse regularisation strength
    of ``STRENGTHS`` that has the best first metric of the task on the validation rows; it is left out where the
    training rows have one label only, or no words.
    """
    import numpy as np

    labels = task.labels
    number = {label: place for place, label in enumerate(labels)}
    rows = np.random.default_rng(seed).permutation(train.num_rows)[:MOST_ROWS]
    sample = train.select(["text", "label"]).take(rows)
    given = np.array([number[label] for label in sample["label"].to_pylist()], int)
    shares = np.bincount(given, minlength=len(labels)) / max(len(given), 1)
    made = {"majority": np.tile(shares, (len(texts), 1)).astype(np.float32)}
    with busy("counting words for the linear baseline", at_once=False):
        vectorizer, seen = _words(sample["text"].to_pylist())
    if seen is not None and len(set(given.tolist())) > 1:
        model = _best(task, (seen, given), (vectorizer, validation.slice(0, MOST_ROWS)), seed)
        made["linear"] = np.zeros((len(texts), len(labels)), np.float32)
        if len(texts):
            made["linear"] = _probabilities(model, vectorizer.transform(list(texts)), len(labels))
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
    predict = recipe.task.predictor(found, recipe.train.max_length_tokens)
    with progress("the base model, untrained", len(texts)) as advance:
        return Model(0, "untrained", (), predict).outputs(texts, advance)


def _of_part(recipe: Recipe, rows: pa.Table, part: Task) -> pa.Array:
    """Positions of the rows that belong to a part."""
    import pyarrow as pa

    mine = (place for place, source in enumerate(rows["source"].to_pylist()) if recipe.task_of(source) == part)
    return pa.array(list(mine), pa.int64())


def _words(texts: Sequence[str]) -> tuple[Any, Any]:
    """TF-IDF of words and pairs of words that at least two texts have, and its matrix; None where there is no word."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    for fewest in (2, 1):
        words = TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, max_features=200_000, min_df=fewest, dtype=np.float32
        )
        try:
            return words, words.fit_transform(texts)
        except ValueError:  # an empty vocabulary
            continue
    return None, None


def _best(task: Task, train: tuple[Any, np.ndarray], validation: tuple[Any, pa.Table], seed: int) -> Any:
    """The model with the strength that is best on the validation rows; the search ends at the first that is worse."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    metric, better = next(iter(task.METRICS.items()))
    vectorizer, rows = validation
    matrix = vectorizer.transform(rows["text"].to_pylist()) if rows.num_rows else None
    best: Any = None
    reached = -np.inf
    with progress("fitting the linear baseline", len(STRENGTHS)) as advance:
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, max_iter=200, random_state=seed).fit(*train)
            if not rows.num_rows:
                return model
            said = _probabilities(model, matrix, len(task.labels))
            value = float(values(task.metrics, task.tallies(rows, said).sum(0)[None])[metric][0])
            value = value if better == "higher" else -value
            if best is not None and not value > reached:
                break
            best, reached = model, value
            advance(note=f"C={strength:g}")
    log.info("linear baseline: C=%g, %s %.3f on %s validation rows", best.C, metric, abs(reached), f"{rows.num_rows:,}")
    return best


def _probabilities(model: Any, matrix: Any, labels: int) -> np.ndarray:
    """Probabilities ``[rows, labels]``; 0 for labels without a training row."""
    import numpy as np

    made = np.zeros((matrix.shape[0], labels), np.float32)
    made[:, model.classes_] = model.predict_proba(matrix)
    return made
