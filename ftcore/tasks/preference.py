"""Score an answer as people would: the higher, the better they would like it. A model of this task is a reward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ftcore.data.conversations import templates
from ftcore.models import loading
from ftcore.models.features import Collator, Features
from ftcore.models.outputs import examples
from ftcore.recipe.kinds import Config as Base
from ftcore.tasks import _conversations, _language, chat

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Faults
    from ftcore.data.conversations.turns import Turn
    from ftcore.models.outputs import Example, Text
    from ftcore.statistics.intervals import Better

EXAMPLE = {"kind": "preference"}
ROW = {
    "text": [{"role": "user", "content": "Which door is mine?"}],
    "context": "You answer briefly.",
    "label": "The red one.",
    "rejected": "Find out yourself.",
}
"""A row that the task takes, as a line of JSON."""
TARGET = "text"
GENERATIVE = False
PREDICTION_COLUMNS = {"text": "text", "score": "num"}
CHOOSES = False
STRUCTURES = ("text", "context", "label", "rejected")
"""Fields that may be a list or an object in the source; they reach ``parse_rows`` as JSON."""
METRICS: dict[str, Better] = {"preferred": "higher", "margin": "higher"}


class Config(Base):
    """A row's ``text`` is what was asked, ``label`` the answer people liked, ``rejected`` one they liked less.

    The method ``reward`` learns from the pairs. Other methods learn a score of 1 for good answers and 0 for worse ones.
    """

    kind: Literal["preference"] = "preference"
    system: str = ""
    """System prompt of rows without a context."""


parse_rows, clean_rows = _conversations.parse_scored, _conversations.clean_rows
check_rows, check_requests = _conversations.check_pairs, _conversations.check_requests


def load(config: Config, base: Path) -> PreTrainedModel:
    """The base model with a head of one output; safetensors only, no remote code."""
    from transformers import AutoModelForSequenceClassification

    del config
    return loading.pretrained(AutoModelForSequenceClassification, base, num_labels=1)


def check(config: Config, rows: Mapping[str, pa.Table]) -> None:
    """Whether there are answers to score.

    Raises:
        NotEnoughDataError: a split has no row.
        DataRejectedError: rows have no answer.
    """
    del config
    _language.wanted(rows, ["text", "label", "rejected"])


def encode(config: Config, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
    """Each conversation twice: with the good answer, to score 1, and with the worse one, to score 0.

    Where one is too long its beginning is cut.
    """
    columns: dict[str, list[Any]] = {"input_ids": [], "labels": []}
    owners, truncated = [], 0
    names = ("row_id", "text", "context", "label", "rejected")
    for row_id, text, context, good, worse in zip(*(rows[name].to_pylist() for name in names), strict=True):
        for answer, score in ((good, 1.0), (worse, 0.0)):
            ids = _ids(config, tokenizer, examples([text])[0]._replace(context=context, answer=answer))
            truncated += len(ids) > max_length_tokens
            columns["input_ids"].append(ids[-max_length_tokens:])
            columns["labels"].append(score)
            owners.append(row_id)
    return Features(columns, owners, truncated)


def collator(config: Config, tokenizer: PreTrainedTokenizerBase) -> Collator:
    """Pads on the right, since the head reads the last token."""
    from transformers import DataCollatorWithPadding

    del config
    tokenizer.padding_side = "right"
    padded: Collator = DataCollatorWithPadding(tokenizer)
    return padded


def predictor(config: Config, folder: Path, max_length_tokens: int) -> Callable[[Sequence[Text]], np.ndarray]:
    """Torch predictions of a saved model.

    Returns:
        A function from rows to ``[rows, 2]``: the score of the answer, and of the worse one, NaN where there is none.
        A row without an answer is a conversation whose last turn is scored.
    """
    import numpy as np
    import torch

    from ftcore.models.loading import tokenizer as load_tokenizer

    words, model = load_tokenizer(folder), load(config, folder).eval()
    words.padding_side = "right"
    model.config.pad_token_id = words.pad_token_id

    def predict(texts: Sequence[Text]) -> np.ndarray:
        rows = examples(texts)
        found = np.full((len(rows), 2), np.nan, np.float32)
        asked = [(number, 0, one) for number, one in enumerate(rows)]
        asked += [(number, 1, one._replace(answer=one.rejected)) for number, one in enumerate(rows) if one.rejected]
        cut = [_ids(config, words, one)[-max_length_tokens:] for _, _, one in asked]
        if cut:
            with torch.inference_mode():
                scores = model(**words.pad({"input_ids": cut}, return_tensors="pt")).logits[:, 0].float().numpy()
            for (number, side, _), score in zip(asked, scores, strict=True):
                found[number, side] = score
        return found

    return predict


def answers(config: Config, outputs: np.ndarray) -> tuple[list[str], np.ndarray]:
    """No label, and the score."""
    del config
    return [""] * len(outputs), outputs[:, 0]


valid = _language.valid


def tallies(config: Config, rows: pa.Table, outputs: np.ndarray) -> np.ndarray:
    """Whether the good answer scores higher, by how much, and a one, of each row with a worse answer, ``[rows, 3]``."""
    import numpy as np

    del config, rows
    if not len(outputs):
        return np.zeros((0, 3))
    apart = np.asarray(outputs, float).reshape(-1, 2) @ [1.0, -1.0]
    known = ~np.isnan(apart)
    return np.where(known[:, None], np.column_stack([apart > 0, apart, known]), 0.0)


def metrics(config: Config, sums: np.ndarray) -> dict[str, np.ndarray]:
    """Share of the pairs whose good answer scores higher, and by how much in the mean."""
    import numpy as np

    del config
    pairs = np.where(sums[..., 2] > 0, sums[..., 2], np.nan)
    return {"preferred": sums[..., 0] / pairs, "margin": sums[..., 1] / pairs}


def prompt(config: Config, one: Example) -> list[Turn]:
    """A row as a conversation, without its answer."""
    return chat.prompt(chat.Config(system=config.system), one)


def unreadable(config: Config, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Text]) -> Faults:
    """Rows that the base model's template refuses with one of their answers, and why."""
    own, every = chat.Config(system=config.system), examples(rows)
    worse = {place: one._replace(answer=one.rejected) for place, one in enumerate(every) if one.rejected}
    found = chat.unreadable(own, tokenizer, list(worse.values()))
    return {list(worse)[place]: why for place, why in found.items()} | chat.unreadable(own, tokenizer, every)


def _ids(config: Config, tokenizer: PreTrainedTokenizerBase, one: Example) -> list[int]:
    asked = chat.turns(chat.Config(system=config.system), one)
    if one.answer is not None:
        asked = [*asked, {"role": "assistant", "content": one.answer}]
    text = templates.render(templates.templated(tokenizer), asked, ask=False)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
