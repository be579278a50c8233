"""What a task is: what its rows mean, how its model is built, read and judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ftcore.data.cleaning.rows import Plain
from ftcore.errors import TrainingError
from ftcore.recipe.kinds import Config, FieldDefault

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Editor, Faults, Rows
    from ftcore.data.conversations.turns import Turn
    from ftcore.models.features import Collator, Features
    from ftcore.models.outputs import Example, Outputs, Text
    from ftcore.recipe.model import Recipe
    from ftcore.statistics.intervals import Better


class Task(Config, ABC):
    """An ML task: the fields are what a recipe may say, the methods what the platform does for it."""

    EXAMPLE: ClassVar[Mapping[str, Any]]
    """What a recipe may say, valid as it is; tests, documentation and ``ftcore ls`` use it."""
    ROW: ClassVar[Mapping[str, Any]]
    """A row that ``EXAMPLE`` takes, as a line of JSON: ``ftcore ls NAME`` shows it."""
    TARGET: ClassVar[Literal["label", "labels", "number", "text", "none"]] = "label"
    """What the label of a row is: ``label`` one of the task's labels, ``labels`` any of them, ``number`` a number,
    ``text`` a text that somebody wrote, ``none`` where the text itself is trained on."""
    METRICS: ClassVar[Mapping[str, Better]] = {}
    """Every metric, the one that is reported first, and which way each improves; empty where ``better`` depends on the
    recipe."""
    GENERATIVE: ClassVar[bool] = False
    """Whether base models can do this task before any training: then the base is what the first version must beat."""
    BACKBONE: ClassVar[Literal["", "encoder", "causal", "encoder_decoder"]] = ""
    """What its models are built on; a task that does not say cannot be a part of ``multitask``."""
    ARCHITECTURE: ClassVar[str] = "AutoModelForSequenceClassification"
    """The class of transformers that ``load`` takes, by which the plan counts."""
    STRUCTURES: ClassVar[tuple[str, ...]] = ()
    """Fields that may be a list or an object in a source; they reach ``parse_rows`` as JSON."""
    SUPPORTS_LABEL_SMOOTHING: ClassVar[bool] = True
    """Whether the loss chooses among answers, for a row or a token; without it there is no label smoothing."""
    TEMPLATED: ClassVar[bool] = False
    """Whether ``unreadable`` may find rows, for which the model's tokenizer is loaded."""
    READS_PLAIN_TEXT: ClassVar[bool] = False
    """Whether models say how likely a plain text is: see ``plain``."""
    PREDICTION_COLUMNS: ClassVar[Mapping[str, Literal["text", "cat", "num"]]] = {}
    """Columns of the prediction log that predictions fill, where they are others than those of its ``TARGET``: see
    ``monitoring/detectors/_columns.py``."""

    kind: str
    """File name of the task."""

    if TYPE_CHECKING:

        @property
        def labels(self) -> tuple[str, ...]:
            """Label names in the order of the model's outputs; empty where the task has no fixed set of them."""
            ...

        @property
        def parts(self) -> Mapping[str, Task]:
            """The tasks of a task of several parts, by name; empty for all others."""
            ...

    else:
        labels, parts = FieldDefault(()), FieldDefault({})

    @property
    def better(self) -> Mapping[str, Better]:
        """Every metric, the one that is reported first, and which way each improves."""
        return self.METRICS

    @property
    def generative(self) -> bool:
        """Whether the base model can do the task before any training."""
        return self.GENERATIVE

    @property
    def architecture(self) -> str:
        """The class of transformers by which a plan counts."""
        return self.ARCHITECTURE

    def part(self, source: str | None) -> str:
        """Name of the part that rows of a source belong to; empty where the task has no parts.

        Raises:
            DataRejectedError: the source belongs to none of several parts.
        """
        del source
        return ""

    def of(self, source: str | None) -> Task:
        """The task of a row by its source: its part's, or this one."""
        del source
        return self

    def faults(self, recipe: Recipe) -> Iterable[tuple[str, str]]:
        """What of a recipe contradicts the task: path in the YAML and message."""
        del recipe
        return ()

    def parse_rows(self, rows: Rows) -> Faults:
        """Bring what a source wrote into the task's own form, in place; say of each row that cannot be read why not.

        Doing it twice must change nothing: rows of an earlier snapshot come here again. By default they stay.
        """
        del rows
        return {}

    def clean_rows(self, rows: Rows, editor: Editor) -> None:
        """Clean each piece that people wrote, in place; what belongs together stays aligned.

        By default every column is a text whose lines and indentation stay.
        """
        Plain.clean_rows(rows, editor)

    def check_rows(self, rows: Rows) -> Faults:
        """Say of each cleaned row that cannot be used why not, with the value that is wrong as ``repr``."""
        del rows
        return {}

    def check_requests(self, rows: Rows) -> Faults:
        """Say of rows without labels which ones the model cannot be asked, beyond those without a text."""
        del rows
        return {}

    def unreadable(self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Text]) -> Faults:
        """Rows that a base model cannot be given, such as those that its chat template refuses, and why.

        Each costs one row. A task that overrides this sets ``TEMPLATED``.
        """
        del tokenizer, rows
        return {}

    def labels_in(self, label: str | None) -> Collection[str]:
        """Labels that a row counts for in tables of labels; a task without a fixed set of labels has none."""
        del label
        return ()

    def nothing_to_learn(self, labels: Collection[str]) -> str:
        """Why a train split with these labels teaches nothing; empty where it teaches something."""
        del labels
        return ""

    def valid(self, label: str | None) -> bool:
        """Whether a row with this label can be learnt from and judged on; by default where there is one."""
        return bool(label)

    @abstractmethod
    def check(self, rows: Mapping[str, pa.Table]) -> None:
        """Check that the splits, ``train`` and ``validation``, suffice to learn from.

        Raises:
            NotEnoughDataError: a split lacks rows, or rows of some kind.
            DataRejectedError: rows lack a column, or have labels that the recipe does not list.
        """

    @abstractmethod
    def load(self, base: Path) -> PreTrainedModel:
        """The base model with a head for this task; safetensors only, no remote code.

        Raises:
            TrainingError: the model does not fit the task, or lacks weights.
        """

    @abstractmethod
    def encode(self, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
        """What the model reads and what it is to answer, not padded; no loss is taken on labels ``IGNORED``."""

    def collator(self, tokenizer: PreTrainedTokenizerBase) -> Collator:
        """Pads a list of encoded rows to one length and makes tensors of them, with the attention mask."""
        from transformers import DataCollatorWithPadding

        padded: Collator = DataCollatorWithPadding(tokenizer)
        return padded

    @abstractmethod
    def reader(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
    ) -> Callable[[Sequence[Text]], Outputs]:
        """Torch predictions of a loaded model: texts to outputs, a row each: see ``ftcore.models.outputs``."""

    def predictor(self, folder: Path, max_length_tokens: int) -> Callable[[Sequence[Text]], Outputs]:
        """Torch predictions of a saved model: see ``reader``."""
        from ftcore.models.loading import tokenizer

        return self.reader(self.load(folder).eval(), tokenizer(folder), max_length_tokens)

    def exportable(self, folder: Path) -> nn.Module:
        """The saved model as exporters take it, with ``logits``; of several parts with ``PART.logits`` of each."""
        return self.load(folder)

    def exported(
        self, run: Callable[[Sequence[Text]], Mapping[str, np.ndarray]]
    ) -> Callable[[Sequence[Text]], Outputs]:
        """Predictions of an export in the form of ``reader``, from a function of texts to arrays by name."""
        return lambda texts: self.outputs(run(texts)["logits"])

    def outputs(self, logits: np.ndarray) -> Outputs:
        """What ``reader`` gives, from the ``[rows, …]`` of an export; needed by tasks that exporters list."""
        return logits

    def plain(self, folder: Path, max_length_tokens: int) -> Callable[[Sequence[str]], np.ndarray]:
        """How likely a saved model finds plain texts: ``-log p``, tokens and tokens hit of each, ``[texts, 3]``.

        Raises:
            TrainingError: models of this task do not say; see ``READS_PLAIN_TEXT``.
        """
        del max_length_tokens
        raise TrainingError(f"the model in {folder} is for the task {self.kind}, which does not go on with plain text")

    def prompt(self, one: Example) -> str | list[Turn]:
        """What the model is asked for a row, a text or a conversation, for methods that learn from rewards."""
        return one.text

    @abstractmethod
    def answers(self, outputs: Outputs) -> tuple[list[str], np.ndarray]:
        """What the prediction log says of each row: a label or text, and how sure the model is, NaN where unknown."""

    @abstractmethod
    def tallies(self, rows: pa.Table, outputs: Outputs) -> np.ndarray:
        """What each row adds to the sums that ``metrics`` needs, ``[rows, k]``: counts, sums of scores or squares.

        ``rows`` has the columns ``row_id``, ``text``, ``context``, ``label``, ``rejected``, ``source`` and ``dataset``.
        """

    @abstractmethod
    def metrics(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Each metric of ``better``, ``[…]``, from sums of tallies, ``[…, k]``; NaN where it is not defined."""

    def about(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """Which rows each metric is about, as masks ``[rows]``: all, but those of its part where there are several."""
        import numpy as np

        return dict.fromkeys(self.better, np.ones(rows.num_rows, bool))
