"""The recipe: one YAML file that declares one model product."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from ftcore.recipe.kinds import Config, kind_class, kinds
from ftcore.recipe.sections import (
    Approval,
    Card,
    Evaluate,
    Exporter,
    Gate,
    Method,
    Prepare,
    Schedule,
    Source,
    Task,
    Validation,
    Watch,
    task_class,
)
from ftcore.recipe.training_sections import Plan, Search, Train

if TYPE_CHECKING:
    from ftcore.statistics.intervals import Better

NAME = re.compile(r"^[a-z][a-z0-9_]{0,39}\Z")
BASE = re.compile(
    r"^(package://\w[\w.]*(/[\w.\-]+)*|models:/[\w.\-]+(@[\w\-]+|/\d+)"
    r"|(~|\.{0,2})/[^\x00-\x1f]*|[^\s:@]+(@[\w.\-/]+)?)\Z"
)

SEVERAL = "multitask"
"""Kind of the task that has parts; each is judged by its own kind."""


class Recipe(Config):
    """One model product: where its data comes from, how it is trained, what it must prove, who must agree."""

    name: str
    """Name of the product: lower case, digits and underscores. It names the DAGs, the registered model and the
    folder in the store."""
    description: str = ""
    """One sentence, shown wherever the model is shown."""
    task: Task
    """The ML task."""
    base: str
    """Base model: ``package://module/path``, a local folder, a hub id with ``@revision``, or ``models:/name@alias``."""
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    """Where rows come from; ``feedback`` is what production collected."""
    prepare: Prepare = Prepare()
    validation: Validation = Validation()
    plan: Plan = Plan()
    method: Method
    """The way to train."""
    train: Train = Train()
    search: Search | None = None
    """Settings to try before the training; without it the recipe's own are trained."""
    exports: tuple[Exporter, ...] = ()
    """Formats to export to; the first one serves. Without any the trained model itself serves, by torch."""
    evaluate: Evaluate = Evaluate()
    gates: Annotated[tuple[Gate, ...], Field(min_length=1)]
    """Every one must pass before a candidate can become champion."""
    on_undecided: Literal["fail", "ask"] = "fail"
    """What a gate that cannot tell, for want of rows, does: fail, or leave it to the people who approve."""
    approval: Approval = Approval()
    watch: Watch = Watch()
    schedule: Schedule = Schedule()
    card: Card = Card()

    @model_validator(mode="before")
    @classmethod
    def _gates_judge_the_first_metric(cls, values: Any) -> Any:
        return _with_metrics(values)

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not NAME.match(value):
            raise ValueError("use lower case letters, digits and underscores, a letter first, 40 at most")
        return value

    @field_validator("base")
    @classmethod
    def _is_a_base(cls, value: str) -> str:
        if not BASE.match(value):
            raise ValueError(
                "expected package://module/path, a folder, a hub id such as org/model@revision, or models:/name@alias; "
                "a folder with blanks, '@' or ':' in its name starts with / or ./"
            )
        return value

    @property
    def metrics(self) -> Mapping[str, Better]:
        """Every metric of the task, the one that is reported first, and which way each improves."""
        return self.task.better

    @property
    def generative(self) -> bool:
        """Whether the base model can do the task before any training."""
        return self.task.generative

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts of a task that has several."""
        return tuple(self.task.parts)

    def task_of(self, source: str | None) -> Task:
        """The task of rows from a source, or of requests to a part: the part's own where there are several."""
        return self.task.of(source)

    @property
    def suite(self) -> str:
        """Name of the expectation suite."""
        return self.validation.suite or self.task.kind

    def resolved(self) -> dict[str, Any]:
        """The recipe with every default filled in, as plain JSON values."""
        return self.model_dump(mode="json")


def _with_metrics(document: Any) -> Any:
    """A gate that names no metric judges by the first one of the task."""
    if not isinstance(document, dict) or not isinstance(document.get("gates"), list):
        return document
    first = _first_metric(document.get("task"))
    if first is None:
        return document

    def judges(gate: Any) -> bool:
        known = isinstance(gate, dict) and gate.get("kind") in kinds("gates")
        return known and "metric" in kind_class("gates", gate["kind"]).model_fields

    return document | {"gates": [{"metric": first, **gate} if judges(gate) else gate for gate in document["gates"]]}


def _first_metric(task: Any) -> str | None:
    """Name of a task's first metric; None where what stands there is no task."""
    kind = task.get("kind") if isinstance(task, dict) else None
    if kind not in kinds("tasks"):
        return None
    own = task_class(str(kind))
    try:
        metrics = own.METRICS or own.model_validate(task).better
    except ValidationError:
        return None  # what is wrong with it is said anyway
    return next(iter(metrics))
