"""What a model of this task does, in one sentence: it is what `ftcore ls` shows.

A task whose model writes may have ``prompt(config, one)``, which makes of an ``Example`` what the model is asked: a
text, or a conversation. Methods that learn from preferences and rewards need it. ``STRUCTURES``
names the fields that may be a list or an object in a source: they reach ``parse_rows`` as JSON. ``ARCHITECTURE`` names
the class of transformers that ``load`` takes, by which the plan counts; without it,
``AutoModelForSequenceClassification``.

``check_requests(config, rows)`` says of rows without labels which ones its model cannot be asked, and
``unreadable(config, tokenizer, rows)`` which examples a base model cannot be given, such as those that its chat
template refuses: such rows are left out by name.

A task that exporters can hold has ``outputs(config, logits)``, which makes of an export's ``[rows, …]`` what
``predictor`` gives. Of several parts it has ``exportable(config, folder)``, the saved model with outputs by name, and
``exported(config, run)``, which makes a predictor of texts to outputs by name.

A task that may be a part of ``multitask`` says in ``STANDS_ON`` what its models are built on (``encoder``, ``causal``,
``encoder_decoder``) and has ``reader(config, model, tokenizer, max_length_tokens)``: ``predictor`` of a model that is
loaded already. One whose loss does not choose among answers, for a row or a token, says ``CHOOSES = False``: it has no
label smoothing. One whose predictions fill other columns of the prediction log than others of its ``TARGET`` (see
``detectors/_columns.py``) has ``PREDICTION_COLUMNS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore.errors import NotEnoughDataError
from ftcore.models import loading
from ftcore.models.features import Collator, Features, tokenize
from ftcore.models.outputs import given
from ftcore.recipe.kinds import Config as Base
from ftcore.tasks import _rows

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Editor, Faults, Rows
    from ftcore.models.outputs import Outputs, Text
    from ftcore.statistics.intervals import Better

EXAMPLE = {"kind": "NAME", "labels": ["a", "b"]}
ROW = {"text": "what the model reads", "context": None, "label": "a"}
"""A row that ``EXAMPLE`` takes, as a line of JSON: ``ftcore ls NAME`` shows it."""
TARGET = "label"
"""What the label of a row is: ``label`` one of the task's labels, ``labels`` any of them, ``number`` a number, ``text``
a text that somebody wrote, ``none`` where the text itself is learnt."""
GENERATIVE = False
"""Whether base models can do this task before any training, so that the base is what the first version must beat."""
METRICS: dict[str, Better] = {"accuracy": "higher"}
"""Every metric, the one that is reported first, and which way each improves."""


class Config(Base):
    """What a recipe says about this task."""

    kind: Literal["NAME"] = "NAME"
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    """Label names in the order of the model's outputs."""


def parse_rows(config: Config, rows: Rows) -> Faults:
    """Bring what a source wrote into the task's own form, in place; say of each row that cannot be read why not.

    Doing it twice must change nothing: rows of an earlier snapshot come here again.
    """
    return _rows.parse_rows(config, rows)


def clean_rows(config: Config, rows: Rows, editor: Editor) -> None:
    """Clean each piece that people wrote, in place; what belongs together stays aligned."""
    _rows.clean_chosen(config, rows, editor)


def check_rows(config: Config, rows: Rows) -> Faults:
    """Say of each cleaned row that cannot be used why not, with the value that is wrong as ``repr``."""
    return {place: f"{label!r} is no label" for place, label in enumerate(rows.label) if label not in config.labels}


def load(config: Config, base: Path) -> PreTrainedModel:
    """The base model with a head for this task; safetensors only, no remote code."""
    from transformers import AutoModelForSequenceClassification

    return loading.pretrained(AutoModelForSequenceClassification, base, num_labels=len(config.labels))


def check(config: Config, rows: Mapping[str, pa.Table]) -> None:
    """Whether the splits, ``train`` and ``validation``, are enough to learn from; says what is missing where not."""
    for split, table in rows.items():
        if not set(config.labels) <= set(table["label"].to_pylist()):
            raise NotEnoughDataError(f"the {split} split lacks a label", hint="add rows with it")


def encode(config: Config, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
    """What the model reads and what it is to answer, not padded; label a token ``IGNORED`` to take no loss on it."""
    ids, truncated = tokenize(tokenizer, given(rows), max_length_tokens)
    labels = [config.labels.index(label) for label in rows["label"].to_pylist()]
    return Features({"input_ids": ids, "labels": labels}, rows["row_id"].to_pylist(), truncated)


def collator(config: Config, tokenizer: PreTrainedTokenizerBase) -> Collator:
    """Pads a list of encoded rows to one length and makes tensors of them, with the attention mask."""
    from transformers import DataCollatorWithPadding

    del config
    padded: Collator = DataCollatorWithPadding(tokenizer)
    return padded


def predictor(config: Config, folder: Path, max_length_tokens: int) -> Callable[[Sequence[Text]], Outputs]:
    """Torch predictions of a saved model: texts to outputs, a row each: see ``ftcore.outputs`` for what they may be."""
    raise LookupError(f"say how {config.kind} predicts from {folder} with at most {max_length_tokens} tokens")


def answers(config: Config, outputs: Outputs) -> tuple[list[str], np.ndarray]:
    """What the prediction log says of each row: a label or text, and how sure the model is, NaN where nobody knows."""
    import numpy as np

    return [config.labels[number] for number in np.argmax(outputs, -1)], np.max(outputs, -1)


def valid(config: Config, label: str | None) -> bool:
    """Whether a row with this label can be learnt from and judged on."""
    return label in config.labels


def tallies(config: Config, rows: pa.Table, outputs: Outputs) -> np.ndarray:
    """What each row adds to the sums that ``metrics`` needs, ``[rows, k]``: counts, sums of scores or squares.

    ``rows`` has the columns ``row_id``, ``text``, ``context``, ``label``, ``rejected``, ``source`` and ``dataset``.
    """
    import numpy as np

    truth = np.array([config.labels.index(label) for label in rows["label"].to_pylist()])
    return np.stack([np.argmax(outputs, -1) == truth, np.ones(len(truth))], axis=-1)


def metrics(config: Config, sums: np.ndarray) -> dict[str, np.ndarray]:
    """Each of ``METRICS``, ``[…]``, from sums of tallies, ``[…, k]``; NaN where it is not defined."""
    return {"accuracy": sums[..., 0] / sums[..., 1]}
