"""The recipe: one YAML file that declares one model product."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeAlias

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from ftcore._find import ROOMS, Config, any_of, find, kinds
from ftcore.errors import RecipeError

NAME = re.compile(r"^[a-z][a-z0-9_]{0,39}\Z")
BASE = re.compile(r"^(package://\w[\w.]*(/[\w.\-]+)*|models:/[\w.\-]+(@[\w\-]+|/\d+)|[^\s:@]+(@[\w.\-/]+)?)\Z")
PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@yearly")
Share = Annotated[float, Field(ge=0, le=1)]


class Part(Protocol):
    """Configuration of one kind; which class it is, ``kind`` tells."""

    @property
    def kind(self) -> str:
        """File name of the kind in its room."""
        ...

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """Every field as a plain value."""
        ...


class Labelled(Part, Protocol):
    """Configuration of a task with a fixed set of labels."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names, in the order of the model's outputs."""
        ...


if TYPE_CHECKING:
    Source: TypeAlias = Part
    Task: TypeAlias = Labelled
    Method: TypeAlias = Part
    Exporter: TypeAlias = Part
    Gate: TypeAlias = Part
    Detector: TypeAlias = Part
else:
    Source, Task, Method, Exporter, Gate, Detector = (any_of(room) for room in ROOMS)


class Prepare(Config):
    """How rows become a snapshot."""

    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the groups that validate while training."""
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the groups that judge the model and never train it."""

    @model_validator(mode="after")
    def _leaves_training_rows(self) -> Prepare:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together must leave a share for training")
        return self


class Validation(Config):
    """When a snapshot is fit to be trained on."""

    suite: str = ""
    """File name in ``expectations/`` without ``.json``; empty means the suite named like the task's kind."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    """Fewest rows a snapshot may have."""
    max_quarantined: Share = 0.05
    """Largest share of the rows that may be quarantined before the whole snapshot is rejected."""
    text_length: tuple[int, int] = (1, 20_000)
    """Shortest and longest text accepted, in characters."""

    @field_validator("text_length")
    @classmethod
    def _is_a_range(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 0 <= value[0] <= value[1]:
            raise ValueError("expected the shortest length first, then the longest")
        return value


class Plan(Config):
    """When to train again."""

    min_new_rows: Annotated[int, Field(ge=1)] = 1000
    """Training rows that the champion has not seen before a new one is trained without being asked."""


class Train(Config):
    """How the training loop runs, whatever the method."""

    epochs: Annotated[float, Field(gt=0, le=100)] = 2
    """Passes over the training rows."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 5e-4
    """Peak learning rate."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Rows per optimiser step."""
    max_length_tokens: Annotated[int, Field(ge=8)] = 128
    """Longer texts are cut; the record counts them."""
    warmup: Share = 0.06
    """Share of the steps over which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Decoupled weight decay of AdamW."""
    evaluations_per_epoch: Annotated[int, Field(ge=1, le=50)] = 2
    """How often the validation loss is measured and a checkpoint written."""
    patience: Annotated[int, Field(ge=1)] = 3
    """Evaluations without a lower validation loss before training stops early."""
    seed: int = 17
    """Seeds the data order, dropout and the new layers."""


class Evaluate(Config):
    """What the model is judged on besides the snapshot's own test split."""

    holdouts: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Source] = Field(default_factory=dict)
    """Further sources by name. Only rows that hash to the test side are used, so none of them was ever trained on."""
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 2000
    """Bootstrap resamples behind each interval."""


class Approval(Config):
    """Who must agree before a candidate that passed the gate is promoted."""

    required: Annotated[int, Field(ge=0, le=1)] = 0
    """People who must approve; 0 lets the loop promote by itself."""
    assigned: tuple[str, ...] = ()
    """Airflow user names who may answer; empty means anybody who may see the DAG."""
    timeout_h: Annotated[float, Field(gt=0)] = 72
    """Hours to wait for an answer; silence never approves."""


class Watch(Config):
    """What is compared with the champion's reference, and how much it takes to ask for retraining."""

    detectors: tuple[Detector, ...] = ()
    """Each measures one kind of drift."""
    min_rows: Annotated[int, Field(ge=30)] = 200
    """Fewest predictions in a window before anything is said about drift; detectors need 30 to say anything."""
    alarms: Annotated[int, Field(ge=1)] = 1
    """Detectors that must raise an alarm before drift is confirmed."""
    min_feedback: Annotated[int, Field(ge=0)] = 100
    """Fewest labelled rows not yet learnt from before retraining is asked for; without new labels a retraining
    teaches nothing."""


