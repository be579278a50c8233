"""The space that a recipe's ``search`` draws from: settings of the recipe by their path, such as ``method.rank``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from ftcore.recipe.model import Recipe
    from ftcore.recipe.training_sections import Dimension, Setting

    Tell = Callable[[ValidationError], Iterable[tuple[str, str]]]

SECTIONS = ("train", "method")
"""Parts of a recipe that can be searched: what a trial can change without touching data, gates or the export."""
FIXED = {
    "train.max_length_tokens": "losses of texts that are cut elsewhere cannot be compared",
    "train.evaluations_per_epoch": "trials are compared evaluation by evaluation",
    "train.seed": "a lucky seed is no better setting",
    "train.folds": "it says nothing about the model",
    "train.distributed": "each trial trains in one process",
    "method.kind": "a search compares settings of one method",
}
"""Settings of those parts that cannot be searched, and why."""


def faults(recipe: Recipe, tell: Tell) -> Iterator[tuple[str, str]]:
    """Everything wrong with the space, each with its path in the YAML.

    Args:
        recipe: already checked by itself.
        tell: gives path and message of what pydantic found.
    """
    for path, dimension in (recipe.search.space if recipe.search else {}).items():
        place = f"search.space.{path}"
        reason = _cannot_be_searched(recipe, path)
        if reason:
            yield place, reason
            continue
        if not dimension.choices and not _numbers(recipe, path):
            yield place, "is no number: give choices"
            continue
        for name, value in _tried(dimension):
            yield from ((f"{place}.{name}", message) for message in _refusals(recipe, path, value, tell))


def distributions(recipe: Recipe) -> dict[str, BaseDistribution]:
    """The space as Optuna takes it, by path."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for path, one in (recipe.search.space if recipe.search else {}).items():
        if one.choices:
            found[path] = CategoricalDistribution([_as_the_field(recipe, path, value) for value in one.choices])
            continue
        assert one.low is not None
        assert one.high is not None
        if _numbers(recipe, path) == {int}:
            found[path] = IntDistribution(int(one.low), int(one.high), log=one.log)
        else:
            found[path] = FloatDistribution(one.low, one.high, log=one.log)
    return found


def own(recipe: Recipe) -> dict[str, Setting]:
    """The recipe's own values of what is searched, by path."""
    return {path: _value(recipe, path) for path in (recipe.search.space if recipe.search else {})}


def holds(recipe: Recipe, values: Mapping[str, Setting]) -> bool:
    """Whether values, one for each path, lie in the space."""
    for path, drawn in distributions(recipe).items():
        value, choices = values[path], getattr(drawn, "choices", None)
        if value not in choices if choices else value is None or not drawn.low <= value <= drawn.high:  # type: ignore[attr-defined]
            return False
    return True


def applied(document: Mapping[str, Any], values: Mapping[str, Setting]) -> dict[str, Any]:
    """A recipe's document with other values at some paths."""
    changed = copy.deepcopy(dict(document))
    for path, value in values.items():
        *sections, leaf = path.split(".")
        node = changed
        for section in sections:
            node = node[section]
        node[leaf] = value
    return changed


def _cannot_be_searched(recipe: Recipe, path: str) -> str:
    """Why a path is none that can be searched; empty where it is."""
    first, *rest = path.split(".")
    if first not in SECTIONS or not rest:
        return f"only what lies in {' and '.join(SECTIONS)} can be searched, such as train.learning_rate"
    for fixed, reason in FIXED.items():
        if f"{path}.".startswith(f"{fixed}."):
            return f"cannot be searched: {reason}"
    if first == "method" and rest[0] in recipe.method.LOSS:
        return "cannot be searched: it changes what the loss means, and trials are compared by it"
    node: Any = getattr(recipe, first)
    for depth, name in enumerate(rest):
        known = type(node).model_fields if isinstance(node, BaseModel) else {}
        if name not in known:
            there = ".".join([first, *rest[:depth]])
            return f"there is no {name!r} in {there}; known: {', '.join(known) or 'nothing'}"
        node = getattr(node, name)
    return f"is a section; name one of its keys: {', '.join(type(node).model_fields)}" if _is_section(node) else ""


def _is_section(value: object) -> bool:
    return isinstance(value, BaseModel)


def _tried(dimension: Dimension) -> Iterator[tuple[str, Setting]]:
    if dimension.choices:
        yield from ((f"choices[{number}]", value) for number, value in enumerate(dimension.choices))
    else:
        yield from (("low", dimension.low), ("high", dimension.high))


def _refusals(recipe: Recipe, path: str, value: Setting, tell: Tell) -> Iterator[str]:
    """What the field itself says against a value."""
    section, leaf = _section(recipe, path)
    whole = isinstance(value, float) and value == int(value) and _numbers(recipe, path) == {int}
    try:
        type(section).model_validate({**section.model_dump(), leaf: int(value) if whole else value})  # type: ignore[arg-type]
    except ValidationError as error:
        yield from (message for _, message in tell(error))


def _as_the_field(recipe: Recipe, path: str, value: Setting) -> Setting:
    """A value as its field keeps it: YAML reads 1e-4 as text, where the field is a number."""
    section, leaf = _section(recipe, path)
    kept = getattr(type(section).model_validate({**section.model_dump(), leaf: value}), leaf)
    return kept if kept is None or isinstance(kept, bool | int | float | str) else value


def _numbers(recipe: Recipe, path: str) -> set[type]:
    """``{int}`` or ``{float}`` for a field that is a number, else empty."""
    section, leaf = _section(recipe, path)
    kinds = set(_leaves(type(section).model_fields[leaf].annotation)) - {type(None)}
    return kinds if kinds in ({int}, {float}) else set()


def _leaves(annotation: Any) -> Iterator[Any]:
    """The plain types of an annotation: ``Annotated[float, …] | None`` gives float and NoneType."""
    if hasattr(annotation, "__metadata__"):
        yield from _leaves(annotation.__origin__)
    elif get_args(annotation):
        for part in get_args(annotation):
            yield from _leaves(part)
    else:
        yield annotation


def _section(recipe: Recipe, path: str) -> tuple[BaseModel, str]:
    *sections, leaf = path.split(".")
    node: Any = recipe
    for name in sections:
        node = getattr(node, name)
    return node, leaf


def _value(recipe: Recipe, path: str) -> Setting:
    section, leaf = _section(recipe, path)
    found: Setting = getattr(section, leaf)
    return found
