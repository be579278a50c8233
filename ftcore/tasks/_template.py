"""What a model of this task does, in one sentence: it is what `ftcore ls` shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore._find import Config as Base

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from transformers import PreTrainedModel

EXAMPLE = {"kind": "NAME", "labels": ["a", "b"]}
TARGET = "label"
"""What the label of a row is: ``label`` one of the task's labels, ``number`` a number, ``text`` a text that somebody
wrote, ``none`` where the text itself is learnt."""
METRICS = ("accuracy",)


class Config(Base):
    """What a recipe says about this task."""

    kind: Literal["NAME"] = "NAME"
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    """Label names in the order of the model's outputs."""


def load(config: Config, base: Path) -> PreTrainedModel:
    """The base model with a head for this task; safetensors only, no remote code."""
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(config.labels), use_safetensors=True)


def predictor(config: Config, folder: Path, max_length_tokens: int) -> Callable[[Sequence[str]], np.ndarray]:
    """Torch predictions of a saved model: texts to probabilities, ``[texts, labels]``."""
    raise LookupError(f"say how {config.kind} predicts from {folder} with at most {max_length_tokens} tokens")


def probabilities(logits: np.ndarray) -> np.ndarray:
    """What the model's outputs mean, along the last axis."""
    return logits


def metrics(config: Config, truth: np.ndarray, predicted: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of kinds of rows ``[kinds]`` and how often each occurs, ``[kinds]`` or ``[resamples, kinds]``."""
    return {"accuracy": counts @ (truth == predicted) / counts.sum(-1)}
