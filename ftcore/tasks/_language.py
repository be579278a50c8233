"""What tasks that write texts share: how likely a text is, how to write one, and how near it comes to the right one."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from ftcore.errors import DataRejectedError, NotEnoughDataError, TrainingError
from ftcore.models import loading, stands
from ftcore.models.features import IGNORED
from ftcore.tasks import _words
from ftcore.tasks._base import Task

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.models.features import Collator
    from ftcore.models.outputs import Example, Outputs
    from ftcore.statistics.intervals import Better

LIKELIHOOD: dict[str, Better] = {"perplexity": "lower", "token_accuracy": "higher"}
WRITTEN: dict[str, Better] = {"chrf": "higher", "bleu": "higher", "rouge_l": "higher", "exact_match": "higher"}
BLEU, CHRF = slice(3, 13), slice(13, 31)
"""Where the sums of n-gram counts stand in a tally; before them: log likelihood, tokens, tokens hit."""
WIDTH = 34
"""Numbers in a tally: the above, and at the end ROUGE-L, exact matches, rows that were written."""


class LanguageTask(Task):
    """A task whose models say how likely a text is."""

    GENERATIVE = True

    def collator(self, tokenizer: PreTrainedTokenizerBase) -> Collator:
        """Pads tokens, and labels with ``IGNORED``; adds the attention mask."""
        return padding(tokenizer)

    def answers(self, outputs: Outputs) -> tuple[list[str], np.ndarray]:
        """What the prediction log says: the text that was written, or nothing and the mean probability of a token."""
        return written(outputs)


class CausalTask(LanguageTask):
    """A task of a language model that goes on with a text."""

    ARCHITECTURE = "AutoModelForCausalLM"
    BACKBONE = "causal"
    READS_PLAIN_TEXT = True

    def load(self, base: Path) -> PreTrainedModel:
        """The base model as it is; safetensors only, no remote code."""
        return causal(base)

    def plain(self, folder: Path, max_length_tokens: int) -> Callable[[Sequence[str]], np.ndarray]:
        """How likely a saved model finds plain texts: ``-log p``, tokens and tokens hit of each, ``[texts, 3]``."""
        return plain(folder, max_length_tokens)


class WrittenTask(LanguageTask):
    """A task whose models write the label of a row."""

    TARGET = "text"

    judge_by: Literal["likelihood", "answers"]
    """Whether answers are written and compared, or how likely the right ones are is measured."""
    answer_tokens: int
    """Longest answer that is written, in tokens."""

    def check(self, rows: Mapping[str, pa.Table]) -> None:
        """Whether there are texts with answers.

        Raises:
            NotEnoughDataError: a split has no row.
            DataRejectedError: rows have no answer.
        """
        wanted(rows, ["text", "label"])

    def by_likelihood(self, rows: Sequence[Example]) -> bool:
        """Whether rows are judged by how likely their answers are, which all of them have."""
        return self.judge_by == "likelihood" and all(one.answer is not None for one in rows)

    def tallies(self, rows: pa.Table, outputs: Outputs) -> np.ndarray:
        """What each row adds to the sums behind ``metrics``, ``[rows, WIDTH]``.

        Args:
            rows: with the right text in ``label``.
            outputs: what was written, a text a row, or ``likelihoods``, ``[rows, 3]``.
        """
        import numpy as np

        found = np.zeros((rows.num_rows, WIDTH))
        if isinstance(outputs, np.ndarray):
            found[:, :3] = outputs.reshape(-1, 3)
            return found
        right = [text or "" for text in rows["label"].to_pylist()]
        found[:, 3:] = [list(_compared(*two)) for two in zip(outputs, right, strict=True)] or np.zeros((0, WIDTH - 3))
        return found

    def metrics(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Perplexity and accuracy of tokens; BLEU and chrF (0 to 1) from n-gram counts, mean ROUGE-L, exact matches.

        What was not measured, for want of likelihoods, of written texts or of any n-gram in them, is NaN. BLEU and
        ROUGE-L take words by script: see ``_words``.

        Args:
            sums: of tallies, ``[…, WIDTH]``.
        """
        import numpy as np

        tokens = np.where(sums[..., 1] > 0, sums[..., 1], np.nan)
        rows = np.where(sums[..., -1] > 0, sums[..., -1], np.nan)
        bleu, chrf = _scorers()

        def each(part: slice, score: Callable[[list[float]], float]) -> np.ndarray:
            values = np.full(rows.shape, np.nan)
            there = sums[..., part].sum(-1) > 0
            values[there] = [score(row.tolist()) / 100 for row in sums[..., part][there]]
            return values

        return {
            "perplexity": np.exp(sums[..., 0] / tokens),
            "token_accuracy": sums[..., 2] / tokens,
            "chrf": each(CHRF, lambda stats: chrf._compute_score_from_stats(stats).score),  # noqa: SLF001
            "bleu": each(BLEU, lambda stats: bleu._compute_score_from_stats(stats).score),  # noqa: SLF001
            "rouge_l": sums[..., -3] / rows,
            "exact_match": sums[..., -2] / rows,
        }


