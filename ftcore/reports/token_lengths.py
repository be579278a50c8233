"""Tokens of a recipe's texts, by the tokenizer of its base model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ftcore.context import Context
from ftcore.errors import FtcoreError
from ftcore.models import base, window
from ftcore.models.outputs import given
from ftcore.store.store import read_json

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

UNCUT = 10**6
"""Tokens that no text has."""


def of(context: Context, rows: pa.Table) -> dict[str, Any] | None:
    """What ``train.max_length_tokens`` cuts of rows, see ``window.cuts``; None where the base model is not here."""
    from ftcore.models import loading
    from ftcore.models.features import tokenize

    recipe = context.recipe
    if not rows.num_rows:
        return None
    try:
        folder = base.resolve(recipe.base, context.settings, context.recipe_path.parent, weights=False)
        words = loading.tokenizer(folder)
    except (FtcoreError, OSError, ValueError) as error:
        log.info("tokens are not counted: %s", error)
        return None
    try:  # as the task lays a row out, with its prompts and templates
        lengths = recipe.task.encode(words, rows, UNCUT).lengths
    except (FtcoreError, KeyError, ValueError, TypeError, AttributeError):  # raw rows may be none of the task's
        lengths = [len(ids) for ids in tokenize(words, given(rows), UNCUT)[0]]
    config, settings = (read_json(folder / name) or {} for name in ("config.json", "tokenizer_config.json"))
    return window.cuts(lengths, recipe.train.max_length_tokens, window.of(config, settings))
