"""Several tasks over one base model: a head for each over one encoder, or several uses of one language model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeAlias

from pydantic import Field, create_model, model_validator

from ftcore import outputs as form
from ftcore import snapshot
from ftcore._find import Config as Base
from ftcore._find import find, kinds
from ftcore.errors import DataRejectedError, NotEnoughDataError
from ftcore.training.features import Collator, Features

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    import numpy as np
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.outputs import Example, Outputs, Text
    from ftcore.recipe import Recipe
    from ftcore.statistics import Better

EXAMPLE = {
    "kind": "multitask",
    "parts": {
        "topic": {"kind": "classification", "labels": ["billing", "delivery"], "sources": ["files:topics"]},
        "urgency": {"kind": "pair", "sources": ["files:urgency"], "weight": 0.5},
    },
}
TARGET = "text"
GENERATIVE = False
"""Where the parts write, ``Config.generative`` says so."""
METRICS: dict[str, Better] = {}
"""They depend on the parts: see ``Config.metrics``."""
FEEDBACK = "feedback:"
"""Before a part's name: the source of its rows that came back from production."""
ENCODER = "encoder"


class Share(Base):
    """What a part says beside its own task."""

    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    """Whose rows are this part's, as rows name them: ``KIND:NAME``, such as ``files:tickets`` or ``vader:movie``."""
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Share of the batches, relative to the other parts' weights; how many rows a part has does not matter, a small one
    is gone through more often."""


def _parts() -> Any:
    """Any task that says what it stands on, with a part's own fields: a union told apart by ``kind``."""
    found = {kind: find("tasks", kind) for kind in kinds("tasks") if kind != __name__.rpartition(".")[2]}
    made = [
        create_model(f"{kind.title()}Part", __base__=(Share, task.Config), __doc__=task.Config.__doc__)
        for kind, task in found.items()
        if hasattr(task, "STANDS_ON")
    ]
    return Annotated[reduce(or_, made), Field(discriminator="kind")]


if TYPE_CHECKING:

    class PartConfig(Protocol):
        """A task's configuration with a part's own fields."""

        kind: str
        sources: tuple[str, ...]
        weight: float

    Part: TypeAlias = PartConfig
else:
    Part = _parts()


class Config(Base):
    """Parts that share the base model. A batch holds rows of one part; an epoch has as many rows as there are."""

    kind: Literal["multitask"] = "multitask"
    parts: Annotated[
        dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")], Part],
        Field(min_length=2),
    ]
    """By name, each a task with all that it takes, its ``sources`` and its ``weight``. Either all stand on an encoder
    (classification, multilabel, tagging, qa, pair), or all on one language model (chat, completion), or all are
    seq2seq. A part's metrics are called ``PART/METRIC``."""

    @model_validator(mode="after")
    def _can_share_a_base(self) -> Config:
        bases = {name: str(_task(part).STANDS_ON) for name, part in self.parts.items()}
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
    def stands_on(self) -> str:
        """What all parts stand on."""
        return str(_task(next(iter(self.parts.values()))).STANDS_ON)

    @property
    def architecture(self) -> str:
        """The class of transformers by which a plan counts: the first part's, since heads weigh next to nothing."""
        first = next(iter(self.parts.values()))
        return str(getattr(_task(first), "ARCHITECTURE", "AutoModelForSequenceClassification"))

    @property
    def generative(self) -> bool:
        """Whether the base model can do every part before any training."""
        return all(_task(part).GENERATIVE for part in self.parts.values())

    @property
    def metrics(self) -> dict[str, Better]:
        """Every part's metrics as ``PART/METRIC``, and which way each improves."""
        every = {name: _task(part).METRICS for name, part in self.parts.items()}
        return {f"{name}/{metric}": better for name, own in every.items() for metric, better in own.items()}

    @property
    def labels(self) -> tuple[str, ...]:
        """Every part's labels as ``PART/LABEL``; a part without any counts by its kind."""
        every = {name: getattr(part, "labels", (part.kind,)) for name, part in self.parts.items()}
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
        said = f"{source!r} belongs to no part of the task" if source else "a text does not say which part is asked"
        raise DataRejectedError(said, hint=f"name one of {', '.join(self.parts)}")

    def of(self, source: str | None) -> Part:
        """The task of a row, by its source."""
        return self.parts[self.part(source)]


