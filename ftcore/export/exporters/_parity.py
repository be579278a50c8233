"""Proof that an export computes what the model does, and for each row the same whatever else is in its batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftcore.errors import ParityError
from ftcore.models.outputs import Sample, examples

if TYPE_CHECKING:
    import numpy as np
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from ftcore.models.outputs import Text

    Run = Callable[[Sequence[Text]], Mapping[str, np.ndarray]]

TOLERANCE = 1e-3
"""Largest difference of an output in float32, absolute, or relative where outputs are larger than 1."""
ROWS = 16
"""Texts of a proof: enough for lengths from the shortest to the longest."""
SHOWN = 5
PADDING = "check pad_token in tokenizer_config.json and pad_token_id in config.json of the base model"
TRANSLATION = "serve torch: without exports in the recipe it does; or take a base model of another architecture"
TEXTS = (
    "Short.",
    "A sentence that is quite a bit longer than the first one, so that padding is needed.",
    "Two sentences. The second one ends here.",
    "No",
    "1, 2, 3: numbers and punctuation; and then, after a while, some more of the same, until the row is long.",
)
"""For an export that is given no rows."""


def mixed(sample: Sample) -> Sample:
    """At most ``ROWS`` of a sample, of lengths spread from the shortest to the longest."""
    lengths = [len(one.text) + len(one.context or "") for one in examples(sample.texts)]
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    count = min(ROWS, len(order))
    places = sorted({order[number * (len(order) - 1) // max(count - 1, 1)] for number in range(count)})
    names = list(sample.row_ids) or [f"text {number}" for number in range(1, len(lengths) + 1)]
    return Sample([sample.texts[n] for n in places], [names[n] for n in places], sample.max_length_tokens)


def torch_outputs(model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int) -> Run:
    """The model itself in the form of an export: texts to outputs by name, ``[texts, …]``."""
    import torch

    from ftcore.models.features import tokens

    def run(texts: Sequence[Text]) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            made = model(**tokens(model, tokenizer, texts, max_length_tokens))
        if hasattr(made, "logits"):  # of a plain model; a task of several parts has an output for each
            return {"logits": made.logits.float().numpy()}
        return {f"{part}.logits": one["logits"].float().numpy() for part, one in made.items()}

    return run


def prove(name: str, run: Run, model: Run, sample: Sample, *, exact: bool) -> None:
    """Check that each row gets its own outputs.

    Args:
        name: of the export, for messages.
        run: the export.
        model: the model that was exported: see ``torch_outputs``.
        sample: rows of mixed lengths, with their names.
        exact: whether the export computes in the model's precision, so that its outputs must be the model's.

    Raises:
        ParityError: the model, or the export, gives a row other outputs in a batch of mixed lengths than alone, or an
            exact export gives other outputs than the model. It names the rows and the largest difference.
    """
    texts = list(sample.texts)
    alone = _alone(run, texts)
    if exact:
        right = _alone(model, texts)
        _check(f"{name} and torch, each row alone,", sample, alone, right, TRANSLATION)
        _check("torch in a batch of mixed lengths, and alone", sample, model(texts), right, PADDING)
    _check(f"{name} in a batch of mixed lengths, and alone", sample, run(texts), alone, PADDING)


def _alone(run: Run, texts: Sequence[Text]) -> dict[str, np.ndarray]:
    import numpy as np

    each = [run([text]) for text in texts]
    return {name: np.concatenate([one[name] for one in each]) for name in each[0]}


def _check(what: str, sample: Sample, one: Mapping[str, Any], other: Mapping[str, Any], hint: str) -> None:
    import numpy as np

    off = np.zeros(len(sample.texts))
    for name, values in one.items():
        apart = np.abs(np.asarray(values, np.float64) - other[name]) / np.maximum(1, np.abs(other[name]))
        off = np.maximum(off, np.nan_to_num(apart.reshape(len(off), -1).max(-1), nan=np.inf))
    if len(wrong := np.flatnonzero(off > TOLERANCE)):
        worst = wrong[np.argsort(-off[wrong], kind="stable")]
        rows = ", ".join(f"{sample.row_ids[n]} ({off[n]:.4g})" for n in worst[:SHOWN])
        raise ParityError(
            f"{what} differ on {len(wrong)} of {len(off)} rows by more than {TOLERANCE:g}: {rows}"
            f"{' …' if len(wrong) > SHOWN else ''}",
            hint=hint,
        )
