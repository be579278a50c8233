"""Tokens put before every text, as part of the tokenizer: what was trained in training is there wherever it goes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ftcore.errors import TrainingError
from ftcore.store.store import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase


def add(tokenizer: PreTrainedTokenizerBase, count: int) -> list[int]:
    """Add ``count`` tokens to the vocabulary, which stand after the first special token of every text; their numbers.

    Raises:
        TrainingError: nobody knows how this tokenizer marks the start of a text.
    """
    from tokenizers.processors import TemplateProcessing

    names = [f"<prompt_{number}>" for number in range(count)]
    tokenizer.add_tokens(names, special_tokens=True)
    numbers: list[int] = tokenizer.convert_tokens_to_ids(names)
    backend = tokenizer.backend_tokenizer
    described = json.loads(backend.to_str())["post_processor"]
    backend.post_processor = TemplateProcessing(**_template(described, names, numbers))
    return numbers


def keep(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Have the tokenizer read back from ``folder`` as it stands in ``tokenizer.json``.

    Classes of their own, such as BERT's, set up the start of a text anew and would leave the prompt out.
    """
    path = folder / "tokenizer_config.json"
    kept = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": tokenizer.model_input_names}
    write_json(path, read_json(path) | kept)


def read(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder."""
    from transformers import AutoTokenizer

    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return found


def _template(described: dict[str, Any] | None, names: list[str], numbers: list[int]) -> dict[str, Any]:
    """The template of the post-processor with the prompt in it."""
    if described and described["type"] == "TemplateProcessing":
        single, pair = (_words(described[form]) for form in ("single", "pair"))
        special = [(name, one["ids"][0]) for name, one in described["special_tokens"].items() if len(one["ids"]) == 1]
    elif described and described["type"] in {"BertProcessing", "RobertaProcessing"}:
        start, end = described["cls"][0], described["sep"][0]
        types = 1 if described["type"] == "BertProcessing" else 0
        single, pair = [start, "$A", end], [start, "$A", end, f"$B:{types}", f"{end}:{types}"]
        if described["type"] == "RobertaProcessing":
            pair.insert(3, end)
        special = [tuple(described["cls"]), tuple(described["sep"])]
    elif described is None or described["type"] == "ByteLevel":
        single, pair, special = ["$A"], ["$A", "$B"], []
    else:
        raise TrainingError(
            f"the tokenizer ends texts by {described['type']}, into which no prompt can be put",
            hint="take lora or ia3 for this base model",
        )
    return {
        "single": [*_with(single, names)],
        "pair": [*_with(pair, names)],
        "special_tokens": [*special, *zip(names, numbers, strict=True)],
    }


def _words(pieces: list[dict[str, dict[str, Any]]]) -> list[str]:
    """``[{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, …]`` as ``["[CLS]:0", "$A:0", …]``."""
    return [
        f"{'$' if kind == 'Sequence' else ''}{one['id']}:{one['type_id']}"
        for piece in pieces
        for kind, one in piece.items()
    ]


def _with(pieces: list[str], names: list[str]) -> list[str]:
    """The first special token stays first: classifiers read their answer off it."""
    first = 0 if pieces[0].startswith("$") else 1
    return [*pieces[:first], *names, *pieces[first:]]
