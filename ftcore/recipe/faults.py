"""What is wrong with a recipe's file, as its author sees it: each fault with its place in the YAML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ftcore.recipe.kinds import ROOMS, kinds

if TYPE_CHECKING:
    import yaml
    from pydantic import ValidationError


def of_yaml(error: yaml.YAMLError) -> tuple[str, str]:
    """Line and column of what is no YAML, and what is wrong there."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return where, getattr(error, "problem", None) or str(error)


def of_fields(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Path of each field that is not as it may be, and what is wrong with it."""
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
        named = name_of in {"holdouts", "parts"}
        chosen = isinstance(before, int) or before in {"task", "method", "general_text"} or named
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
