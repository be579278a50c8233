"""QLoRA: LoRA over a base whose linear layers are kept in four bits; an eighth of the memory for the weights.

T. Dettmers et al. (2023), *QLoRA: Efficient Finetuning of Quantized LLMs*. It needs a CUDA device and bitsandbytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ftcore.errors import MissingExtraError, TrainingError
from ftcore.models import base
from ftcore.training.methods import _adapters
from ftcore.training.methods._lora import LowRank

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from ftcore.recipe.model import Recipe

MERGE_TOLERANCE = 5e-2
"""The four-bit layers calculate in bfloat16, the merged ones in float32."""


class Qlora(LowRank):
    """Low-rank adaptation through peft over NormalFloat4 weights."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "qlora", "rank": 16}
    DEVICES: ClassVar[tuple[str, ...]] = ("cuda",)
    WEIGHT_BYTES: ClassVar[float] = 0.56
    """Bytes of a weight in four bits, with its share of the scales."""

    kind: Literal["qlora"] = "qlora"
    init: Literal["default", "loftq"] = "default"  # type: ignore[assignment]
    """Where the updates start: ``default`` changes nothing at first; ``loftq`` with what the four bits lost, as far as
    the rank goes (one step of Li et al. 2023, *LoftQ*)."""
    double: bool = True
    """Whether the scales of the four-bit blocks are quantized as well."""

    def faults(self, recipe: Recipe) -> Iterator[tuple[str, str]]:
        """Adapters that were trained on other weights."""
        if self.stack:
            yield "method.stack", "adapters cannot be stacked on a base of four bits; use lora"

    def apply(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
        """The model on the GPU, its linear layers in four bits, with adapters to train; the head trains whole.

        Raises:
            TrainingError: there is no CUDA device.
            MissingExtraError: bitsandbytes is not installed.
        """
        import torch

        if not torch.cuda.is_available():
            raise TrainingError(
                "qlora needs a CUDA device, and this machine has none",
                hint="run train on a worker with a GPU, or use method kind lora, as good where memory suffices",
            )
        return self.in_four_bits(model, "cuda")

    def in_four_bits(self, model: nn.Module, device: str) -> nn.Module:
        """The model on a device, four bits and all."""
        import torch

        layers = _adapters.linear_layers(model) if self.init == "loftq" else []
        whole = {name: model.get_submodule(name).weight.detach().clone() for name in layers}
        model = self.adapted(quantized(model, device, double=self.double))
        with torch.no_grad():
            for name, module in model.get_base_model().named_modules():  # type: ignore[operator]
                if name in whole and hasattr(module, "lora_A"):
                    _make_up(module, whole[name].to(device).float())
        return model

    def save(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
        """Write the adapter to ``folder/adapter``, and to ``folder/model`` the base as it was trained over, merged.

        Raises:
            TrainingError: it answers otherwise than the model that was trained.
        """
        model.save_pretrained(folder / "adapter", safe_serialization=True)  # type: ignore[operator]
        base.write_model(merged(model, tokenizer), tokenizer, folder / "model")


def _make_up(module: Any, whole: torch.Tensor) -> None:
    """Start an update with the largest singular vectors of what a layer lost."""
    import torch
    from bitsandbytes.functional import dequantize_4bit

    kept = module.base_layer.weight
    lost = whole - dequantize_4bit(kept.data, kept.quant_state).float()
    left, values, right = torch.linalg.svd(lost, full_matrices=False)
    down, up = module.lora_A["default"].weight, module.lora_B["default"].weight
    size = (values[: len(down)] / module.scaling["default"]).sqrt()
    down.copy_(size[:, None] * right[: len(down)])
    up.copy_(left[:, : len(down)] * size)


def quantized(model: nn.Module, device: str, *, double: bool) -> nn.Module:
    """The model with the linear layers of its base in NormalFloat4, on a device."""
    import torch
    from peft import prepare_model_for_kbit_training

    try:
        import bitsandbytes as bnb
    except ImportError as error:
        raise MissingExtraError("bitsandbytes is not installed", hint="pip install 'ftcore[gpu]'") from error
    for name in _adapters.linear_layers(model):
        old = model.get_submodule(name)
        new = bnb.nn.Linear4bit(
            old.in_features,
            old.out_features,
            bias=old.bias is not None,
            compute_dtype=torch.bfloat16,
            compress_statistics=double,
            quant_type="nf4",
        )
        new.weight = bnb.nn.Params4bit(
            old.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=double
        )
        new.bias = old.bias
        _put(model, name, new)
    model.is_loaded_in_4bit = True  # type: ignore[assignment] # by this peft knows that the layers are bitsandbytes'
    prepared: nn.Module = prepare_model_for_kbit_training(model.to(device), use_gradient_checkpointing=False)
    return prepared


def merged(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
    """The plain float32 model: what the four bits stand for, plus the updates.

    Raises:
        TrainingError: it answers otherwise than the model that was trained.
    """
    import torch
    from torch import nn as layers

    weights = {name: _whole(module) for name, module in _four_bit(model.get_base_model())}  # type: ignore[operator]
    # Only now: to answer, bitsandbytes puts four-bit weights into another order on some processors.
    before = _adapters.answers(model, tokenizer)
    plain: Any = _adapters.with_trained_heads(model)
    for name, (weight, bias) in weights.items():
        whole = layers.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device=weight.device)
        with torch.no_grad():
            whole.weight.copy_(weight)
            if bias is not None:
                whole.bias.copy_(bias)
        _put(plain, name, whole)
    del plain.is_loaded_in_4bit
    _adapters.agree(before.float(), _adapters.answers(plain, tokenizer).float(), MERGE_TOLERANCE)
    result: nn.Module = plain
    return result


def _four_bit(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The layers in four bits, and those of them that have updates instead of the layer inside."""
    inside = ".base_layer"
    for name, module in model.named_modules():
        if hasattr(getattr(module, "weight", None), "quant_state") and not name.endswith(inside):
            yield name, module


def _whole(module: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight in float32, updates included, and bias of a layer in four bits."""
    from bitsandbytes.functional import dequantize_4bit

    layer = getattr(module, "base_layer", module)
    weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
    if layer is not module:
        for adapter in module.active_adapters:
            weight = weight + module.get_delta_weight(adapter).float()
    return weight, layer.bias


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)
