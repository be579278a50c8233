"""Values to pages and to Markdown, by the templates of this room or of whoever asks; what rows hold is escaped."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2 import Environment


@cache
def pages(package: str = "ftcore.reports", *, strict: bool = True) -> Environment:
    """Environment of HTML pages.

    Args:
        package: whose folder ``templates`` holds them.
        strict: whether a value that a template names must be there; else it is empty.
    """
    from jinja2 import StrictUndefined, Undefined

    made = _environment(package, autoescape=True, undefined=StrictUndefined if strict else Undefined)
    made.trim_blocks = made.lstrip_blocks = True
    return made


def markdown(template: str, **values: Any) -> str:
    """A template as Markdown: one empty line between blocks, whatever parts were left out, and none at the end."""
    # Markdown, not HTML: `finalize` takes from every value what could start a tag, a cell or a line. It takes the outer
    # blanks of strings inside `{{ }}`, too: a separator stands in the template as text.
    made = _environment("ftcore.reports", autoescape=False, finalize=_plain, keep_trailing_newline=True)
    return re.sub(r"\n{3,}", "\n\n", made.get_template(template).render(**values)).rstrip("\n") + "\n"


def _environment(
    package: str, *, autoescape: bool, finalize: Callable[[object], str] | None = None, **options: Any
) -> Environment:
    from jinja2 import Environment, PackageLoader

    return Environment(loader=PackageLoader(package), autoescape=autoescape, finalize=finalize, **options)  # noqa: S701


def _plain(value: object) -> str:
    text = " ".join(str(value).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return re.sub(r"\](?=[(\[:])", "]\\\\", text)  # no link, and no target of one
