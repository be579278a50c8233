"""Texts as people also write them: with typing errors, in capitals, without punctuation."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ftcore.evaluation import measures
from ftcore.evaluation.predictions import given
from ftcore.progress import progress
from ftcore.serving.model import Model

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.models.outputs import Outputs
    from ftcore.recipe.model import Recipe

PUNCTUATION = str.maketrans("", "", string.punctuation + "‘’“”–—…")


def typos(text: str, chance: random.Random) -> str:
    """One word in six, and at least one, has two letters swapped, one doubled or one missing."""
    words = text.split(" ")
    long = [place for place, word in enumerate(words) if len(word) > 3]
    for place in chance.sample(long, min(len(long), max(1, len(long) // 6))):
        word = words[place]
        at = chance.randrange(1, len(word) - 1)
        swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        words[place] = chance.choice([swapped, word[:at] + word[at] + word[at:], word[:at] + word[at + 1 :]])
    return " ".join(words)


def case(text: str, chance: random.Random) -> str:
    """All capitals or none."""
    return text.upper() if chance.random() < 0.5 else text.lower()


def punctuation(text: str, chance: random.Random) -> str:
    """No punctuation; a text that is nothing else stays."""
    return " ".join(text.translate(PUNCTUATION).split()) or text


PERTURBATIONS: dict[str, Callable[[str, random.Random], str]] = {
    "typos": typos,
    "case": case,
    "punctuation": punctuation,
}


def perturb(name: str, texts: list[str], seed: int) -> list[str]:
    """Texts changed in one way; the same seed gives the same texts."""
    return [PERTURBATIONS[name](text, random.Random(f"{seed}\x00{name}\x00{text}")) for text in texts]  # noqa: S311


def changes(recipe: Recipe, model: Model, rows: pa.Table, plain: Outputs) -> dict[str, Any]:
    """By perturbation and metric, what it is on perturbed rows less what it is on the same rows as they are.

    Args:
        recipe: of the model.
        model: what predicts.
        rows: some test rows.
        plain: what the model says about them.
    """
    import numpy as np
    import pyarrow as pa

    task, seed = recipe.task, recipe.train.seed
    before, everything = task.tallies(rows, plain), np.ones(rows.num_rows, bool)
    found = {}
    for name in PERTURBATIONS:
        texts = pa.array(perturb(name, rows["text"].to_pylist(), seed), pa.string())
        changed = rows.set_column(rows.column_names.index("text"), "text", texts)
        with progress(f"test rows with other {name}", rows.num_rows) as advance:
            said = model.outputs(given(recipe, changed), advance)
        after = task.tallies(rows, said)
        judged = measures.Judged.of(recipe, rows, {("plain", ""): before, ("perturbed", ""): after})
        found[name] = judged.told(judged.apart(("plain", ""), ("perturbed", ""), everything), everything)
    return found
