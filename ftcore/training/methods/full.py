"""Full fine-tuning: every weight learns; the most memory, and on much data the best."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ftcore.errors import TrainingError
from ftcore.training.methods._base import Method

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase


class Full(Method):
    """All weights, or all but some."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "full", "freeze": ["embeddings"]}

    kind: Literal["full"] = "full"
    freeze: tuple[str, ...] = ()
    """Regular expressions; weights with a name that one of them is found in stay as they are."""

    def apply(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
        """The model with every weight to train but the frozen ones.

        Raises:
            TrainingError: a pattern matches no weight, or nothing is left to train.
        """
        names = [name for name, _ in model.named_parameters()]
        for pattern in self.freeze:
            if not any(re.search(pattern, name) for name in names):
                raise TrainingError(f"method.freeze: no weight matches {pattern!r}", hint=f"one of them is {names[0]}")
        for name, parameter in model.named_parameters():
            parameter.requires_grad = not any(re.search(pattern, name) for pattern in self.freeze)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise TrainingError("method.freeze leaves nothing to train")
        return model
