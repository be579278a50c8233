"""Whether a base model is of the kind that a task stands on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftcore.models import stands
from ftcore.recipe.kinds import kind_class


@pytest.mark.parametrize(
    ("kind", "written", "task", "said"),
    [
        ("bert", "BertForMaskedLM", "chat", "is an encoder"),
        ("bert", "BertForMaskedLM", "completion", "is an encoder"),
        ("bert", "BertForMaskedLM", "preference", ""),  # a reward model may stand on either
        ("t5", "T5ForConditionalGeneration", "chat", "is an encoder"),
        ("llama", "LlamaForCausalLM", "seq2seq", "is no encoder-decoder model"),
        ("llama", "LlamaForCausalLM", "chat", ""),
        ("gpt_neox", "GPTNeoXForCausalLM", "chat", ""),
        ("gpt2", "GPT2LMHeadModel", "completion", ""),
        ("t5", "T5ForConditionalGeneration", "seq2seq", ""),
        ("bert", "BertForMaskedLM", "classification", ""),
    ],
)
def test_a_task_on_a_base_model_of_another_kind(tmp_path: Path, kind: str, written: str, task: str, said: str) -> None:
    from transformers import AutoConfig

    AutoConfig.for_model(kind, architectures=[written]).save_pretrained(tmp_path)
    room = kind_class("tasks", task)
    found = stands.fault(room.model_validate(room.EXAMPLE), tmp_path)
    assert (said in found[0] and bool(found[1])) if found else not said


def test_where_nothing_is_there_nothing_is_said(tmp_path: Path) -> None:
    assert stands.fault(kind_class("tasks", "chat")(), tmp_path) is None