def wanted(rows: Mapping[str, pa.Table], columns: Sequence[str]) -> None:
    """Check that each split has rows, and that all of them have what the task needs.

    Raises:
        NotEnoughDataError: a split has no row.
        DataRejectedError: a row lacks a column.
    """
    for split, table in rows.items():
        if not table.num_rows:
            raise NotEnoughDataError(f"the {split} split has no row", hint="add rows, or change the shares in prepare")
        for name in columns:
            if table[name].null_count:
                ids = table.filter(table[name].is_null())["row_id"].to_pylist()
                raise DataRejectedError(
                    f"{len(ids):,} rows of the {split} split have no {name}",
                    [f"row {row}" for row in ids],
                    hint=f"map it in the recipe's sources, as in {name}: COLUMN",
                )


def causal(base: Any) -> PreTrainedModel:
    """A causal language model; safetensors only, no remote code.

    Raises:
        TrainingError: the model reads what comes behind a token, too, or lacks weights.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    if stands.is_encoder(AutoConfig.from_pretrained(base, trust_remote_code=False)):
        raise TrainingError(
            f"the base model in {base} is an encoder: it reads what comes behind a token, and cannot write",
            hint=stands.INSTEAD[stands.CAUSAL],
        )
    return loading.pretrained(AutoModelForCausalLM, base, headless=False)


def padding(tokenizer: PreTrainedTokenizerBase) -> Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]]:
    """Pads tokens, and labels with ``IGNORED``; adds the attention mask."""
    from transformers import DataCollatorForSeq2Seq

    padded: Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]] = DataCollatorForSeq2Seq(
        tokenizer, label_pad_token_id=IGNORED
    )
    return padded


def likelihoods(logits: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    """Of each row the negative log likelihood of its labels in nats, their number, and how many were the first guess.

    Args:
        logits: ``[rows, tokens, vocabulary]``, those of a place being about the label at that place.
        labels: ``[rows, tokens]``; ``IGNORED`` ones count for nothing.
    """
    import numpy as np
    import torch

    counted = labels.ne(IGNORED)
    asked, right = logits[counted].float(), labels[counted]  # most places ask nothing, and vocabularies are large
    found = torch.zeros(len(labels), 3, dtype=torch.float64)
    losses = torch.nn.functional.cross_entropy(asked, right, reduction="none")
    for column, values in enumerate((losses, torch.ones_like(losses), asked.argmax(-1).eq(right))):
        found[:, column].index_add_(0, counted.nonzero()[:, 0], values.double())
    return np.asarray(found.numpy())


def windows(
    tokenizer: PreTrainedTokenizerBase, text: str, length: int, repeated: int = 1
) -> list[tuple[list[int], list[int]]]:
    """Tokens of each window over a text and its end, with its labels.

    Args:
        tokenizer: cuts the text.
        text: of any length; nothing of it is left out.
        length: most tokens of a window.
        repeated: tokens that a window has of the one before it; they are not learnt again.
    """
    ids = tokenizer(text, truncation=False, verbose=False)["input_ids"]
    if tokenizer.eos_token_id is not None and (not ids or ids[-1] != tokenizer.eos_token_id):
        ids = [*ids, tokenizer.eos_token_id]
    repeated = min(repeated, length - 1)
    found = [(ids[:length], ids[:length])]
    for start in range(length, len(ids), length - repeated):
        window = ids[start - repeated : start - repeated + length]
        found.append((window, [IGNORED] * repeated + window[repeated:]))
    return found


def plain(folder: Path, max_length_tokens: int, repeated: int = 1) -> Callable[[Sequence[str]], np.ndarray]:
    """How likely a saved model finds plain texts: ``-log p``, tokens and tokens hit of each, ``[texts, 3]``.

    Args:
        folder: of the model and its tokenizer.
        max_length_tokens: most tokens of a window.
        repeated: tokens that a window has of the one before it.
    """
    from ftcore.models.loading import tokenizer as load_tokenizer

    return likely(causal(folder).eval(), load_tokenizer(folder), max_length_tokens, repeated)


def likely(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int, repeated: int
) -> Callable[[Sequence[str]], np.ndarray]:
    """The same of a model that is loaded already."""
    import numpy as np
    import torch

    collate = padding(tokenizer)

    def read(texts: Sequence[str]) -> np.ndarray:
        found = np.zeros((len(texts), 3))
        for place, text in enumerate(texts):
            for window, learnt in windows(tokenizer, text, max_length_tokens, repeated):
                batch = collate([{"input_ids": window, "labels": learnt}])
                with torch.inference_mode():
                    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
                found[place] += likelihoods(logits[:, :-1], batch["labels"][:, 1:])[0]
        return found

    return read


def write(
    model: PreTrainedModel, batch: Mapping[str, torch.Tensor], most_tokens: int, stops: Sequence[int] = ()
) -> torch.Tensor:
    """The likeliest continuation, greedily, ``[rows, tokens]``; a causal model's prompt is left out.

    Args:
        model: writes.
        batch: what it goes on from, padded on the left where the model is causal.
        most_tokens: longest continuation.
        stops: tokens that end it, where the model's own do not suffice.
    """
    # A model that was trained is saved without its cache turned on, which writing would be slow without.
    settings: dict[str, Any] = {"max_new_tokens": most_tokens, "do_sample": False, "num_beams": 1, "use_cache": True}
    settings |= {"eos_token_id": list(stops)} if stops else {}
    made: torch.Tensor = model.generate(**batch, **settings)  # type: ignore[operator]
    return made if model.config.is_encoder_decoder else made[:, batch["input_ids"].shape[1] :]


def written(outputs: Outputs) -> tuple[list[str], np.ndarray]:
    """What the prediction log says: the text that was written, or nothing and the mean probability of a token."""
    import numpy as np

    if isinstance(outputs, np.ndarray):
        return [""] * len(outputs), np.exp(-outputs[:, 0] / np.maximum(outputs[:, 1], 1))
    return list(outputs), np.full(len(outputs), np.nan)


def _compared(written: str, right: str) -> Iterator[float]:
    """Sums for one row: 10 counts of BLEU, 18 of chrF, ROUGE-L, whether it is the same, and a one."""
    bleu, chrf = _scorers()
    written, right = (unicodedata.normalize("NFC", text) for text in (written, right))
    # sacrebleu's own bootstrap rests on these sums; it offers no public way to them.
    pair = [_words.spaced(text, like=right) for text in (written, right)]
    yield from bleu._extract_corpus_statistics(pair[:1], [pair[1:]])[0]  # noqa: SLF001
    yield from chrf._extract_corpus_statistics([written], [[right]])[0]  # noqa: SLF001
    yield _rouge_l(_words.words(written), _words.words(right))
    yield written.split() == right.split()
    yield 1


def _rouge_l(written: list[str], right: list[str]) -> float:
    """F-measure of the longest common subsequence.

    Source: C.-Y. Lin (2004), *ROUGE: A Package for Automatic Evaluation of Summaries*.
    """
    if not written or not right:
        return float(written == right)
    return 2 * _words.common_subsequence(written, right) / (len(written) + len(right))


@cache
def _scorers() -> tuple[Any, Any]:
    from sacrebleu import metrics

    return metrics.BLEU(effective_order=True, tokenize="none", force=True), metrics.CHRF()
