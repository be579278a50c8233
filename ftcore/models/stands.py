"""Whether a base model is of the kind that a task stands on, by the files next to its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftcore.recipe.sections import Task

CAUSAL, SEQ2SEQ = "AutoModelForCausalLM", "AutoModelForSeq2SeqLM"
INSTEAD = {
    CAUSAL: "take a language model as base, such as Llama, Qwen or SmolLM",
    SEQ2SEQ: "take an encoder-decoder model as base, such as T5 or BART",
}
"""By architecture what to do where the base model is of another."""


def is_encoder(config: Any) -> bool:
    """Whether a model's configuration says that it is no causal language model."""
    written = tuple(getattr(config, "architectures", None) or ())
    if any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in written):  # GPT-NeoX calls itself no decoder
        return False
    return getattr(config, "is_decoder", True) is False or bool(getattr(config, "is_encoder_decoder", False))


def fault(task: Task, folder: Path) -> tuple[str, str] | None:
    """Why a task cannot learn on a base model, and what to do; None where it can, or where nobody can tell.

    Args:
        task: the recipe's task.
        folder: of the base model; nothing is downloaded.
    """
    wanted = task.architecture
    if wanted not in INSTEAD or not (folder / "config.json").is_file():
        return None
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if wanted == CAUSAL and is_encoder(config):
        kind = "an encoder: it reads what comes behind a token, and cannot write"
    elif wanted == SEQ2SEQ and not getattr(config, "is_encoder_decoder", False):
        kind = "no encoder-decoder model"
    else:
        return None
    return f"{task.kind} cannot learn on {folder}, which is {kind}", INSTEAD[wanted]
