"""What an answer is worth: a pattern that it matches, its length, a reward model's score, what a classifier says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from ftcore.errors import TrainingError
from ftcore.models.outputs import Example
from ftcore.recipe.kinds import Config

if TYPE_CHECKING:
    from ftcore.training.exchanges import Prompt, ReferenceModel

Score: TypeAlias = "Callable[[Sequence[Prompt], Sequence[str]], list[float]]"
"""From prompts and answers to what each answer is worth."""
Reference = Annotated[str, Field(pattern=r"^models:/[\w.\-]+(@[\w\-]+|/\d+)$")]


class _Reward(Config):
    weight: float = 1
    """How much it counts in the sum; below 0 it is a penalty."""

    @property
    def models(self) -> tuple[str, ...]:
        """References of the models that it asks."""
        return ()


class Regex(_Reward):
    """1 where the answer has a match of a pattern, 0 elsewhere."""

    kind: Literal["regex"]
    pattern: Annotated[str, Field(min_length=1)]
    """Python regular expression, searched for; ``^`` and ``$`` are the ends of a line, a dot is also a line's end."""
    whole: bool = False
    """Whether the whole answer must match."""

    @field_validator("pattern")
    @classmethod
    def _is_a_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        return value

    def score(self, ask: Callable[[str], ReferenceModel]) -> Score:
        """Search, or match the whole."""
        pattern = re.compile(self.pattern, re.MULTILINE | re.DOTALL)
        matches = pattern.fullmatch if self.whole else pattern.search
        return lambda _, answers: [float(matches(answer.strip()) is not None) for answer in answers]


class Length(_Reward):
    """1 where the answer has as many words as it should; beyond, it falls to 0 over as many words again."""

    kind: Literal["length"]
    least: Annotated[int, Field(ge=0)] = 1
    """Fewest words, separated by white space."""
    most: Annotated[int, Field(ge=1)]
    """Most words."""

    @model_validator(mode="after")
    def _in_order(self) -> Length:
        if self.least > self.most:
            raise ValueError("least is more than most")
        return self

    def score(self, ask: Callable[[str], ReferenceModel]) -> Score:
        """``words / least`` below the range, ``1 − (words − most) / most`` above, never below 0."""

        def worth(answer: str) -> float:
            words = len(answer.split())
            if words < self.least:
                return words / self.least
            return max(0.0, 1 - max(0, words - self.most) / self.most)

        return lambda _, answers: [worth(answer) for answer in answers]


class _Asking(_Reward):
    model: Reference

    @property
    def models(self) -> tuple[str, ...]:
        """The registered model."""
        return (self.model,)


class Registered(_Asking):
    """The score that a reward model of our registry gives, trained by the method ``reward``."""

    kind: Literal["registered"]
    model: Reference
    """Such as ``models:/taste@champion``."""

    def score(self, ask: Callable[[str], ReferenceModel]) -> Score:
        """Ask it about prompt and answer.

        Raises:
            TrainingError: it is a model of another task.
        """
        asked = ask(self.model)
        if asked.kind != "preference":
            raise TrainingError(
                f"{self.model} is a model for {asked.kind}, and gives no score", hint="name one of the task preference"
            )

        import numpy as np

        def worth(prompts: Sequence[Prompt], answers: Sequence[str]) -> list[float]:
            rows = [Example(_text(prompt), None, answer) for prompt, answer in zip(prompts, answers, strict=True)]
            return [float(score) for score in np.asarray(asked.predict(rows))[:, 0]]

        return worth


class Classifier(_Asking):
    """The probability that a classifier of our registry gives a label, of the answer alone."""

    kind: Literal["classifier"]
    model: Reference
    """Such as ``models:/sentiment@champion``."""
    label: str
    """The label that is wanted."""

    def score(self, ask: Callable[[str], ReferenceModel]) -> Score:
        """Ask it about the answer.

        Raises:
            TrainingError: it is no classifier, or has no such label.
        """
        asked = ask(self.model)
        if self.label not in asked.labels or asked.kind != "classification":
            raise TrainingError(
                f"{self.model} is a model for {asked.kind} and has no label {self.label!r}",
                hint=f"its labels are {', '.join(asked.labels)}" if asked.labels else "name a classifier",
            )
        place = asked.labels.index(self.label)
        return lambda _, answers: [float(row[place]) for row in asked.predict(list(answers))]


Reward = Annotated[Regex | Length | Registered | Classifier, Field(discriminator="kind")]


def named(rewards: Sequence[Any]) -> list[str]:
    """A name for each, as curves call them: its kind, and a number where there are several."""
    kinds = [reward.kind for reward in rewards]
    return [f"{kind}_{n}" if kinds.count(kind) > 1 else kind for n, kind in enumerate(kinds, 1)]


def total(rewards: Sequence[Any], scores: Sequence[Score]) -> Score:
    """The weighted sum of the rewards' scores."""

    def worth(prompts: Sequence[Prompt], answers: Sequence[str]) -> list[float]:
        parts = [[r.weight * one for one in score(prompts, answers)] for r, score in zip(rewards, scores, strict=True)]
        return [sum(row) for row in zip(*parts, strict=True)]

    return worth


def _text(prompt: Prompt) -> str:
    """A prompt as the text of a row: a conversation as the JSON list that the task reads."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt)
