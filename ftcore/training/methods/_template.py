"""How this method trains, in one sentence: it is what `ftcore ls` shows. Name the paper that it comes from.

Whatever else a method can do, with what is done where it says nothing, ``Method`` in ``_base.py`` has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ftcore.training.methods._base import Method

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase


class Template(Method):
    """What a recipe says about this method."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "NAME"}

    kind: Literal["NAME"] = "NAME"

    def apply(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
        """The model with every weight to train."""
        return model.requires_grad_(True)
