"""One body with a head for each part of a multi-task recipe.

Each head is the head of the plain model that transformers has for its task, so its way from the body's last layer to
outputs and loss is theirs. The body lies where its architecture keeps it: a saved model is a base model like any other,
and its heads lie beside it under names of their own.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

from ftcore.errors import TrainingError
from ftcore.models import loading

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "head_"
"""Before the name of a part: the name of its head."""
HINT = "train its task by a recipe of its own, or take another base model"
AGREED = 1e-4
"""Largest difference, relative to the largest output, between a plain model and the same with its head apart."""


class Given(nn.Module):  # type: ignore[misc] # torch is skipped by mypy
    """Stands in a head for the body: gives what the body has made already, pooled by the head's own pooler."""

    def __init__(self, pooler: nn.Module | None) -> None:
        """Keep the pooler, where the architecture has one."""
        super().__init__()
        self.pooler = pooler

    def forward(self, *_: Any, inputs_embeds: torch.Tensor, **__: Any) -> BaseModelOutputWithPoolingAndCrossAttentions:
        """The body's last layer ``[rows, tokens, width]``, which comes where embeddings would."""
        pooled = self.pooler(inputs_embeds) if self.pooler is not None else None
        return BaseModelOutputWithPoolingAndCrossAttentions(last_hidden_state=inputs_embeds, pooler_output=pooled)


class MultiTask(PreTrainedModel):  # type: ignore[misc] # transformers is skipped by mypy
    """A body, and a head for each part."""

    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True

    def __init__(self, members: Mapping[str, PreTrainedModel]) -> None:
        """Take the body of the first plain model and the heads of all."""
        first = next(iter(members.values()))
        config = copy.deepcopy(first.base_model.config)
        config.num_labels, config.problem_type = 2, None  # what transformers assumes: labels are the heads' matter
        super().__init__(config)
        self.base_model_prefix = first.base_model_prefix
        body = first.base_model
        self.supports_gradient_checkpointing = body.supports_gradient_checkpointing
        self.all_tied_weights_keys: dict[str, str] = {}
        for name, member in members.items():
            setattr(member, member.base_model_prefix, Given(getattr(member.base_model, "pooler", None)))
            self.add_module(HEAD + name, member)
        if hasattr(body, "pooler"):
            body.pooler = None
        self.add_module(self.base_model_prefix, body)

    @property
    def names(self) -> list[str]:
        """The parts."""
        return [name.removeprefix(HEAD) for name, _ in self.named_children() if name.startswith(HEAD)]

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        part: str | None = None,
        **given: Any,
    ) -> Any:
        """What one head says of a batch, its loss included; without ``part`` ``[rows, …]`` of all heads together."""
        read = {name: given.pop(name) for name in ("token_type_ids", "position_ids", "inputs_embeds") if name in given}
        asked = self.read(input_ids=input_ids, attention_mask=attention_mask, **read) | given
        if part is not None:
            return self.said(part, asked)
        return (torch.cat([_flat(self.said(name, asked), attention_mask) for name in self.names], dim=1),)

    def read(self, input_ids: torch.Tensor | None, attention_mask: torch.Tensor | None, **read: Any) -> dict[str, Any]:
        """What heads are asked: the batch, with the body's last layer as its embeddings."""
        hidden = self.base_model(input_ids=input_ids, attention_mask=attention_mask, **read)[0]
        return {"input_ids": input_ids, "attention_mask": attention_mask, "inputs_embeds": hidden}

    def said(self, part: str, asked: Mapping[str, Any]) -> Any:
        """What one head says of what ``read`` gave."""
        head = getattr(self, HEAD + part)
        for config in (head.config, head.config.get_text_config()):
            config.pad_token_id = self.config.pad_token_id
        return head(**asked)

    def read_again(self, folder: Path) -> MultiTask:
        """The same as it was saved in a folder."""
        heads = {name: getattr(self, HEAD + name) for name in self.names}
        with loading.quietly():
            members = {
                name: type(head).from_pretrained(folder, num_labels=head.config.num_labels, use_safetensors=True)
                for name, head in heads.items()
            }
        return joined(members, folder)


class MultiHeadExport(nn.Module):  # type: ignore[misc]
    """The same for exports: one pass of the body, and ``PART.logits`` of every head."""

    def __init__(self, model: MultiTask) -> None:
        """Keep the model."""
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, **batch: Any) -> dict[str, Any]:
        """What each head says, by part."""
        asked = self.model.read(**batch)
        return {name: self.model.said(name, asked) for name in self.model.names}


class TaskView(nn.Module):  # type: ignore[misc]
    """One part of a model, which is called like a plain model of its task."""

    def __init__(self, model: MultiTask, part: str) -> None:
        """Keep which."""
        super().__init__()
        self.model, self.part, self.config = model, part, model.config

    def forward(self, **batch: Any) -> Any:
        """What the part's head says."""
        return self.model(**batch, part=self.part)


def joined(members: Mapping[str, PreTrainedModel], saved: Path) -> MultiTask:
    """One model of plain ones that were loaded from one folder; heads that were saved there before are taken up.

    Raises:
        TrainingError: the heads of this architecture cannot be parted from its body, or saved ones do not fit.
    """
    before = {name: _probed(member) for name, member in members.items()}
    if len(places := {member.base_model_prefix for member in members.values()}) > 1:
        kinds = ", ".join(type(member).__name__ for member in members.values())
        raise TrainingError(f"{kinds} keep their body in different places: {', '.join(sorted(places))}", hint=HINT)
    model = MultiTask(members)
    for name, outputs in before.items():
        try:
            after = _probed(TaskView(model, name))
        except (AttributeError, TypeError, ValueError):  # what a head misses of its body
            after = torch.empty(0)
        scale = max(1.0, float(outputs.abs().max()))
        if outputs.shape != after.shape or not float((outputs - after).abs().max()) <= AGREED * scale:
            raise TrainingError(
                f"{type(members[name]).__name__} does not answer the same when its head stands apart from its body",
                hint=HINT,
            )
    _take_up(model, saved)
    return model


def _take_up(model: MultiTask, saved: Path) -> None:
    """Heads of parts that were saved under their names; those of other parts, or of another form, stay fresh."""
    there = model.state_dict()
    for file in sorted(saved.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                fits = name in there and list(there[name].shape) == tensors.get_slice(name).get_shape()
                if fits and name.startswith(HEAD):
                    there[name].copy_(tensors.get_tensor(name))


def _probed(model: nn.Module) -> torch.Tensor:
    """Every output for a few tokens."""
    tokens = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]])
    with torch.no_grad():
        return _flat(model.eval()(input_ids=tokens, attention_mask=torch.ones_like(tokens)), None)


def _flat(said: Any, mask: torch.Tensor | None) -> torch.Tensor:
    """Outputs of a head, ``[rows, …]``; those at tokens that only pad are 0."""
    logits = [said["logits"]] if "logits" in said else [said["start_logits"], said["end_logits"]]
    flat = []
    for one in logits:
        if mask is not None and one.shape[:2] == mask.shape:
            one = one * mask.reshape(*mask.shape, *[1] * (one.dim() - 2)).to(one.dtype)  # noqa: PLW2901
        flat.append(one.flatten(1))
    return torch.cat(flat, dim=1)