def faults(config: Config, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Sources without a part, and parts without a source."""
    every = {f"sources[{number}]": source for number, source in enumerate(recipe.sources)}
    every |= {f"evaluate.holdouts.{name}": source for name, source in recipe.evaluate.holdouts.items()}
    known = set()
    for path, source in every.items():
        if source.kind == "feedback":
            continue  # the log says which part was asked
        module: Any = find("sources", source.kind)
        name = module.source_name(source) if hasattr(module, "source_name") else None
        known.add(name)
        if name is None:
            yield path, "needs a name, by which a part can say that its rows are the part's"
        elif not any(name in part.sources for part in config.parts.values()):
            yield path, f"belongs to no part: none of task.parts has {name} among its sources"
    for part, own in config.parts.items():
        if strange := [source for source in own.sources if source not in known]:
            yield f"task.parts.{part}.sources", f"the recipe has no source {', '.join(strange)}"


def load(config: Config, base: Path) -> PreTrainedModel:
    """The base model, on an encoder with a head for each part: fresh, or as a saved model of such a part has it."""
    if config.stands_on != ENCODER:
        first = next(iter(config.parts.values()))
        return _task(first).load(first, base)  # type: ignore[no-any-return]
    from ftcore.tasks import _heads

    with _heads.quietly():
        members = {name: _task(part).load(part, base) for name, part in config.parts.items()}
    return _heads.joined(members, base)


def check(config: Config, rows: Mapping[str, pa.Table]) -> None:
    """Whether every part has what it needs.

    Raises:
        NotEnoughDataError: a part has not.
        DataRejectedError: rows are no part's, or cannot be learnt.
    """
    for table in rows.values():
        for source in table["source"].unique().to_pylist():
            config.part(source)  # one of no part is an error
    for name, part in config.parts.items():
        mine = {split: table.filter(_of(config, table, name)) for split, table in rows.items()}
        try:
            for split, table in mine.items():
                if not table.num_rows:
                    raise NotEnoughDataError(
                        f"the {split} split has no row of {', '.join(part.sources)}",
                        hint="add rows, or change the shares in prepare",
                    )
            _task(part).check(part, mine)
        except (NotEnoughDataError, DataRejectedError) as error:
            error.args = (f"part {name}: {error.args[0]}", *error.args[1:])
            raise


def encode(config: Config, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
    """Each part's rows as its task encodes them, part by part."""
    found: dict[str, Features] = {}
    for name, part in config.parts.items():
        mine = rows.filter(_of(config, rows, name))
        if mine.num_rows:
            found[name] = _task(part).encode(part, tokenizer, mine, max_length_tokens)
    names = list(dict.fromkeys(column for one in found.values() for column in one.columns))
    columns: dict[str, list[Any]] = {
        column: [value for one in found.values() for value in one.columns.get(column, [None] * len(one))]
        for column in names
    }
    parts = [name for name, one in found.items() for _ in range(len(one))]
    return Features(
        {**columns, "part": parts} if config.stands_on == ENCODER else columns,
        [row for one in found.values() for row in one.row_ids],
        sum(one.truncated for one in found.values()),
        packable=all(one.packable for one in found.values()),
        parts=parts,
        shares=config.shares,
    )


def collator(config: Config, tokenizer: PreTrainedTokenizerBase) -> Collator:
    """The collator of the part that a batch belongs to; a head is told which."""
    every: dict[str, Collator] = {name: _task(part).collator(part, tokenizer) for name, part in config.parts.items()}
    if config.stands_on != ENCODER:
        return next(iter(every.values()))

    def batch(rows: list[dict[str, Any]]) -> Mapping[str, Any]:
        (part,) = {row["part"] for row in rows}
        plain = [{name: value for name, value in row.items() if name != "part"} for row in rows]
        return {**every[part](plain), "part": part}

    return batch


def predictor(config: Config, folder: Path, max_length_tokens: int) -> Callable[[Sequence[Text]], list[dict[str, Any]]]:
    """Torch predictions of a saved model.

    Returns:
        A function from rows, each with its source or the name of a part as ``source``, to mappings with every part's
        name and None, but for the part of the row what it says.
    """
    readers = _readers(config, folder, max_length_tokens)

    def predict(texts: Sequence[Text]) -> list[dict[str, Any]]:
        rows = form.examples(texts)
        places: dict[str, list[int]] = {}
        for place, one in enumerate(rows):
            places.setdefault(config.part(one.source), []).append(place)
        found: list[dict[str, Any]] = [dict.fromkeys(config.parts) for _ in rows]
        for name, mine in places.items():
            said = readers[name]([rows[place] for place in mine])
            for place, one in zip(mine, said, strict=True):
                found[place][name] = one.tolist() if hasattr(one, "tolist") else one
        return found

    return predict


def outputs(config: Config, logits: np.ndarray) -> np.ndarray:
    """The same from what an export gives."""
    del config
    return logits


def answers(config: Config, outputs: Sequence[dict[str, Any]]) -> tuple[list[str], np.ndarray]:
    """What the part of each row answers."""
    import numpy as np

    labels, sure = [""] * len(outputs), np.full(len(outputs), np.nan)
    for name, part in config.parts.items():
        places = [place for place, one in enumerate(outputs) if one[name] is not None]
        if places:
            said, scores = _task(part).answers(part, _said(outputs, name, places))
            for place, label, score in zip(places, said, scores, strict=True):
                labels[place], sure[place] = label, score
    return labels, sure


def valid(config: Config, label: str | None) -> bool:
    """Whether some part can learn from a row with this label; of a row whose source is known ask its own part."""
    return any(_task(part).valid(part, label) for part in config.parts.values())


def about(config: Config, rows: pa.Table) -> dict[str, np.ndarray]:
    """Which rows each metric is about, as masks ``[rows]``: those of its part."""
    import numpy as np

    owners = np.array([config.part(source) for source in rows["source"].to_pylist()], object)
    return {metric: owners == metric.partition("/")[0] for metric in config.metrics}


def tallies(config: Config, rows: pa.Table, outputs: Sequence[dict[str, Any]]) -> np.ndarray:
    """Each part's tallies side by side, ``[rows, k]``; those of other parts than the row's are 0."""
    import numpy as np

    owners = np.array([config.part(source) for source in rows["source"].to_pylist()], object)
    blocks = []
    for name, part in config.parts.items():
        block = np.zeros((rows.num_rows, _width(part)))
        # A baseline may know some parts only; of a row that it says nothing about it has no tallies.
        places = [place for place in np.flatnonzero(owners == name).tolist() if outputs[place][name] is not None]
        if places:
            block[places] = _task(part).tallies(part, rows.take(places), _said(outputs, name, places))
        blocks.append(block)
    return np.hstack(blocks)


def metrics(config: Config, sums: np.ndarray) -> dict[str, np.ndarray]:
    """Every part's metrics as ``PART/METRIC``; NaN where it has no row."""
    found: dict[str, np.ndarray] = {}
    start = 0
    for name, part in config.parts.items():
        end = start + _width(part)
        own = _task(part).metrics(part, sums[..., start:end])
        found |= {f"{name}/{metric}": value for metric, value in own.items()}
        start = end
    return found


def _task(part: Any) -> ModuleType:
    return find("tasks", part.kind)


def _of(config: Config, rows: pa.Table, name: str) -> pa.Array:
    """Which rows are a part's."""
    import pyarrow as pa

    return pa.array([config.part(source) == name for source in rows["source"].to_pylist()], pa.bool_())


def _said(outputs: Sequence[dict[str, Any]], name: str, places: Sequence[int]) -> Outputs:
    """What a part said of its rows, as its own task has it."""
    import pyarrow as pa

    return form.of(pa.array([outputs[place][name] for place in places]))


def _width(part: Any) -> int:
    """Numbers in a tally of a part."""
    import numpy as np

    return int(_task(part).tallies(part, snapshot.schema().empty_table(), np.zeros(0)).shape[1])


def _readers(config: Config, folder: Path, limit: int) -> dict[str, Callable[[Sequence[Example]], Outputs]]:
    """What answers for each part, all by one model."""
    from ftcore.training.loading import tokenizer as load_tokenizer

    words, model = load_tokenizer(folder), load(config, folder).eval()
    if config.stands_on != ENCODER:
        return {name: _task(part).reader(part, model, words, limit) for name, part in config.parts.items()}
    from ftcore.tasks._heads import Member

    return {
        name: _task(part).reader(part, Member(model, name).eval(), words, limit)  # type: ignore[arg-type]
        for name, part in config.parts.items()
    }
