"""The recipe's reference pages, from what ``ftcore schema`` and ``ftcore ls`` print."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from inspect import cleandoc
from pathlib import Path
from typing import Any

PAGES = Path(__file__).resolve().parent / "reference" / "kinds"
WORDS = {
    "array": "list",
    "object": "mapping",
    "integer": "whole number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
Schema = dict[str, Any]


@cache
def printed(*words: str) -> Any:
    """What ``ftcore`` prints as JSON."""
    done = subprocess.run([sys.executable, "-m", "ftcore", *words], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def resolved(schema: Schema) -> Schema:
    """What a reference names; any other schema itself."""
    return printed("schema")["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def within(schema: Schema) -> Iterator[Schema]:
    """The mappings that a value may be or hold: lists, mappings by name and alternatives are looked into."""
    inner = [schema.get("items"), schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()]
    inner += [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if "properties" in (found := resolved(schema)):
        yield found
    for one in inner:
        if isinstance(one, dict):
            yield from within(one)


def kinds(field: Schema) -> dict[str, Schema]:
    """The kinds of a family that a field takes, by their names; none where it takes no family."""
    found = {one["properties"].get("kind", {}).get("const"): one for one in within(field)}
    return {} if None in found else found


def sections(path: str, schema: Schema, apart: Sequence[set[str]] = ()) -> dict[str, Schema]:
    """A section and all below it, by their paths; families that have a page of their own are left ``apart``."""
    found = {path: schema}
    for name, field in schema["properties"].items():
        here = f"{path}.{name}".lstrip(".")
        family = kinds(field)
        if family and set(family) in apart:
            continue
        for kind, one in (family or {"": next(within(field), {})}).items():
            if "properties" in one:
                found |= sections(f"{here} ({kind})" if kind else here, one, apart)
    return found


@cache
def families() -> dict[str, dict[str, Schema]]:
    """Every family of kinds by the path that takes it first; each has a page of its own."""
    found: dict[str, dict[str, Schema]] = {}
    todo = [("", printed("schema"))]
    while todo:
        path, section = todo.pop(0)
        for name, field in section["properties"].items():
            here, family = f"{path}.{name}".lstrip("."), kinds(field)
            if family and set(family) not in [set(one) for one in found.values()]:
                found[here] = family
            elif not family:
                todo += [(here, one) for one in within(field)]
    return found


def type_of(schema: Schema) -> str:
    """A value's type in words, with its bounds."""
    if members := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(type_of(one) for one in members))
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{one}`" for one in schema.get("enum") or [schema["const"]])
    if "$ref" in schema:
        return "mapping"
    word = WORDS.get(schema.get("type", ""), schema.get("type", "any value"))
    if isinstance(items := schema.get("items"), dict):
        word += f" of {type_of(items)}"
    bounds = [f"{sign} {schema[key]}" for key, sign in LIMITS.items() if key in schema]
    return " ".join([word, " and ".join(bounds)]).strip()


def cell(text: str) -> str:
    """A text as one cell of a table."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def table(section: Schema) -> str:
    """The fields of a section: key, type, default and meaning."""
    lines = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in section["properties"].items():
        if "const" in field:  # the kind, which the heading names
            continue
        default = "required" if name in section.get("required", ()) else "–"
        if "default" in field:
            long = isinstance(field["default"], dict) and field["default"]
            default = "as below" if long else f"`{json.dumps(field['default'], ensure_ascii=False)}`"
        about = field.get("description") or resolved(field).get("description", "")
        lines.append(f"| `{name}` | {type_of(field)} | {cell(default)} | {cell(about)} |")
    return "\n".join(lines)


def recipe() -> str:
    """Every section of a recipe, but the families of kinds.

    Raises:
        FileNotFoundError: a family has no page.
    """
    if missing := [path for path in families() if not (PAGES / f"{path}.md").is_file()]:
        raise FileNotFoundError(f"docs/reference/kinds needs a page for each of: {', '.join(missing)}")
    own = [set(one) for one in families().values()]
    shown = []
    for path, section in sections("", printed("schema"), own).items():
        shown += [f"## {path}" if path else "", section.get("description", ""), table(section)]
        links = [one for one in families() if one.rpartition(".")[0] == path]
        shown += [f"Kinds of `{one}`: [{', '.join(families()[one])}](kinds/{one}.md)" for one in links]
    return "\n\n".join(shown)


def family(path: str) -> str:
    """The kinds of a family, each with an example and its fields."""
    found = families()[path]
    listed = next(room for room in printed("ls", "--json").values() if set(room) == set(found))
    own = [set(one) for one in families().values()]
    shown = []
    for kind, schema in found.items():
        about = cleandoc(schema.get("description", ""))
        example = json.dumps(listed[kind]["example"], ensure_ascii=False, indent=None)
        shown += [f"## {kind}", listed[kind]["what"], about if about != listed[kind]["what"] else ""]
        shown += [f"```json\n{example}\n```"]
        for inner, section in sections("", schema, own).items():
            shown += [f"### {kind}: {inner}\n\n{section.get('description', '')}" if inner else "", table(section)]
    return "\n\n".join(shown)
