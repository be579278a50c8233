"""The base model's own dropout, set to what a recipe says."""

from __future__ import annotations

from torch import nn

from ftcore.errors import TrainingError


def set_chance(model: nn.Module, chance: float) -> None:
    """Give every dropout of a model the same chance.

    Raises:
        TrainingError: it has none.
    """
    found = 0
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p, found = chance, found + 1
        elif isinstance(getattr(module, "attention_dropout", None), float):  # no module of its own
            module.attention_dropout, found = chance, found + 1
    if not found:
        raise TrainingError(
            f"{type(model).__name__} has no dropout that train.dropout could set",
            hint="leave train.dropout out; methods such as lora have a dropout of their own",
        )
