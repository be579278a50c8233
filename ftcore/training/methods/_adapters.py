"""What the methods that go through peft share: what is the head, what can be adapted, and a merge that is checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ftcore.errors import TrainingError
from ftcore.models import base

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from peft import PeftConfig, PeftModel
    from torch import nn
    from transformers import PreTrainedTokenizerBase

PROBE = ("Short.", "A sentence that is quite a bit longer than the first one, so that padding is needed.")
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}
"""Largest difference that merging may make, relative to the largest output; by the weights' precision."""
ARCHITECTURES = {
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
    "ForConditionalGeneration": "SEQ_2_SEQ_LM",
    "ForCausalLM": "CAUSAL_LM",
    "LMHeadModel": "CAUSAL_LM",
}
"""Ends of class names, and what peft calls the task."""
LANGUAGE_MODELS = ("CAUSAL_LM", "SEQ_2_SEQ_LM")


def task_type(model: nn.Module) -> str | None:
    """What peft calls the task that a model is for; None where it has no name for it."""
    name = type(model).__name__
    return next((task for end, task in ARCHITECTURES.items() if name.endswith(end)), None)


def head(model: nn.Module) -> list[str]:
    """Names of the modules behind the base, which are new and must train whole; a language model has none.

    peft knows ``classifier`` and ``score`` by name, which leaves DistilBERT's ``pre_classifier`` at random.
    """
    if task_type(model) in LANGUAGE_MODELS:
        return []
    body = getattr(model, "base_model_prefix", "")
    heads = [name for name, child in model.named_children() if name != body and any(True for _ in child.parameters())]
    return [whole for name in heads for whole in _layers(model.get_submodule(name), name)]


def _layers(head: nn.Module, name: str) -> list[str]:
    """The layers of a head that is a model itself, as those of a task of several parts are; else the head."""
    if not hasattr(head, "base_model_prefix"):
        return [name]
    return [
        f"{name}.{inner}"
        for inner, layer in head.named_modules()
        if next(layer.parameters(recurse=False), None) is not None
    ]


def linear_layers(model: nn.Module) -> list[str]:
    """Names of the linear layers of the base, as patterns see them."""
    from torch import nn as torch_nn
    from transformers.pytorch_utils import Conv1D

    heads = {*(name.partition(".")[0] for name in head(model)), "lm_head"}
    found = (name for name, module in model.named_modules() if isinstance(module, torch_nn.Linear | Conv1D))
    return [name for name in found if name.partition(".")[0] not in heads]


def in_layers(model: nn.Module, targets: str | tuple[str, ...], layers: tuple[int, ...]) -> list[str]:
    """Whole names of the linear layers that ``targets`` mean, in the blocks of some numbers.

    peft takes numbers of blocks beside a list of names only.

    Raises:
        TrainingError: there is none.
    """
    found = linear_layers(model)
    if isinstance(targets, tuple):
        found = [name for name in found if any(f".{name}".endswith(f".{end}") for end in targets)]
    elif targets != "all-linear":
        try:
            found = [name for name in found if re.fullmatch(targets, name)]
        except re.error as error:
            raise _no_pattern(error) from error
    blocks = {name: int(number[1]) for name in found if (number := re.search(r"\.(\d+)\.", name))}
    chosen = [name for name, number in blocks.items() if number in layers]
    if not chosen:
        raise TrainingError(
            f"the method's targets match none of the layers in the blocks {', '.join(map(str, layers))}",
            hint=f"its blocks are 0 to {max(blocks.values())}" if blocks else "leave method.layers out",
        )
    return chosen


def _no_pattern(error: re.error) -> TrainingError:
    hint = "a list of names is taken as it is"
    return TrainingError(f"the method's targets are no regular expression: {error}", hint=hint)


def adapt(model: nn.Module, config: PeftConfig) -> PeftModel:
    """The model wrapped by peft.

    Raises:
        TrainingError: the targets match no layer, or peft cannot adapt this model.
    """
    from peft import get_peft_model

    try:
        return get_peft_model(model, config)  # type: ignore[arg-type]
    except re.error as error:
        raise _no_pattern(error) from error
    except (ValueError, KeyError, NotImplementedError) as error:
        kinds = sorted({re.sub(r"\d+", "N", name) for name in linear_layers(model)})
        nothing = "No modules were targeted" in str(error) or "not found in the base model" in str(error)
        why = "the method's targets match none of its layers" if nothing else str(error)
        raise TrainingError(
            f"{type(model).__name__} cannot be adapted: {why}", hint=f"its linear layers are {', '.join(kinds)}"
        ) from error


