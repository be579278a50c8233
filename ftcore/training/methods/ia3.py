"""IA³: train one factor for each activation of keys, values and feed-forward layers; a hundredth of LoRA's weights.

H. Liu et al. (2022), *Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import model_validator

from ftcore.training.methods import _adapters
from ftcore.training.methods._base import Method

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn
    from transformers import PreTrainedTokenizerBase


class Ia3(Method):
    """Infused adapters through peft. They take a learning rate ten times that of LoRA."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "ia3"}

    kind: Literal["ia3"] = "ia3"
    targets: tuple[str, ...] = ()
    """Names of the layers whose activations are scaled; empty means what peft knows of the architecture."""
    feedforward: tuple[str, ...] = ()
    """Those of ``targets`` that are scaled at their input."""

    @model_validator(mode="after")
    def _feedforward_is_a_target(self) -> Ia3:
        if other := set(self.feedforward) - set(self.targets):
            raise ValueError(f"not among the targets: {', '.join(sorted(other))}")
        return self

    def apply(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
        """The model with factors to train; the head trains whole."""
        from peft import IA3Config

        own = {"target_modules": list(self.targets), "feedforward_modules": list(self.feedforward)}
        chosen = own if self.targets else {}
        heads = _adapters.head(model) or None
        return _adapters.adapt(model, IA3Config(task_type=_adapters.task_type(model), modules_to_save=heads, **chosen))

    def save(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
        """Write the factors to ``folder/adapter`` and the merged model to ``folder/model``."""
        _adapters.save(model, tokenizer, folder)
