"""Distillation: a small model learns what a larger one would say of every row, beside the row's own label.

G. Hinton, O. Vinyals and J. Dean (2015), *Distilling the Knowledge in a Neural Network*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.errors import TrainingError
from ftcore.models import base
from ftcore.training.effort import Effort
from ftcore.training.methods._base import Method

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from ftcore.context import Context
    from ftcore.recipe.model import Recipe

TINY = 1e-6


class Distill(Method):
    """Soft targets from a teacher; all weights of the student learn."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "distill", "teacher": "champion", "temperature": 2.0}
    TASKS: ClassVar[tuple[str, ...]] = ("classification",)
    MULTITASK_REASON: ClassVar[str] = "a teacher's probabilities are of one set of labels"
    LOSS: ClassVar[tuple[str, ...]] = ("teacher", "temperature", "weight")
    OWN_LOSS: ClassVar[bool] = True

    kind: Literal["distill"] = "distill"
    teacher: Annotated[str, Field(pattern=r"^(champion|\S+)$")] = "champion"
    """``champion``, or a model with the recipe's labels, named as ``base`` is: ``models:/name@alias``, a folder, a
    hub id. It reads the texts with its own tokenizer."""
    temperature: Annotated[float, Field(ge=1, le=20)] = 2
    """How much the teacher's second thoughts count: logits are divided by it before the softmax."""
    weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the teacher in the loss; the rest is the cross-entropy with the row's label."""

    def teacher_reference(self, context: Context) -> str:
        """Reference of the teacher.

        Raises:
            TrainingError: the champion is to teach and there is none.
        """
        if self.teacher != "champion":
            return self.teacher
        number = context.earlier("plan").figures["champion"]
        if number is None:
            raise TrainingError(
                f"{context.recipe.name} has no champion to teach",
                hint="name another method.teacher, or train one first",
            )
        return f"models:/{context.recipe.name}/{number}"

    def effort(self, recipe: Recipe, rows: int) -> Effort:
        """One pass, after the teacher has read every row once."""
        named = f"models:/{recipe.name}@champion" if self.teacher == "champion" else self.teacher
        return Effort(teachers=(named,))

    def apply(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
        """The student, whose loss is that of Hinton et al. wherever a batch brings the teacher's probabilities."""
        given: dict[str, Any] = {}

        def take(
            _: nn.Module, arguments: tuple[Any, ...], batch: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            given.clear()
            given.update(teacher=batch.pop("teacher", None))
            return arguments, batch

        def judge(_: nn.Module, __: tuple[Any, ...], outputs: Any) -> Any:
            if given["teacher"] is not None and outputs.get("loss") is not None:
                outputs["loss"] = self.loss(outputs, given["teacher"])
            return outputs

        handles = [
            model.register_forward_pre_hook(take, with_kwargs=True),
            model.register_forward_hook(judge),
        ]
        model.lessons = handles  # type: ignore[assignment] # save ends them
        model.requires_grad_(True)
        return model

    def loss(self, outputs: Any, teacher: torch.Tensor) -> torch.Tensor:
        """``(1 − w) · CE(student, label) + w · T² · KL(teacher at T ‖ student at T)``.

        Args:
            outputs: the student's, with ``logits`` ``[rows, labels]`` and its own ``loss``, the mean cross-entropy.
            teacher: the teacher's probabilities, ``[rows, labels]``.
        """
        from torch.nn import functional

        logits, heat = outputs.logits.float(), self.temperature
        soft = (teacher.float().clamp_min(TINY).log() / heat).log_softmax(-1)
        apart = functional.kl_div((logits / heat).log_softmax(-1), soft, log_target=True, reduction="batchmean")
        result: torch.Tensor = (1 - self.weight) * outputs.loss + self.weight * heat**2 * apart
        return result

    def save(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
        """Write the student to ``folder/model`` as safetensors."""
        for handle in model.lessons:  # type: ignore[union-attr]
            handle.remove()
        base.write_model(model, tokenizer, folder / "model")
