"""What a recipe says about a task of several parts, and which part a row belongs to."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import Field, create_model, model_validator

from ftcore.errors import DataRejectedError
from ftcore.recipe.kinds import Config, kind_class, kinds
from ftcore.tasks._base import Task

if TYPE_CHECKING:
    from ftcore.statistics.intervals import Better

FEEDBACK = "feedback:"
"""Before a part's name: the source of its rows that came back from production."""


class Share(Config):
    """What a part sets in addition to its own task."""

    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    """Whose rows are this part's, as rows name them: ``KIND:NAME``, such as ``files:tickets`` or ``vader:movie``."""
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Share of the batches, relative to the other parts' weights; how many rows a part has does not matter, a small one
    is gone through more often."""


def _parts() -> Any:
    """Any task that says what it stands on, with a part's own fields: a union told apart by ``kind``."""
    every = [cast("type[Task]", kind_class("tasks", kind)) for kind in kinds("tasks") if kind != "multitask"]
    made = [
        create_model(f"{task.__name__}Part", __base__=(Share, task), __doc__=task.__doc__)
        for task in every
        if task.BACKBONE
    ]
    return Annotated[reduce(or_, made), Field(discriminator="kind")]


if TYPE_CHECKING:

    class Part(Share, Task):
        """A task with a part's own fields."""
else:
    Part = _parts()


class Parts(Task):
    """Parts that share the base model. A batch holds rows of one part; an epoch has as many rows as there are."""

    parts: Annotated[
        dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")], Part],
        Field(min_length=2),
    ]
    """By name, each a task with its own keys, its ``sources`` and its ``weight``. Either all stand on an encoder
    (classification, multilabel, tagging, qa, pair), or all on one language model (chat, completion), or all are
    seq2seq. A part's metrics are called ``PART/METRIC``."""

    @model_validator(mode="after")
    def _can_share_a_base(self) -> Parts:
        bases = {name: part.BACKBONE for name, part in self.parts.items()}
        if len(set(bases.values())) > 1:
            words = ", ".join(f"{name} ({self.parts[name].kind}) on {kind}" for name, kind in bases.items())
            raise ValueError(f"all parts must stand on the same kind of model, these do not: {words}")
        owners: dict[str, str] = {}
        for name, part in self.parts.items():
            for source in part.sources:
                if owners.setdefault(source, name) != name:
                    raise ValueError(f"{source} belongs to two parts, {owners[source]} and {name}")
        return self

    @property
    def first(self) -> Part:
        """The first part."""
        return next(iter(self.parts.values()))

    @property
    def stands_on(self) -> str:
        """What all parts stand on."""
        return self.first.BACKBONE

    @property
    def architecture(self) -> str:
        """The class of transformers by which a plan counts: the first part's, since heads weigh next to nothing."""
        return self.first.architecture

    @property
    def generative(self) -> bool:
        """Whether the base model can do every part before any training."""
        return all(part.GENERATIVE for part in self.parts.values())

    @property
    def better(self) -> dict[str, Better]:
        """Every part's metrics as ``PART/METRIC``, and which way each improves."""
        every = {name: part.METRICS for name, part in self.parts.items()}
        return {f"{name}/{metric}": better for name, own in every.items() for metric, better in own.items()}

    @property
    def labels(self) -> tuple[str, ...]:
        """Every part's labels as ``PART/LABEL``; a part without any counts by its kind."""
        every = {name: part.labels or (part.kind,) for name, part in self.parts.items()}
        return tuple(f"{name}/{label}" for name, labels in every.items() for label in labels)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the batches of each part; they add up to 1."""
        whole = sum(part.weight for part in self.parts.values())
        return {name: part.weight / whole for name, part in self.parts.items()}

    def part(self, source: str | None) -> str:
        """Name of the part that rows of a source belong to, or requests that name a part.

        Raises:
            DataRejectedError: it belongs to none.
        """
        if source in self.parts:
            return str(source)
        for name, part in self.parts.items():
            if source in part.sources or source == FEEDBACK + name:
                return name
        said = f"{source!r} belongs to no part of the task" if source else "a text does not name its part"
        raise DataRejectedError(said, hint=f"name one of {', '.join(self.parts)}")

    def of(self, source: str | None) -> Part:
        """The task of a row, by its source."""
        return self.parts[self.part(source)]
