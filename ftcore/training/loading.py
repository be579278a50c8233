"""Base model and tokenizer, or a clear word on why they cannot be trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ftcore.errors import DataRejectedError, TrainingError

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.training.features import Features


def tokenizer(base: Path) -> PreTrainedTokenizerBase:
    """The base model's tokenizer; one without a token for padding pads with its end of text.

    Raises:
        TrainingError: there is none, it needs code of its own, or it has neither token.
    """
    from transformers import AutoTokenizer

    try:
        found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(
            f"the tokenizer in {base} cannot be loaded: {error}", hint="it needs tokenizer.json"
        ) from error
    if found.pad_token_id is None:
        if found.eos_token_id is None:
            raise TrainingError(
                f"the tokenizer in {base} has no token for padding and none for the end of a text",
                hint="set pad_token in its tokenizer_config.json",
            )
        found.pad_token = found.eos_token
    return found


def model(load: Callable[[], PreTrainedModel], base: Path, words: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The model that ``load`` makes from ``base``, with the tokenizer's token for padding.

    Raises:
        TrainingError: it needs code of its own, is of no known architecture, or its weights are no safetensors.
    """
    try:
        made = load()
    except (OSError, ValueError, KeyError) as error:
        remote = "trust_remote_code" in str(error) or "custom code" in str(error)
        hint = "models with code of their own are not run; take one that transformers knows" if remote else ""
        raise TrainingError(f"the base model in {base} cannot be loaded: {error}", hint=hint) from error
    made.config.pad_token_id = words.pad_token_id
    return made


def window(made: PreTrainedModel, max_length_tokens: int) -> None:
    """Check that the longest rows allowed fit into the model.

    Raises:
        TrainingError: they do not.
    """
    positions = getattr(made.config, "max_position_embeddings", None)
    if positions and max_length_tokens > positions:
        raise TrainingError(
            f"train.max_length_tokens is {max_length_tokens}, the base model reads {positions} at most",
            hint=f"set it to {positions} or less",
        )


def whole_enough(rows: Features, split: str, limit: int, most: float) -> None:
    """Check that not too many rows were cut.

    Raises:
        DataRejectedError: a larger share than ``most`` was cut to ``limit`` tokens.
    """
    if rows.truncated > most * max(len(rows), 1):
        raise DataRejectedError(
            f"{rows.truncated:,} of {len(rows):,} rows of the {split} split are longer than {limit} tokens, "
            f"{most:.0%} may be",
            hint="raise train.max_length_tokens, or train.max_truncated where the rest does not matter",
        )
