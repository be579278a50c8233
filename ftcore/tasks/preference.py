"""Score an answer as people would: the higher, the better they would like it. A model of this task is a reward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ftcore.data.conversations import templates
from ftcore.models import loading
from ftcore.models.features import Collator, Features
from ftcore.models.outputs import examples
from ftcore.tasks import _language, _rows
from ftcore.tasks._conversations import Conversation

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Faults, Rows
    from ftcore.models.outputs import Example, Outputs, Text


class Preference(Conversation):
    """A row's ``text`` is the prompt, ``label`` the chosen answer, ``rejected`` the other one.

    The method ``reward`` learns from the pairs. Other methods learn a score of 1 for chosen answers and 0 for
    rejected ones.
    """

    EXAMPLE: ClassVar = {"kind": "preference"}
    ROW: ClassVar = {
        "text": [{"role": "user", "content": "Which door is mine?"}],
        "context": "You answer briefly.",
        "label": "The red one.",
        "rejected": "Find out yourself.",
    }
    PREDICTION_COLUMNS: ClassVar = {"text": "text", "score": "num"}
    SUPPORTS_LABEL_SMOOTHING = False
    LAST_TURN_ANSWERS = False
    METRICS: ClassVar = {"preferred": "higher", "margin": "higher"}

    kind: Literal["preference"] = "preference"

    def check_rows(self, rows: Rows) -> Faults:
        """Name rows without a text or one of the two answers, and what ``check_requests`` finds."""
        return _rows.missing(rows, rejected="rejected answer") | super().check_rows(rows)

    def unreadable(self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Text]) -> Faults:
        """Rows that the base model's template refuses with one of their answers, and why."""
        every = examples(rows)
        worse = {place: one._replace(answer=one.rejected) for place, one in enumerate(every) if one.rejected}
        found = super().unreadable(tokenizer, list(worse.values()))
        return {list(worse)[place]: why for place, why in found.items()} | super().unreadable(tokenizer, every)

    def load(self, base: Path) -> PreTrainedModel:
        """The base model with a head of one output; safetensors only, no remote code."""
        from transformers import AutoModelForSequenceClassification

        return loading.pretrained(AutoModelForSequenceClassification, base, num_labels=1)

    def check(self, rows: Mapping[str, pa.Table]) -> None:
        """Whether there are answers to score.

        Raises:
            NotEnoughDataError: a split has no row.
            DataRejectedError: rows have no answer.
        """
        _language.wanted(rows, ["text", "label", "rejected"])

    def encode(self, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
        """Each conversation twice: with the good answer, to score 1, and with the worse one, to score 0.

        Where one is too long its beginning is cut.
        """
        columns: dict[str, list[Any]] = {"input_ids": [], "labels": []}
        owners, truncated = [], 0
        names = ("row_id", "text", "context", "label", "rejected")
        for row_id, text, context, good, worse in zip(*(rows[name].to_pylist() for name in names), strict=True):
            for answer, score in ((good, 1.0), (worse, 0.0)):
                ids = self._ids(tokenizer, examples([text])[0]._replace(context=context, answer=answer))
                truncated += len(ids) > max_length_tokens
                columns["input_ids"].append(ids[-max_length_tokens:])
                columns["labels"].append(score)
                owners.append(row_id)
        return Features(columns, owners, truncated)

    def collator(self, tokenizer: PreTrainedTokenizerBase) -> Collator:
        """Pads on the right, since the head reads the last token."""
        tokenizer.padding_side = "right"
        return super().collator(tokenizer)

    def reader(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
    ) -> Callable[[Sequence[Text]], np.ndarray]:
        """Rows to ``[rows, 2]``: the score of the answer, and of the worse one, NaN where there is none.

        A row without an answer is a conversation whose last turn is scored.
        """
        import numpy as np
        import torch

        tokenizer.padding_side = "right"
        model.config.pad_token_id = tokenizer.pad_token_id

        def predict(texts: Sequence[Text]) -> np.ndarray:
            rows = examples(texts)
            found = np.full((len(rows), 2), np.nan, np.float32)
            asked = [(number, 0, one) for number, one in enumerate(rows)]
            asked += [(number, 1, one._replace(answer=one.rejected)) for number, one in enumerate(rows) if one.rejected]
            cut = [self._ids(tokenizer, one)[-max_length_tokens:] for _, _, one in asked]
            if cut:
                with torch.inference_mode():
                    scores = (
                        model(**tokenizer.pad({"input_ids": cut}, return_tensors="pt")).logits[:, 0].float().numpy()
                    )
                for (number, side, _), score in zip(asked, scores, strict=True):
                    found[number, side] = score
            return found

        return predict

    def answers(self, outputs: Outputs) -> tuple[list[str], np.ndarray]:
        """No label, and the score."""
        import numpy as np

        return [""] * len(outputs), np.asarray(outputs)[:, 0]

    def tallies(self, rows: pa.Table, outputs: Outputs) -> np.ndarray:
        """Whether the good answer scores higher, by how much, and a one, where there is a worse one, ``[rows, 3]``."""
        import numpy as np

        del rows
        if not len(outputs):
            return np.zeros((0, 3))
        apart = np.asarray(outputs, float).reshape(-1, 2) @ [1.0, -1.0]
        known = ~np.isnan(apart)
        return np.where(known[:, None], np.column_stack([apart > 0, apart, known]), 0.0)

    def metrics(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Share of the pairs whose good answer scores higher, and by how much in the mean."""
        import numpy as np

        pairs = np.where(sums[..., 2] > 0, sums[..., 2], np.nan)
        return {"preferred": sums[..., 0] / pairs, "margin": sums[..., 1] / pairs}

    def _ids(self, tokenizer: PreTrainedTokenizerBase, one: Example) -> list[int]:
        asked = self.turns(one)
        if one.answer is not None:
            asked = [*asked, {"role": "assistant", "content": one.answer}]
        text = templates.render(templates.templated(tokenizer), asked, ask=False)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
