"""A language of some forty words, models of it that nobody trained, and rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from ftcore.data import snapshot

COLOURS = ("red", "green", "blue", "white")
THINGS = ("door", "car", "house", "boat", "lamp", "chair")
CHAT = ("system", "user", "assistant")
WORDS = [*COLOURS, *THINGS, *CHAT, "the", "is", "what", "colour", "of", "a", ".", "?", "and", ":"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<", ">", "|", "im", "_", "start", "end", *WORDS]


def small(family: str, folder: Path) -> None:
    """A model that nobody trained, and a tokenizer of some forty words, in ``folder``."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        BertConfig,
        BertModel,
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
        T5Config,
        T5ForConditionalGeneration,
    )

    torch.manual_seed(3)
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "eos_token": "[SEP]"}
    if family == "bert":
        special |= {"cls_token": "[CLS]", "sep_token": "[SEP]"}
        words.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    if family == "t5":
        words.post_processor = processors.TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 3)])
    names = ["input_ids", "token_type_ids", "attention_mask"][:: 1 if family == "bert" else 2]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, model_input_names=names, **special)
    size, many = len(VOCABULARY), {"pad_token_id": 0, "eos_token_id": 3, "bos_token_id": 2}
    shape = {"vocab_size": size, "hidden_size": 48, "intermediate_size": 96, "max_position_embeddings": 64}
    model: Any = {
        "bert": lambda: BertModel(BertConfig(**shape, num_hidden_layers=2, num_attention_heads=4)),
        "llama": lambda: LlamaForCausalLM(
            LlamaConfig(**shape, num_hidden_layers=2, num_attention_heads=4, tie_word_embeddings=True, **many)
        ),
        "t5": lambda: T5ForConditionalGeneration(
            T5Config(
                vocab_size=size,
                d_model=48,
                d_kv=12,
                d_ff=96,
                num_layers=2,
                num_heads=4,
                decoder_start_token_id=0,
                **many,
            )
        ),
    }[family]()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def rows(*given: tuple[str | None, ...]) -> pa.Table:
    """Rows with text, context, label and, where given, rejected."""
    names = ("text", "context", "label", "rejected")
    made = [
        dict.fromkeys(snapshot.COLUMNS) | {"row_id": str(n)} | dict(zip(names, row, strict=False))
        for n, row in enumerate(given)
    ]
    return pa.Table.from_pylist(made, schema=snapshot.schema())
