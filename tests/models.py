"""Tiny models that nobody trained, and a language of some forty words with its rows."""

from __future__ import annotations

from collections.abc import Sequence
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


def classifier(folder: Path, words: Sequence[str]) -> tuple[Any, Any]:
    """A BERT of one layer that tells two classes apart, and its tokenizer, which knows these words and digits."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *"0123456789", *(f"##{n}" for n in range(10))]
    known = folder.with_name("vocab.txt")
    known.write_text("\n".join(vocabulary), encoding="utf-8")
    torch.manual_seed(3)  # of the seeds tried, one whose answers depend on the text
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,
        num_labels=2,
    )
    model, tokenizer = BertForSequenceClassification(config).eval(), BertTokenizerFast(str(known))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


def rows(*given: tuple[str | None, ...]) -> pa.Table:
    """Rows with text, context, label and, where given, rejected."""
    names = ("text", "context", "label", "rejected")
    made = [
        dict.fromkeys(snapshot.COLUMNS) | {"row_id": str(n)} | dict(zip(names, row, strict=False))
        for n, row in enumerate(given)
    ]
    return pa.Table.from_pylist(made, schema=snapshot.schema())