class Schedule(Config):
    """Cron expressions, in UTC."""

    data: str | None = None
    """When new data is fetched; null means only when asked or when drift asks."""
    monitor: str | None = None
    """When the prediction log is looked at; null means only when asked or after a promotion."""

    @field_validator("data", "monitor")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        if value is not None and value not in PRESETS and len(value.split()) != 5:
            raise ValueError(f"expected five cron fields such as '0 3 * * 1', or one of {', '.join(PRESETS)}")
        return value


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
    exports: Annotated[tuple[Exporter, ...], Field(min_length=1)]
    """Formats to export to; the first one serves."""
    evaluate: Evaluate = Evaluate()
    gates: Annotated[tuple[Gate, ...], Field(min_length=1)]
    """Every one must pass before a candidate can become champion."""
    approval: Approval = Approval()
    watch: Watch = Watch()
    schedule: Schedule = Schedule()

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
                "expected package://module/path, a folder, a hub id such as org/model@revision, or models:/name@alias"
            )
        return value

    @property
    def suite(self) -> str:
        """Name of the expectation suite."""
        return self.validation.suite or self.task.kind

    def resolved(self) -> dict[str, Any]:
        """The recipe with every default filled in, as plain JSON values."""
        return self.model_dump(mode="json")


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML keeps the last of two equal keys silently; that loses what somebody wrote, so it is a fault here."""


def _mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag.endswith(":merge"):
            continue  # what `<<` brings in may be overridden, and PyYAML refuses keys that are lists
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} stands here twice", key_node.start_mark
            )
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(path: str | Path) -> Recipe:
    """Read and check a recipe file.

    Raises:
        RecipeError: the file cannot be read, is not YAML, or has faults; all faults are listed at once.
    """
    path = Path(path)
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise RecipeError(str(path), [("", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise RecipeError(str(path), [("", f"is not UTF-8: byte {error.start}")]) from error
    except yaml.YAMLError as error:
        raise RecipeError(str(path), [_yaml_fault(error)]) from error
    if not isinstance(document, dict):
        raise RecipeError(str(path), [("", "is empty or not a mapping of keys to values")])
    return parse(document, str(path))


def parse(document: dict[str, Any], origin: str = "recipe") -> Recipe:
    """Check a recipe that is already a mapping.

    Raises:
        RecipeError: with every fault and its path.
    """
    hint = "ftcore schema prints every key with its meaning"
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        raise RecipeError(origin, list(_faults(error)), hint) from error
    if faults := list(_contradictions(recipe)):
        raise RecipeError(origin, faults, hint)
    return recipe


def _contradictions(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What is right by itself and wrong together: a gate on a metric or a dataset that the evaluation does not make."""
    metrics = find("tasks", recipe.task.kind).METRICS
    datasets = ("test", *recipe.evaluate.holdouts)
    for number, gate in enumerate(recipe.gates):
        metric = getattr(gate, "metric", None)
        if metric is not None and metric not in metrics:
            yield f"gates[{number}].metric", f"unknown metric {metric!r}; known: {', '.join(metrics)}"
        for name in getattr(gate, "datasets", ()):
            if name not in datasets:
                yield f"gates[{number}].datasets", f"unknown dataset {name!r}; known: {', '.join(datasets)}"


def _yaml_fault(error: yaml.YAMLError) -> tuple[str, str]:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return where, getattr(error, "problem", None) or str(error)


def _faults(error: ValidationError) -> Iterator[tuple[str, str]]:
    faults = [(_yaml_path(fault["loc"]), _message(fault)) for fault in error.errors(include_url=False)]
    for path, message in faults:
        # A list whose entries are all faulty is also "too short": one of the two is enough.
        nested = any(other.startswith(f"{path}[") for other, _ in faults)
        if not (nested and message.startswith("Tuple should have at least")):
            yield path, message


def _yaml_path(location: tuple[int | str, ...]) -> str:
    """``sources[0].domain``: pydantic's location without the chosen kinds of unions, which are no keys in the YAML."""
    every_kind = {kind for room in ROOMS for kind in kinds(room)}
    path = ""
    for number, step in enumerate(location):
        before, name_of = (None, None, *location)[number + 1], (None, None, *location)[number]
        chosen = isinstance(before, int) or before in {"task", "method"} or name_of == "holdouts"
        if isinstance(step, int):
            path += f"[{step}]"
        elif not (chosen and step in every_kind):
            path += f".{step}" if path else str(step)
    return path


def _message(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "unknown key"
    if fault["type"] == "missing":
        return "is required"
    if fault["type"] == "literal_error" and fault["loc"][-1] == "kind":
        return f"unknown kind '{fault['input']}'; known: {fault['ctx']['expected'].replace(chr(39), '')}"
    if fault["type"] == "union_tag_not_found":
        return "needs a kind"
    if fault["type"] == "union_tag_invalid":
        context = fault["ctx"]
        return f"unknown kind '{context['tag']}'; known: {context['expected_tags'].replace(chr(39), '')}"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return message if isinstance(fault["input"], dict | list) else f"{message} (got {fault['input']!r})"


def files(folder: Path) -> list[Path]:
    """The recipes in a folder, by name; ``_template.yaml`` and hidden files are none."""
    return sorted(path for path in folder.glob("*.yaml") if path.name[0] not in "._")


def locate(name_or_path: str, folder: Path) -> Path:
    """The file of a recipe given by its path or, inside ``folder``, by its name.

    Raises:
        RecipeError: there is no such file; the message lists the recipes there are.
    """
    for path in (Path(name_or_path), folder / f"{name_or_path}.yaml"):
        if path.is_file():
            return path
    known = ", ".join(path.stem for path in files(folder)) or "none"
    raise RecipeError(name_or_path, [("", f"no such recipe; in {folder}: {known}")])


def json_schema() -> dict[str, Any]:
    """JSON Schema of a recipe, so that editors complete it."""
    schema = Recipe.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "ftcore recipe", **schema}
