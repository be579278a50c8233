"""The reference, made while mkdocs builds: a page's ``<!-- generated: NAME -->`` is filled in from the program itself.

Nothing is listed by hand, and no module is imported but ``ftcore.cli``, ``ftcore.errors`` and the ``settings``. A
marker that names nothing, a family of kinds without a page and a docstring that is gone end the build.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import _schema

ROOT = Path(__file__).resolve().parent.parent
STORE = "STORE/RECIPE/"
"""Where the docstring of the store begins each path."""
MARKER = re.compile(r"^<!-- generated: (\w+) ?([\w.]*) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Fill in the markers of a page; called by mkdocs."""
    return MARKER.sub(lambda found: GENERATORS[found[1]](*filter(None, [found[2]])), markdown)


def cli() -> str:
    """Every command with its help, arguments and options."""
    import typer

    from ftcore.cli import app

    return "\n\n".join(_command("ftcore", typer.main.get_command(app)))


def _command(path: str, command: Any) -> Iterator[str]:
    import typer

    context = typer.Context(command, info_name=path)
    yield f"{'##' if path.count(' ') < 2 else '###'} {path}"
    yield inspect.cleandoc(command.help or "")
    inner = {name: one for name, one in getattr(command, "commands", {}).items() if not one.hidden}
    yield f"```text\n{' '.join([path, *command.collect_usage_pieces(context)])}\n```"
    if rows := [record for one in command.params if (record := one.get_help_record(context))]:
        lines = [f"| `{name}` | {_schema.cell(text)} |" for name, text in rows]
        yield "\n".join(["| argument or option | meaning |", "| --- | --- |", *lines])
    for name, one in inner.items():
        yield from _command(f"{path} {name}", one)


def settings() -> str:
    """Every setting with its default and meaning, then those that only Airflow's side reads."""
    from ftcore.settings import REPOSITORY, Settings
    from ftcore_airflow.settings import AirflowSettings

    prefix, lines = Settings.model_config["env_prefix"], ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in {**Settings.model_fields, **AirflowSettings.model_fields}.items():
        default = str(field.default).replace(f"{REPOSITORY}/", "") if field.default not in ("", None) else ""
        shown = f"`{default}`" if default else "–"
        lines.append(f"| `{prefix}{name.upper()}` | {shown} | {_schema.cell(field.description or '')} |")
    return "\n".join(lines)


def errors() -> str:
    """The tree of errors, and each class with its exit code."""
    from ftcore import errors as module

    about = inspect.cleandoc(module.__doc__ or "").partition("::\n")[2]
    tree = "\n".join(line for line in about.splitlines() if line.startswith("    "))
    lines = ["| error | exit code | tried again by Airflow | meaning |", "| --- | --- | --- | --- |"]
    for one in _below(module.FtcoreError):
        meaning = _schema.cell(inspect.getdoc(one) or "")
        again = "yes" if one.retryable else "no"
        lines.append(f"| `{one.__name__}` | {one.exit_code} | {again} | {meaning} |")
    return f"```text\n{inspect.cleandoc(tree)}\n```\n\n" + "\n".join(lines)


def _below(error: Any) -> Iterator[Any]:
    yield error
    for one in error.__subclasses__():
        if one.__module__ == error.__module__:
            yield from _below(one)


def store() -> str:
    """The files of a recipe's part of the store, as the module that writes them draws them.

    Raises:
        LookupError: not exactly one docstring draws them.
    """
    documented = (
        ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "" for path in (ROOT / "ftcore").rglob("*.py")
    )
    found = [about for about in documented if f"    {STORE}runs/" in about]
    if len(found) != 1:
        raise LookupError(f"{len(found)} docstrings of ftcore draw {STORE}runs/, and one must")
    rows = (line.removeprefix(f"    {STORE}").split(maxsplit=1) for line in found[0].splitlines() if STORE in line)
    return "\n".join(
        ["| file | content |", "| --- | --- |", *(f"| `{name}` | {_schema.cell(about)} |" for name, about in rows)]
    )


def template(room: str) -> str:
    """The file that a new kind of a room starts from.

    Raises:
        LookupError: there is not exactly one.
    """
    found = list((ROOT / "ftcore").rglob(f"{room}/_template.py"))
    if len(found) != 1:
        raise LookupError(f"{len(found)} folders of ftcore are called {room} and have a template, and one must")
    return f"```python\n{found[0].read_text('utf-8')}```"


def file(name: str) -> str:
    """A page of the checkout that stands outside of docs/, with its links to docs/ as they are from here."""
    return (ROOT / name).read_text("utf-8").replace("](docs/", "](")


def benchmarks() -> str:
    """Name and docstring of each benchmark."""
    lines = ["| benchmark | what it measures |", "| --- | --- |"]
    for path in sorted((ROOT / "tests" / "bench").glob("[!_]*.py")):
        about = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        lines.append(f"| `{path.stem}` | {_schema.cell(about.partition(chr(10) * 2)[0])} |")
    return "\n".join(lines)


def kinds() -> str:
    """Every kind with its first sentence, a table a room."""
    shown = []
    for room, found in _schema.printed("ls", "--json").items():
        if room != "recipes":
            page = next(path for path, one in _schema.families().items() if set(one) == set(found))
            rows = [
                f"| [`{kind}`](kinds/{page}.md#{kind}) | {_schema.cell(one['what'])} |" for kind, one in found.items()
            ]
            shown.append("\n".join([f"## {room}\n", "| kind | what it does |", "| --- | --- |", *rows]))
    return "\n\n".join(shown)


GENERATORS: Mapping[str, Callable[..., str]] = {
    one.__name__: one
    for one in (cli, settings, errors, store, template, file, benchmarks, kinds, _schema.recipe, _schema.family)
}
"""What a marker may name."""
