"""Base model and tokenizer, or a clear word on why they cannot be trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ftcore.errors import DataRejectedError, TrainingError
from ftcore.models.window import of as window_of

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.models.features import Features


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


@contextmanager
def quietly() -> Iterator[None]:
    """Without transformers' table of weights that are missing: a fresh head is what was wanted, the rest is checked."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def pretrained(kind: Any, base: Any, *, headless: bool = True, **settings: Any) -> PreTrainedModel:
    """A base model with its weights in float32; safetensors only, no remote code.

    Args:
        kind: one of transformers' classes for loading, such as ``AutoModelForCausalLM``.
        base: its folder.
        headless: whether a head may be fresh, whatever head the base came with; else all weights must be there.
        settings: what else the class is told, such as the labels of the head.

    Raises:
        TrainingError: weights are missing or of another shape, which transformers would draw at random.
    """
    with quietly():
        made, told = kind.from_pretrained(
            base,
            **settings,
            use_safetensors=True,
            trust_remote_code=False,
            dtype="float32",
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    lacking = {*told["missing_keys"], *(name for name, *_ in told["mismatched_keys"])}
    body = f"{made.base_model_prefix}."
    # What pools the tokens is part of some heads, whatever its name says.
    lost = sorted(name for name in lacking if not headless or (name.startswith(body) and ".pooler." not in name))
    if lost:
        raise TrainingError(
            f"the base model in {base} lacks {len(lost)} of its weights, or has them in another shape: "
            f"{', '.join(lost[:3])}{' …' if len(lost) > 3 else ''}",
            hint="fetch it again; what lacks would start at random",
        )
    whole: PreTrainedModel = made
    return whole


def model(load: Callable[[], PreTrainedModel], base: Path, words: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The model that ``load`` makes from ``base``, with the tokenizer's token for padding.

    Raises:
        TrainingError: it needs code of its own, is of no known architecture, or its weights are no safetensors or
            damaged.
    """
    from safetensors import SafetensorError

    try:
        made = load()
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
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
    most = window_of(made.config.to_dict())
    if most and max_length_tokens > most:
        raise TrainingError(
            f"train.max_length_tokens is {max_length_tokens}, the base model reads {most} tokens at most",
            hint=f"set it to {most} or less",
        )


def whole_enough(rows: Features, split: str, limit: int, most: float) -> None:
    """Check that not too many rows were cut.

    Raises:
        DataRejectedError: surely a larger share than ``most`` was cut to ``limit`` tokens.
    """
    if surely_more(rows.truncated, len(rows), most):
        raise DataRejectedError(
            f"{rows.truncated:,} of {len(rows):,} rows of the {split} split are longer than {limit} tokens, "
            f"{most:.0%} may be",
            hint="raise train.max_length_tokens, or train.max_truncated where the rest does not matter",
        )


def surely_more(out: int, rows: int, most: float) -> bool:
    """Whether more than a share of rows is out, by three standard errors of that share.

    A few rows, or a sample, tell a share only roughly: no small split stops a training by the luck of the draw.
    """
    return bool(out > most * rows + 3 * (most * (1 - most) * rows) ** 0.5)
