"""What every method that trains low-rank updates lets a recipe say, and what peft makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ftcore import settings
from ftcore.errors import FtcoreError, TrainingError
from ftcore.models import base
from ftcore.recipe.kinds import Config
from ftcore.store.store import log
from ftcore.training.methods import _adapters
from ftcore.training.methods._base import Method

if TYPE_CHECKING:
    from pathlib import Path

    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedTokenizerBase


class Earlier(Config):
    """An adapter that was trained before, on the same base model."""

    model: Annotated[str, Field(pattern=r"^models:/[\w.\-]+(@[\w\-]+|/\d+)$")]
    """The registered version that it belongs to, such as ``models:/support@champion``."""
    weight: Annotated[float, Field(ge=-2, le=2)] = 1
    """How much of it counts."""


class Settings(Config):
    """Size, place and start of the updates."""

    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """Rank of each update."""
    alpha: Annotated[float, Field(gt=0)] = 32
    """Scale: an update counts ``alpha / rank`` times."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0
    """Dropout on the input of each update. The base model keeps its own, and adding to it helps little."""
    targets: str | tuple[str, ...] = "all-linear"
    """Names of the layers to adapt, or one regular expression for whole names, or ``all-linear``."""
    layers: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Numbers of the blocks to adapt, from 0; empty means all."""
    rank_stabilised: bool = False
    """Whether an update counts ``alpha / √rank`` times, so that high ranks learn as fast (rsLoRA, Kalajdzievski
    2023)."""
    init: Literal["default", "pissa", "olora"] = "default"
    """Where the updates start: ``default`` changes nothing at first; ``pissa`` from the principal singular vectors
    (Meng et al. 2024) and ``olora`` from a QR decomposition (Büyükakyüz 2024) of the weights."""
    stack: tuple[Earlier, ...] = ()
    """Adapters of other versions, laid under the new one: they stay as they are while it trains and are merged with
    it."""

    def adapted(self, model: nn.Module, *, dora: bool = False) -> PeftModel:
        """The model with an update for each target; the head trains whole.

        Raises:
            TrainingError: the targets match no layer, or peft cannot adapt this model.
        """
        from peft import LoraConfig

        targets = _adapters.in_layers(model, self.targets, self.layers) if self.layers else self.targets
        made = _adapters.adapt(
            model,
            LoraConfig(
                task_type=_adapters.task_type(model),
                r=self.rank,
                lora_alpha=self.alpha,
                lora_dropout=self.dropout,
                target_modules=targets if isinstance(targets, str) else list(targets),
                use_rslora=self.rank_stabilised,
                use_dora=dora,
                # 16 iterations of subspace iteration give the singular vectors of a 7B model within seconds.
                init_lora_weights={"pissa": "pissa_niter_16", "olora": "olora"}.get(self.init, True),
                modules_to_save=_adapters.head(model) or None,
            ),
        )
        return _stacked(self.stack, made) if self.stack else made

    def save(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
        """Write the merged model to ``folder/model``, and ``adapter``, unless it started from weights it must not lack.

        Raises:
            TrainingError: merged and unmerged answers differ.
        """
        _adapters.save(model, tokenizer, folder, adapter=self.init == "default")


class LowRank(Settings, Method):
    """A method that trains low-rank updates, and merges them into the weights afterwards."""

    DORA: ClassVar[bool] = False
    """Whether the length of each weight vector is learnt apart from its direction."""

    @property
    def frozen_adapters(self) -> int:
        """How many adapters of other versions lie under the one that trains."""
        return len(self.stack)

    def apply(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
        """The model with adapters to train; the head trains whole.

        Raises:
            TrainingError: the targets match no layer, or peft cannot adapt this model.
        """
        return self.adapted(model, dora=self.DORA)

    def sketch(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
        """The same for a model without weights: nothing is decomposed, nothing is fetched."""
        return self.model_copy(update={"init": "default", "stack": ()}).adapted(model, dora=self.DORA)


def _stacked(stack: tuple[Earlier, ...], model: PeftModel) -> PeftModel:
    """Put earlier adapters beneath the one that trains; all are active, only that one learns."""
    from peft.tuners.lora import LoraLayer

    names: list[str] = []
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    for number, earlier in enumerate(stack):
        folder, name = _fetch(earlier.model), f"earlier_{number}"
        try:
            model.load_adapter(str(folder), name)
        except (ValueError, RuntimeError, KeyError) as error:
            raise TrainingError(f"the adapter of {earlier.model} does not fit this base model: {error}") from error
        names.append(name)
        for module in layers:
            if name in module.scaling:
                module.set_scale(name, earlier.weight)
        log.info("laid the adapter of %s beneath the new one, weight %g", earlier.model, earlier.weight)
    # Heads can have one active adapter only, and theirs is the new one.
    for module in layers:
        module.set_adapter(["default", *names])
    for name, parameter in model.named_parameters():
        if any(f".{earlier}." in f"{name}." for earlier in names):
            parameter.requires_grad = False
    return model


def _fetch(reference: str) -> Path:
    try:
        return base.registered(reference, settings.load(), "adapter")
    except FtcoreError as error:
        raise TrainingError(
            f"{reference} has no adapter that can be stacked: {error}",
            hint="train it by lora with init default",
        ) from error
