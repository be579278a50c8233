"""Jinja templates and conditions over the columns of one row.

A field that a row lacks is an error of that row, never the word None: nulls print as nothing, in ``~``, ``join`` and
the filters of text as well, and a list or an object is printed by ``tojson`` alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache, wraps
from typing import Any

from ftcore.data.values import plain

_TEMPLATE = re.compile(r"{{|{%")
_EXPRESSION = re.compile(r"{{-?\s*(.+?)\s*-?}}", re.DOTALL)
_OF_TEXT = ("capitalize", "center", "escape", "indent", "lower", "replace", "string", "striptags", "title", "trim",
            "truncate", "upper", "urlencode", "wordwrap")  # fmt: skip


class HoleError(Exception):
    """What a row lacks for a template, in words."""


class Template:
    """A compiled template."""

    def __init__(self, spec: str) -> None:
        """Compile.

        Raises:
            jinja2.TemplateSyntaxError: it is none.
        """
        self.spec = spec
        self.names: tuple[str, ...] = _names(spec)
        """Columns that it uses."""
        self._template = _environment().from_string(spec)

    def render(self, row: Mapping[str, Any]) -> str | None:
        """The text of a row; None where every field that it prints is null or blank, whatever stands between them.

        Raises:
            HoleError: a field is missing, is no single value, or an expression fails.
        """
        printed = _environment().printed
        printed.fields, printed.filled = 0, False
        try:
            text = str(self._template.render(row))
        except Exception as error:
            raise HoleError(self._missing(row, error)) from error
        return text if printed.filled or (not printed.fields and text.strip()) else None

    def blank(self, row: Mapping[str, Any]) -> str:
        """Which fields of a row are null or blank, where ``render`` gave None."""
        names = list(dict.fromkeys(_EXPRESSION.findall(self.spec)))
        return f"{', '.join(names) or 'the template'} {'are all' if len(names) > 1 else 'is'} null or empty"

    def _missing(self, row: Mapping[str, Any], error: Exception) -> str:
        """The first expression that fails by itself, and why; the error's own words where none does."""
        for expression in _EXPRESSION.findall(self.spec):
            if not set(_names("{{ " + expression + " }}")) <= set(self.names):  # of a loop
                continue
            try:
                _piece(_expression(expression)(row))
            except Exception as found:
                return f"{expression} {_why(found)}"
        return f"the template {_why(error)}"


class Condition:
    """A compiled condition, such as ``lang == 'en'``."""

    def __init__(self, spec: str) -> None:
        """Compile.

        Raises:
            jinja2.TemplateSyntaxError: it is no expression.
        """
        self.spec = spec
        self.names: tuple[str, ...] = _names("{{ (" + spec + ") }}")
        self._holds = _expression(spec)

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Whether a row fulfils it.

        Raises:
            HoleError: a field is missing, or the expression fails.
        """
        try:
            return bool(self._holds(row))
        except Exception as error:
            raise HoleError(f"{self.spec} {_why(error)}") from error


def is_template(spec: str) -> bool:
    """Whether a field of a mapping is a template rather than a column's name."""
    return bool(_TEMPLATE.search(spec))


@lru_cache(256)
def template(spec: str) -> Template:
    """A template, compiled once."""
    return Template(spec)


@lru_cache(64)
def condition(spec: str) -> Condition:
    """A condition, compiled once."""
    return Condition(spec)


def _names(spec: str) -> tuple[str, ...]:
    from jinja2 import meta

    return tuple(sorted(meta.find_undeclared_variables(_environment().parse(spec))))


@lru_cache(256)
def _expression(spec: str) -> Callable[[Mapping[str, Any]], Any]:
    compiled: Callable[[Mapping[str, Any]], Any] = _environment().compile_expression(spec, undefined_to_none=False)
    return compiled


def _why(error: Exception) -> str:
    from jinja2 import UndefinedError

    if isinstance(error, UndefinedError):
        return f"is missing: {error.message}"
    if isinstance(error, TypeError) and str(error) == "not a single value":
        return "is a list or an object: take one of its fields, or add | tojson"
    return f"fails: {error}"


def _piece(value: Any) -> str | None:
    """What a template prints of a value."""
    return plain(value)


class _NullAsJson(str):
    """What ``tojson`` makes of null: printed, and nothing that fills a template."""

    __slots__ = ()


class _Printed:
    """What the template that is being rendered has printed."""

    fields = 0
    filled = False

    def __call__(self, value: Any) -> str:
        text = _piece(value)
        self.fields += 1
        if text and not text.isspace() and type(text) is not _NullAsJson:
            self.filled = True
        return text or ""


@cache
def _environment() -> Any:
    from jinja2 import StrictUndefined, nodes, pass_environment, pass_eval_context
    from jinja2.filters import make_attrgetter
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.visitor import NodeTransformer

    class Concatenations(NodeTransformer):
        """``a ~ b`` becomes a filter of ours: Jinja's own would write None."""

        def visit_Concat(self, node: Any) -> Any:  # noqa: N802 - named by Jinja
            self.generic_visit(node)
            fixed = [nodes.Const(isinstance(one, nodes.Const | nodes.TemplateData)) for one in node.nodes]
            made = nodes.Filter(nodes.List(node.nodes), "ftcore_concat", [nodes.List(fixed)], [], None, None)
            return made.set_lineno(node.lineno, override=False).set_environment(node.environment)

    class Environment(ImmutableSandboxedEnvironment):
        """Nulls are printed as nothing, and what is no single value not at all."""

        def _generate(self, source: Any, *args: Any, **options: Any) -> str:
            return super()._generate(Concatenations().visit(source), *args, **options)

    def concat(values: Sequence[Any], fixed: Sequence[bool]) -> str | None:
        pieces = [_piece(value) or "" for value in values]
        filled = all(fixed) or any(text.strip() for text, alone in zip(pieces, fixed, strict=True) if not alone)
        return "".join(pieces) if filled else None

    @pass_eval_context
    def tojson(context: Any, value: Any, indent: int | None = None) -> Any:
        return _NullAsJson("null") if value is None else as_json(context, value, indent)

    @pass_environment
    def join(environment: Any, values: Sequence[Any] | None, d: str = "", attribute: str | None = None) -> str | None:
        if values is None:
            return None
        chosen = values if attribute is None else map(make_attrgetter(environment, attribute), values)
        pieces = [text for one in chosen if (text := _piece(one)) is not None]
        return d.join(pieces) if any(text.strip() for text in pieces) else None

    printed = _Printed()
    environment = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, finalize=printed)
    environment.printed = printed  # type: ignore[attr-defined]
    environment.filters |= {name: _null_stays(environment.filters[name]) for name in _OF_TEXT}
    as_json = environment.filters["tojson"]
    environment.filters |= {"ftcore_concat": concat, "join": join, "tojson": tojson}
    return environment


def _null_stays(of_text: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of text that leaves null as it is, where Jinja's would write None."""
    place = 1 if hasattr(of_text, "jinja_pass_arg") else 0

    @wraps(of_text)
    def filtered(*args: Any, **options: Any) -> Any:
        if args[place] is None:
            return None
        if type(args[place]) not in {str, int, float, bool}:
            args = (*args[:place], _piece(args[place]), *args[place + 1 :])
        return of_text(*args, **options)

    return filtered