def with_trained_heads(model: nn.Module) -> nn.Module:
    """The plain model inside peft's, with the heads that were trained in the place of peft's wrappers."""
    from peft.utils import ModulesToSaveWrapper

    plain: nn.Module = model.get_base_model()  # type: ignore[operator]
    for name, module in list(plain.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):
            parent, _, last = name.rpartition(".")
            setattr(plain.get_submodule(parent), last, module.modules_to_save[module.active_adapter])
    return plain


def save(model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path, *, adapter: bool = True) -> None:
    """Write the adapter to ``folder/adapter`` and the merged model to ``folder/model``.

    Raises:
        TrainingError: merged and unmerged answers differ.
    """
    if adapter:
        model.save_pretrained(folder / "adapter", safe_serialization=True)  # type: ignore[operator]
    base.write_model(merged(model, tokenizer), tokenizer, folder / "model")


def read_again(model: nn.Module, folder: Path) -> nn.Module:
    """The plain model inside peft's, as it was saved in a folder."""
    plain: Any = model.get_base_model()  # type: ignore[operator]
    if hasattr(plain, "read_again"):  # a task of several parts
        return plain.read_again(folder)  # type: ignore[no-any-return]
    return type(plain).from_pretrained(folder, use_safetensors=True)  # type: ignore[no-any-return]


def merged(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
    """The plain model with every active adapter in its weights, proven to answer as it did.

    Raises:
        TrainingError: merged and unmerged answers differ, or are no numbers.
    """
    before = answers(model, tokenizer)
    try:
        plain: nn.Module = model.merge_and_unload(safe_merge=True)  # type: ignore[operator]
    except ValueError as error:  # what safe_merge says of weights that are not finite
        raise TrainingError(f"the adapter cannot be merged: {error}") from error
    agree(before, answers(plain, tokenizer))
    return plain


def agree(before: torch.Tensor, after: torch.Tensor, allowed: float | None = None) -> None:
    """Compare outputs from before and after a merge.

    Args:
        before: of the model that was trained.
        after: of the merged one.
        allowed: largest difference relative to the largest output; without it, that of the precision.

    Raises:
        TrainingError: they differ by more than their precision explains, or are no numbers.
    """
    if allowed is None:
        allowed = TOLERANCE.get(str(before.dtype).removeprefix("torch."), TOLERANCE["float32"])
    scale = max(1.0, float(before.abs().max()))
    difference = float((before.double() - after.double()).abs().max()) / scale
    if not difference <= allowed:  # also where it is no number
        raise TrainingError(
            f"merged and unmerged model differ by {difference:.2g} of the largest output, {allowed:g} is allowed",
            hint="the merged model would not be the one that was trained: lower the learning rate or the rank",
        )


def answers(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """The first output of a model for two sentences, at the tokens that count: ``[rows or tokens, …]``.

    In the precision of the weights: what training put around the model to calculate in 16 bits is taken off.
    """
    import torch
    from accelerate.utils import extract_model_from_parallel

    model = extract_model_from_parallel(model, keep_fp32_wrapper=False)
    texts = list(PROBE) if tokenizer.pad_token is not None else [PROBE[1]]
    weight = next(model.parameters())
    inputs: dict[str, Any] = {
        name: value.to(weight.device)
        for name, value in tokenizer(texts, padding=len(texts) > 1, return_tensors="pt").items()
    }
    if model.config.is_encoder_decoder:  # type: ignore[union-attr]
        inputs["decoder_input_ids"] = inputs["input_ids"]
    with still(model), torch.inference_mode():
        outputs: torch.Tensor = model(**inputs)[0]
    if outputs.shape[:2] == inputs["input_ids"].shape:
        outputs = outputs[inputs["attention_mask"].bool()]
    return outputs.cpu()


@contextmanager
def still(model: nn.Module) -> Iterator[None]:
    """Without dropout, and afterwards as it was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
