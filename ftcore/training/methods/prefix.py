"""Prefix tuning: train keys and values that every layer reads before the text; no weight of the base changes.

X. L. Li and P. Liang (2021), *Prefix-Tuning*. A prefix cannot be merged into weights: it lies beside them in
``model/prefix`` and is read with them, also into the ONNX graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.errors import TrainingError
from ftcore.models import base
from ftcore.training.methods import _adapters
from ftcore.training.methods._base import Method

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn
    from transformers import PreTrainedTokenizerBase


class PrefixTuning(Method):
    """Prefixes of keys and values through peft. They take a learning rate of 0.01 and more."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "prefix", "tokens": 10}
    TASKS: ClassVar[tuple[str, ...]] = ("classification", "multilabel", "pair")
    """Those whose predictor and exports read ``model/prefix``."""
    MULTITASK_REASON: ClassVar[str] = "peft reads a prefix with the model of one task only"

    kind: Literal["prefix"] = "prefix"
    tokens: Annotated[int, Field(ge=1, le=200)] = 10
    """Length of the prefix. It comes on top of ``train.max_length_tokens``."""

    def apply(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
        """The model with a prefix to train; the head trains whole.

        Raises:
            TrainingError: the model cannot read keys and values that were there before.
        """
        import inspect

        from peft import PrefixTuningConfig

        inner = getattr(model, model.base_model_prefix, model)  # type: ignore[arg-type]
        if "past_key_values" not in inspect.signature(inner.forward).parameters:
            raise TrainingError(
                f"{type(model).__name__} reads no keys and values from before the text", hint="take prompt, ia3 or lora"
            )
        heads = _adapters.head(model) or None
        return _adapters.adapt(
            model,
            PrefixTuningConfig(
                task_type=_adapters.task_type(model), num_virtual_tokens=self.tokens, modules_to_save=heads
            ),
        )

    def save(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
        """Write the base with its trained head to ``folder/model`` and the prefix to ``folder/model/prefix``.

        Raises:
            TrainingError: what was written answers otherwise than what was trained.
        """
        before = _adapters.answers(model, tokenizer)
        model.save_pretrained(folder / "model" / base.PREFIX, safe_serialization=True)  # type: ignore[operator]
        plain: Any = _adapters.with_trained_heads(model)
        base.write_model(plain, tokenizer, folder / "model")
        again = base.with_prefix(type(plain).from_pretrained(folder / "model", use_safetensors=True), folder / "model")
        _adapters.agree(before, _adapters.answers(again, tokenizer))
