"""How this method trains, in one sentence: it is what `ftcore ls` shows. Name the paper that it comes from.

A method is ``Config``, ``apply`` and ``save``. Where it needs more, it has more; each of these may be left out:

``TASKS``, ``ALONE``
    Kinds of task that it fits; without it, all. It fits ``multitask`` where the kinds of all parts are named, too;
    where ``multitask`` is none of them, ``ALONE`` says why.
``DEVICES``
    Kinds of device that it can train on; without it, all.
``WEIGHT_BYTES``, ``sketch(config, model, tokenizer)``
    For the plan's estimate: bytes of a weight (4), and ``apply`` for a model without weights (``apply`` itself).
``effort(config, recipe, rows)``
    The same: how the work on so many training rows differs from one pass forward and back over each in every epoch, as
    a ``training.effort.Effort``: what is read besides, drawn, held, and done at once. Without it, it does not.
``lengths(config, recipe, tokenizer, rows)``
    The same: tokens of all sequences that ``training.exchanges.Exchange`` rows are read in, where they are other ones
    than those that the task encodes.
``LOSS``
    Fields that change what the loss means, so that no ``search`` can compare it; without it, none does.
``faults(config, recipe)``
    What is right by itself and wrong in this recipe, as ``(path in the YAML, message)``.
``start(config, context)``
    The model to start from in place of the recipe's ``base``, as a reference of the same form.
``rows(config, context, table)``
    The training rows in place of the snapshot's.
``teacher(config, context)``
    Reference of a model whose probabilities come with every row: ``teacher`` in the batch, ``[rows, labels]``.
``fit(config, job)``
    The whole training of a ``training.loop.Job`` in place of the common loop; returns its figures, ``validation_loss``
    or ``reward_before`` and ``reward_after`` among them. ``job.exchanges`` has the rows as words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ftcore.recipe.kinds import Config as Base

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

EXAMPLE = {"kind": "NAME"}


class Config(Base):
    """What a recipe says about this method."""

    kind: Literal["NAME"] = "NAME"


def apply(config: Config, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The model with what is to be trained marked by ``requires_grad``; rows are encoded after it."""
    del config, tokenizer
    return model


def save(config: Config, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the whole model to ``folder/model`` as safetensors, and what else is worth keeping beside it.

    Raises:
        TrainingError: what was merged into the weights does not answer as it did before.
    """
    del config
    model.save_pretrained(folder / "model", safe_serialization=True)
    tokenizer.save_pretrained(folder / "model")
