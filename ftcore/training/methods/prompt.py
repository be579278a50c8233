"""Prompt tuning: train the embeddings of a few tokens put before every text; all other weights of the base stay.

B. Lester et al. (2021), *The Power of Scale for Parameter-Efficient Prompt Tuning*. The tokens become part of the
vocabulary, so the tuned model is a plain model: it exports and serves like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.errors import TrainingError
from ftcore.training.methods import _adapters, _prompt
from ftcore.training.methods._base import Method

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from ftcore.recipe.model import Recipe


class PromptTuning(Method):
    """Soft prompts. They take a learning rate of 0.01 and more, and more epochs than LoRA."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "prompt", "tokens": 20}
    TASKS: ClassVar[tuple[str, ...]] = ("classification", "multilabel", "pair", "tagging", "multitask")
    """Not chat: a chat template writes its own start of a text, and would leave the prompt out."""

    kind: Literal["prompt"] = "prompt"
    tokens: Annotated[int, Field(ge=1, le=200)] = 20
    """Length of the prompt. It counts towards ``train.max_length_tokens``."""
    text: str = ""
    """What the prompt says before it is trained; empty draws its words from the vocabulary."""

    def faults(self, recipe: Recipe) -> Iterator[tuple[str, str]]:
        """A prompt that leaves no room for the text."""
        limit = recipe.train.max_length_tokens
        if self.tokens > limit // 2:
            yield "method.tokens", f"{self.tokens} of the {limit} tokens of train.max_length_tokens; half is the most"

    def apply(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
        """The model with a longer vocabulary, whose new words and head train; the tokenizer puts them in."""
        import torch
        from peft import TrainableTokensConfig

        words = len(tokenizer)
        if self.text:
            start = tokenizer(self.text, add_special_tokens=False)["input_ids"]
            if not start:
                raise TrainingError(f"method.text: the tokenizer finds no word in {self.text!r}")
            drawn = (start * self.tokens)[: self.tokens]
        else:
            drawn = torch.randint(words, (self.tokens,), device="cpu").tolist()
        numbers = _prompt.add(tokenizer, self.tokens)
        if len(tokenizer) > model.get_input_embeddings().num_embeddings:  # type: ignore[operator]
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)  # type: ignore[operator]
        embeddings = model.get_input_embeddings().weight  # type: ignore[operator]
        with torch.no_grad():
            embeddings[numbers] = embeddings[drawn]
        layer = next(name for name, module in model.named_modules() if getattr(module, "weight", None) is embeddings)
        trained = TrainableTokensConfig(
            task_type=_adapters.task_type(model), token_indices=numbers, target_modules=[layer]
        )
        trained.modules_to_save = _adapters.head(model)  # no field of this config, but looked for in all of them
        return _adapters.adapt(model, trained)

    def save(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
        """Write the model with the prompt in its vocabulary to ``folder/model``, and the tokenizer that puts it in.

        Raises:
            TrainingError: what was written answers otherwise than what was trained.
        """
        before = _adapters.answers(model, tokenizer)
        _adapters.save(model, tokenizer, folder, adapter=False)
        _prompt.keep(tokenizer, folder / "model")
        again = _adapters.read_again(model, folder / "model")
        _adapters.agree(before, _adapters.answers(again, _prompt.read(folder / "model")))
