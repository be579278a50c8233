"""The recipe: one YAML file that declares one model product."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from ftcore.errors import RecipeError
from ftcore.recipe import faults as recipe_faults
from ftcore.recipe import sealed, source_names, space, yaml_core
from ftcore.recipe.kinds import Config, find, kinds
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
)
from ftcore.recipe.training_sections import AUTO, Plan, Search, Train

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
        metrics: Mapping[str, Better] = getattr(self.task, "metrics", None) or find("tasks", self.task.kind).METRICS
        return metrics

    @property
    def generative(self) -> bool:
        """Whether the base model can do the task before any training."""
        return bool(getattr(self.task, "generative", find("tasks", self.task.kind).GENERATIVE))

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts of a task that has several."""
        return tuple(getattr(self.task, "parts", ()))

    def task_of(self, source: str | None) -> Task:
        """The task of rows from a source, or of requests to a part: the part's own where there are several."""
        return self.task.of(source) if self.parts else self.task  # type: ignore[attr-defined, no-any-return]

    @property
    def suite(self) -> str:
        """Name of the expectation suite."""
        return self.validation.suite or self.task.kind

    def resolved(self) -> dict[str, Any]:
        """The recipe with every default filled in, as plain JSON values."""
        return self.model_dump(mode="json")


def read(path: str | Path, published: Mapping[str, str] | None = None) -> Recipe:
    """Read and check a recipe file.

    Args:
        path: the file.
        published: what sources were read by which name when they were published: see ``_source_names``.

    Raises:
        RecipeError: the file cannot be read, is not YAML, or has faults; all faults are listed at once.
    """
    path = Path(path)
    try:
        document = yaml_core.read(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(str(path), [("", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise RecipeError(str(path), [("", f"is not UTF-8: byte {error.start}")]) from error
    except yaml.YAMLError as error:
        raise RecipeError(str(path), [recipe_faults.of_yaml(error)]) from error
    if not isinstance(document, dict):
        raise RecipeError(str(path), [("", "is empty or not a mapping of keys to values")])
    return parse(document, str(path), published)


def parse(document: dict[str, Any], origin: str = "recipe", published: Mapping[str, str] | None = None) -> Recipe:
    """Check a recipe that is already a mapping.

    Raises:
        RecipeError: with every fault and its path.
    """
    hint = "ftcore schema prints every key with its meaning"
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        raise RecipeError(origin, list(recipe_faults.of_fields(error)), hint) from error
    recipe = _named_apart(recipe, published)
    if faults := [*_contradictions(recipe), *_unexportable(recipe)]:
        raise RecipeError(origin, faults, hint)
    return recipe


def _named_apart(recipe: Recipe, published: Mapping[str, str] | None) -> Recipe:
    """The recipe with a name of its own for each source, holdouts included: see ``_source_names``."""
    holdouts = recipe.evaluate.holdouts
    every = source_names.apart([*recipe.sources, *holdouts.values()], published)
    sources, others = (
        tuple(every[: len(recipe.sources)]),
        dict(zip(holdouts, every[len(recipe.sources) :], strict=True)),
    )
    if sources == recipe.sources and others == holdouts:
        return recipe
    evaluate = recipe.evaluate.model_copy(update={"holdouts": others})
    return recipe.model_copy(update={"sources": sources, "evaluate": evaluate})


def _contradictions(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What is right by itself and wrong together: a gate on a metric or a dataset that the evaluation does not make."""
    yield from _misfits(recipe)
    yield from _unshareable(recipe)
    yield from _unsmoothed(recipe)
    yield from _unbalanced(recipe)
    yield from space.faults(recipe, recipe_faults.of_fields)
    yield from sealed.faults(recipe)
    yield from _unanswerable(recipe)
    yield from _unwatchable(recipe)
    yield from recipe_faults.of_licenses(recipe)
    metrics = recipe.metrics
    datasets = ("test", *recipe.evaluate.holdouts)
    if recipe.on_undecided == "ask" and not recipe.approval.required:
        yield "on_undecided", "there is no approval to wait for where approval.required is 0"
    for number, gate in enumerate(recipe.gates):
        metric = getattr(gate, "metric", None)
        if metric is not None and metric not in metrics:
            yield f"gates[{number}].metric", f"unknown metric {metric!r}; known: {', '.join(metrics)}"
        for name in getattr(gate, "datasets", ()):
            if name not in datasets:
                yield f"gates[{number}].datasets", f"unknown dataset {name!r}; known: {', '.join(datasets)}"
        by = getattr(gate, "by", ())
        for column in (by,) if isinstance(by, str) else by:
            if column not in recipe.evaluate.slices:
                sliced = ", ".join(recipe.evaluate.slices)
                yield f"gates[{number}].by", f"{column!r} is none of evaluate.slices: {sliced}"


def _unshareable(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What several processes cannot train together."""
    asked, method = recipe.train.distributed, recipe.method.kind
    if asked.total > 1 and hasattr(find("methods", method), "fit"):
        yield "train.distributed", f"{method} trains in one process"
    elif asked.total > 1 and asked.strategy != AUTO:
        yield from find("strategies", asked.strategy).faults(recipe)


def _unsmoothed(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Label smoothing where the loss has no labels, or is the method's own."""
    parts = getattr(recipe.task, "parts", {"": recipe.task}).values()
    dull = [part.kind for part in parts if not getattr(find("tasks", part.kind), "CHOOSES", True)]
    if recipe.train.label_smoothing and dull:
        yield "train.label_smoothing", f"the task {dull[0]} does not choose one of several answers"
    elif recipe.train.label_smoothing and hasattr(find("methods", recipe.method.kind), "fit"):
        yield "train.label_smoothing", f"{recipe.method.kind} has a loss of its own, without it"


def _unbalanced(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Class weights and balanced sampling where rows have no labels to balance, or the method's loss ignores them."""
    weights, drawn = recipe.train.class_weights, recipe.train.sampling
    method, kind = find("methods", recipe.method.kind), recipe.method.kind
    asked = {"train.class_weights": weights != "none", "train.sampling": drawn != "natural"}
    for path in (path for path, wanted in asked.items() if wanted):
        if find("tasks", recipe.task.kind).TARGET not in ("label", "labels"):
            yield path, f"the task {recipe.task.kind} has no classes to balance"
        elif hasattr(method, "fit") or (path == "train.class_weights" and getattr(method, "OWN_LOSS", False)):
            yield path, f"{kind} trains with a loss of its own, and has no {path.removeprefix('train.')}"
    if weights == "balanced" and drawn != "natural":
        yield "train.sampling", "it corrects what train.class_weights: balanced corrects already; leave one of them out"
    labels = getattr(recipe.task, "labels", ())
    for label in weights if isinstance(weights, dict) else ():
        if labels and label not in labels:
            yield f"train.class_weights.{label}", f"unknown label {label!r}; known: {', '.join(labels)}"


def _misfits(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """A method that does not fit the task, and what method and task themselves find wrong."""
    method, task = find("methods", recipe.method.kind), find("tasks", recipe.task.kind)
    tasks = getattr(method, "TASKS", None)
    if tasks is not None and recipe.parts and SEVERAL not in tasks:
        fit = [name for name in kinds("methods") if SEVERAL in getattr(find("methods", name), "TASKS", (SEVERAL,))]
        yield (
            "method.kind",
            f"{recipe.method.kind} does not fit the task {SEVERAL}: {getattr(method, 'ALONE', 'it trains one task')}; "
            f"take {', '.join(fit)}, or give each part a recipe of its own",
        )
    elif tasks is not None and (strange := _strange(recipe, tasks)):
        fit = [task for task in tasks if task != SEVERAL]
        yield "method.kind", f"{recipe.method.kind} does not fit {strange}; it fits {', '.join(fit)}"
    for kind, config in ((method, recipe.method), (task, recipe.task)):
        if hasattr(kind, "faults"):
            yield from kind.faults(config, recipe)


def _strange(recipe: Recipe, known: Collection[str]) -> str:
    """The task, or the tasks of its parts, that are not among those that somebody knows; empty where all are."""
    kinds_of = {f" of the part {part}": recipe.task_of(part).kind for part in recipe.parts} or {"": recipe.task.kind}
    return ", ".join(f"the task {kind}{part}" for part, kind in kinds_of.items() if kind not in known)


def _unanswerable(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What the evaluation is to measure and the task's models cannot do."""
    task, kind = find("tasks", recipe.task.kind), recipe.task.kind
    if recipe.evaluate.judge and not (task.GENERATIVE and task.TARGET == "text"):
        yield "evaluate.judge", f"the task {kind} writes no answers that could be judged"
    if recipe.evaluate.general_text and not hasattr(task, "plain"):
        yield "evaluate.general_text", f"the task {kind} has no language model that goes on with plain text"


def _unwatchable(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Detectors of columns that the task's predictions do not have."""
    for number, config in enumerate(recipe.watch.detectors):
        found = getattr(find("detectors", config.kind), "faults", lambda *_: ())(config, recipe)
        yield from ((f"watch.detectors[{number}].{key}", message) for key, message in found)


def _unexportable(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Exports that cannot hold the task's model, and gates that compare exports where there are none."""
    for number, config in enumerate(recipe.exports):
        exportable = find("exporters", config.kind).TASKS
        if strange := _strange(recipe, exportable):
            yield (
                f"exports[{number}].kind",
                f"{config.kind} cannot export {strange}, only {', '.join(exportable)}; leave exports out, and torch "
                "serves",
            )
    if not recipe.exports:
        for number, gate in enumerate(recipe.gates):
            if gate.kind == "parity":
                yield f"gates[{number}].kind", "parity compares exports, and the recipe has none"


def _with_metrics(document: Any) -> Any:
    """A gate that names no metric judges by the first one of the task."""
    if not isinstance(document, dict) or not isinstance(document.get("gates"), list):
        return document
    first = _first_metric(document.get("task"))
    if first is None:
        return document

    def judges(gate: Any) -> bool:
        known = isinstance(gate, dict) and gate.get("kind") in kinds("gates")
        return known and "metric" in find("gates", gate["kind"]).Config.model_fields

    return document | {"gates": [{"metric": first, **gate} if judges(gate) else gate for gate in document["gates"]]}


def _first_metric(task: Any) -> str | None:
    """Name of a task's first metric; None where what stands there is no task."""
    kind = task.get("kind") if isinstance(task, dict) else None
    if kind not in kinds("tasks"):
        return None
    module = find("tasks", kind)
    try:
        metrics: Mapping[str, Better] = module.METRICS or module.Config.model_validate(task).metrics
    except ValidationError:
        return None  # what is wrong with it is said anyway
    return next(iter(metrics))


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
