"""YAML as a recipe's author means it: YAML 1.2's core schema, with keys and names as they are written.

PyYAML follows YAML 1.1, in which ``no`` is a boolean, ``12:30`` the number 750 and ``010`` the number 8. Here only
``true`` and ``false`` are booleans, digits behind a zero are a text, and a key is always the text that stands there:
``0``, ``0.0`` and ``false`` are three keys.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_INT = re.compile(r"^(?:[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_MERGE = re.compile(r"^<<$")


class WrittenFloat(float):
    """A number that prints as it was written: ``1.10``, which is another name than ``1.1``."""

    written: str

    def __str__(self) -> str:
        """The text in the file."""
        return self.written


class WrittenInt(int):
    """The same of an integer: ``+1``, ``0x1F``."""

    written: str

    def __str__(self) -> str:
        """The text in the file."""
        return self.written


class Loader(yaml.SafeLoader):
    """Reads a recipe. Two equal keys are a fault: YAML keeps the last of them, which loses what somebody wrote."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping by the texts of its keys.

        Raises:
            yaml.constructor.ConstructorError: a key stands there twice, or is none.
        """
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag.endswith(":merge"):
                continue  # what `<<` brings in may be overridden
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is a list or a mapping", key_node.start_mark)
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key_node.value!r} stands here twice", key_node.start_mark
                )
            seen.add(key_node.value)
        self.flatten_mapping(node)
        return {str(key.value): self.construct_object(value, deep=deep) for key, value in node.value}


def _int(loader: Loader, node: yaml.ScalarNode) -> int:
    text = str(node.value)
    value = int(text, 0 if text[:2] in {"0o", "0x"} else 10)
    return value if str(value) == text else _as_written(WrittenInt(value), text)


def _float(loader: Loader, node: yaml.ScalarNode) -> float:
    text = str(node.value)
    special = text.lower().lstrip("+-") in {".inf", ".nan"}
    value = float(text.replace(".", "", 1) if special else text)
    return value if repr(value) == text else _as_written(WrittenFloat(value), text)


def _as_written(value: Any, text: str) -> Any:
    value.written = text
    return value


def _mapping(loader: Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


for _tag, _pattern, _first in (
    ("bool", _BOOL, "tTfF"),
    ("null", _NULL, "~nN\0"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("merge", _MERGE, "<"),
):
    Loader.add_implicit_resolver(  # type: ignore[no-untyped-call]
        f"tag:yaml.org,2002:{_tag}", _pattern, ["" if one == "\0" else one for one in _first]
    )
Loader.add_constructor("tag:yaml.org,2002:int", _int)
Loader.add_constructor("tag:yaml.org,2002:float", _float)
Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(text: str) -> Any:
    """What a YAML document says.

    Raises:
        yaml.YAMLError: it is none.
    """
    return yaml.load(text, Loader=Loader)  # noqa: S506 - a SafeLoader


def lines(text: str) -> dict[str, int]:
    """The line, from 1, on which each key and each entry of a list stands, by its path: ``sources[0].domain``.

    Raises:
        yaml.YAMLError: the text is no YAML.
    """
    found, seen = dict[str, int](), set[int]()
    waiting: list[tuple[str, yaml.Node | None]] = [("", yaml.compose(text, Loader=Loader))]
    while waiting:
        path, node = waiting.pop()
        if id(node) in seen:
            continue  # what an anchor brings in again: a file of anchors in anchors would never end
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            inside = [(f"{path}.{key.value}" if path else str(key.value), key, value) for key, value in node.value]
        else:
            entries = node.value if isinstance(node, yaml.SequenceNode) else ()
            inside = [(f"{path}[{place}]", value, value) for place, value in enumerate(entries)]
        found |= {name: mark.start_mark.line + 1 for name, mark, _ in inside}
        waiting += [(name, value) for name, _, value in reversed(inside)]
    return found
