"""What is right by itself in a recipe and wrong together: checks across its sections."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ftcore.recipe import sealed, space
from ftcore.recipe.faults import of_fields
from ftcore.recipe.kinds import kind_class, kinds
from ftcore.recipe.model import SEVERAL, Recipe


def contradictions(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What is right by itself and wrong together: a gate on a metric or a dataset that the evaluation does not make."""
    yield from _check_method(recipe)
    yield from _check_processes(recipe)
    yield from _check_label_smoothing(recipe)
    yield from _check_balance(recipe)
    yield from space.faults(recipe, of_fields)
    yield from sealed.faults(recipe)
    yield from _check_evaluation(recipe)
    yield from _check_detectors(recipe)
    yield from _check_licenses(recipe)
    if recipe.on_undecided == "ask" and not recipe.approval.required:
        yield "on_undecided", "there is no approval to wait for where approval.required is 0"
    known: dict[str, tuple[Collection[str], str]] = {
        "metric": (recipe.metrics, "unknown metric {!r}; known: {}"),
        "datasets": (("test", *recipe.evaluate.holdouts), "unknown dataset {!r}; known: {}"),
        "by": (recipe.evaluate.slices, "{!r} is none of evaluate.slices: {}"),
    }
    for number, gate in enumerate(recipe.gates):
        for key, names in gate.named().items():
            there, fault = known[key]
            yield from ((f"gates[{number}].{key}", fault.format(n, ", ".join(there))) for n in names if n not in there)
    yield from _check_exports(recipe)


def _check_processes(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What several processes cannot train together."""
    asked, method = recipe.train.distributed, recipe.method
    if asked.total > 1 and method.OWN_LOOP:
        yield "train.distributed", f"{method.kind} trains in one process"
    elif asked.total > 1 and asked.chosen:
        yield from asked.chosen.faults(recipe)


def _check_label_smoothing(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Label smoothing where the loss has no labels, or is the method's own."""
    parts = list(recipe.task.parts.values()) or [recipe.task]
    dull = [part.kind for part in parts if not part.SUPPORTS_LABEL_SMOOTHING]
    if recipe.train.label_smoothing and dull:
        yield "train.label_smoothing", f"the task {dull[0]} does not choose one of several answers"
    elif recipe.train.label_smoothing and recipe.method.OWN_LOOP:
        yield "train.label_smoothing", f"{recipe.method.kind} has a loss of its own, without it"


def _check_balance(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Class weights and balanced sampling where rows have no labels to balance, or the method's loss ignores them."""
    weights, drawn = recipe.train.class_weights, recipe.train.sampling
    method = recipe.method
    asked = {"train.class_weights": weights != "none", "train.sampling": drawn != "natural"}
    for path in (path for path, wanted in asked.items() if wanted):
        if recipe.task.TARGET not in ("label", "labels"):
            yield path, f"the task {recipe.task.kind} has no classes to balance"
        elif method.OWN_LOOP or (path == "train.class_weights" and method.OWN_LOSS):
            yield path, f"{method.kind} trains with a loss of its own, and has no {path.removeprefix('train.')}"
    if weights == "balanced" and drawn != "natural":
        yield "train.sampling", "it corrects what train.class_weights: balanced corrects already; leave one of them out"
    labels = recipe.task.labels
    for label in weights if isinstance(weights, dict) else ():
        if labels and label not in labels:
            yield f"train.class_weights.{label}", f"unknown label {label!r}; known: {', '.join(labels)}"


def _check_method(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """A method that does not fit the task, and what method and task themselves find wrong."""
    method = recipe.method
    if method.TASKS and recipe.parts and SEVERAL not in method.TASKS:
        fit = [kind for kind in kinds("methods") if SEVERAL in (kind_class("methods", kind).TASKS or (SEVERAL,))]
        yield (
            "method.kind",
            f"{method.kind} does not fit the task {SEVERAL}: {method.MULTITASK_REASON}; "
            f"take {', '.join(fit)}, or give each part a recipe of its own",
        )
    elif method.TASKS and (strange := _unsupported(recipe, method.TASKS)):
        fit = [kind for kind in method.TASKS if kind != SEVERAL]
        yield "method.kind", f"{method.kind} does not fit {strange}; it fits {', '.join(fit)}"
    yield from method.faults(recipe)
    yield from recipe.task.faults(recipe)


def _unsupported(recipe: Recipe, known: Collection[str]) -> str:
    """The task, or the tasks of its parts, that are not among those that somebody knows; empty where all are."""
    kinds_of = {f" of the part {part}": recipe.task_of(part).kind for part in recipe.parts} or {"": recipe.task.kind}
    return ", ".join(f"the task {kind}{part}" for part, kind in kinds_of.items() if kind not in known)


def _check_evaluation(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What the evaluation is to measure and the task's models cannot do."""
    task, kind = recipe.task, recipe.task.kind
    if recipe.evaluate.judge and not (task.GENERATIVE and task.TARGET == "text"):
        yield "evaluate.judge", f"the task {kind} writes no answers that could be judged"
    if recipe.evaluate.general_text and not task.READS_PLAIN_TEXT:
        yield "evaluate.general_text", f"the task {kind} has no language model that goes on with plain text"


def _check_detectors(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Detectors of columns that the task's predictions do not have."""
    for number, config in enumerate(recipe.watch.detectors):
        yield from ((f"watch.detectors[{number}].{key}", message) for key, message in config.faults(recipe))


def _check_exports(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Exports that cannot hold the task's model, and gates that compare exports where there are none."""
    for number, config in enumerate(recipe.exports):
        if strange := _unsupported(recipe, config.TASKS):
            yield (
                f"exports[{number}].kind",
                f"{config.kind} cannot export {strange}, only {', '.join(config.TASKS)}; leave exports out, and torch "
                "serves",
            )
    if not recipe.exports:
        for number, gate in enumerate(recipe.gates):
            if gate.kind == "parity":
                yield f"gates[{number}].kind", "parity compares exports, and the recipe has none"


def _check_licenses(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Licences of sources that a recipe does not have, each with its path in the recipe."""
    known = {one.kind for one in recipe.sources}
    known |= {name for one in recipe.sources if (name := one.source_name())}
    known |= {one.mapping.name for one in recipe.sources if one.mapping and one.mapping.name}
    for name in sorted(set(recipe.card.data_licenses) - known):
        yield f"card.data_licenses.{name}", f"there is no such source; known: {', '.join(sorted(known))}"
