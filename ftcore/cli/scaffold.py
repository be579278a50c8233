"""``ftcore new``: start a recipe or a kind from its room's template."""

from __future__ import annotations

import json
import logging
import os
import re
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ftcore.data.cleaning.label_names import visible
from ftcore.data.sources import files
from ftcore.data.values import plain
from ftcore.errors import DataRejectedError, FtcoreError
from ftcore.recipe import yaml_core
from ftcore.recipe.kinds import ROOMS, folder
from ftcore.recipe.model import NAME
from ftcore.recipe.reading import json_schema
from ftcore.settings import REPOSITORY, Settings
from ftcore.store.store import write_bytes, write_json

log = logging.getLogger(__name__)
TEXTS = ("text", "message", "sentence", "utterance", "review", "comment", "content", "body", "description", "question")
LABELS = ("label", "category", "class", "intent", "sentiment", "topic", "tag", "target")
"""Names by which the columns of a classification are recognised, the surest first."""
MOST_LABELS = 200
"""A column with more distinct values is no label."""
SCHEMA = "recipe.schema.json"
"""In the home: what editors complete and check recipes by."""
README = """Data of the recipe {name}

Put CSV files here: UTF-8, a header, and the columns that sources[{number}] of {recipe} names
(text: what the model reads; label: one of task.labels). Other names are set there: `text: COLUMN`, `label: COLUMN`.
`ftcore check {name}` lists what is missing. This file is not read.
"""


def create(what: str, name: str, settings: Settings, data: Path | None = None) -> Path:
    """Copy a template under a new name; returns the file. A folder of recipes may have a ``_template.yaml`` of its own.

    A recipe's folder of data is made, with a note of what belongs there.

    Args:
        what: ``recipe``, or a kind in the singular: ``source``, ``gate``, ….
        name: of the recipe or kind.
        settings: tell where recipes are.
        data: a file whose columns and labels are filled into the recipe.

    Raises:
        FtcoreError: no such template, a bad name, or the file is there already.
        DataRejectedError: the data cannot be read, or no column of them is a text or a label.
    """
    if not NAME.match(name):
        raise FtcoreError(f"bad name {name!r}", hint="lower case letters, digits and underscores, a letter first")
    rooms = {room.removesuffix("s"): folder(room) for room in ROOMS}
    if what == "recipe":
        own, target = settings.recipes / "_template.yaml", settings.recipes / f"{name}.yaml"
        template = own if own.is_file() else REPOSITORY / "dags" / "recipes" / "_template.yaml"
    elif what in rooms:
        template, target = rooms[what] / "_template.py", rooms[what] / f"{name}.py"
    else:
        raise FtcoreError(f"no template for {what!r}", hint=f"known: recipe, {', '.join(rooms)}")
    if target.exists():
        raise FtcoreError(f"{target} is there already")
    if not template.is_file():  # installed without the checkout
        raise FtcoreError(f"there is no template {template}", hint=f"put one into {settings.recipes}: _template.yaml")
    text = re.sub(r"\bNAME\b", name, template.read_text(encoding="utf-8"))
    text = re.sub(r"\bTemplate\b", "".join(word.capitalize() for word in name.split("_")), text)
    if what == "recipe":
        if settings.recipes.parent.name != "dags":  # the template's path is that of a recipe in dags/recipes/
            text = text.replace(f'"../../data/{name}/', f'"data/{name}/')
        text = _filled(text, data, target) if data else text
        text = _with_schema(text, target, settings)
    elif data:
        raise FtcoreError(f"a {what} has no data", hint="--data is for `ftcore new recipe`")
    write_bytes(target, text.encode())
    if what == "recipe":
        _make_folders(text, name, target)
    return target


def _with_schema(text: str, recipe: Path, settings: Settings) -> str:
    """A recipe's text whose note for editors names a JSON Schema that is there; else it is written into the home."""
    note = re.search(r"(yaml-language-server: \$schema=)(\S+)", text)
    if not note or "://" in note[2] or (recipe.parent / note[2]).is_file():
        return text
    schema = settings.home.absolute() / SCHEMA
    if not schema.is_file():
        write_json(schema, json_schema())
    path = Path(os.path.relpath(schema, recipe.parent.absolute())).as_posix()
    return f"{text[: note.start(2)]}{path}{text[note.end(2) :]}"


def _make_folders(text: str, name: str, recipe: Path) -> None:
    """Make the folders of a recipe's own files, each with a note; one that cannot be made is named by ``check``."""
    document = yaml_core.read(text)
    sources = document.get("sources", []) if isinstance(document, dict) else []
    for number, source in enumerate(sources):
        path = Path(str(source.get("path", "")) if isinstance(source, dict) and source.get("kind") == "files" else "")
        folder = recipe.parent / path.parent
        if name not in path.parent.parts or set("*?[:") & set(str(path.parent)) or fnmatch("README.txt", path.name):
            continue
        with suppress(OSError):
            folder = folder.resolve()
            folder.mkdir(parents=True, exist_ok=True)
            if not any(folder.iterdir()):
                said = README.format(name=name, number=number, recipe=recipe.name)
                (folder / "README.txt").write_text(said, encoding="utf-8")


def _filled(text: str, data: Path, recipe: Path) -> str:
    """A recipe's text with the path, the columns and the labels of a file."""
    found = _look(data)
    path = os.path.relpath(data.resolve(), recipe.parent.resolve())
    source = {"kind": "files", "path": path, **found["columns"]}
    written = ", ".join(f"{key}: {_scalar(value)}" for key, value in source.items())
    changes = (
        (r"labels: \[[^\]]*\]", f"labels: {json.dumps(found['labels'], ensure_ascii=False)}"),
        (r"\{kind: files,[^}]*\}", f"{{{written}}}"),
    )
    for pattern, new in changes:
        text, count = re.subn(pattern, lambda _, new=new: new, text, count=1)  # type: ignore[misc]
        if not count:
            raise FtcoreError(
                f"the template of recipes has no {pattern.partition(chr(92))[0] or 'files source'} to fill in",
                hint="leave out --data, and fill in path, text, label and task.labels",
            )
    return text


def _scalar(value: str) -> str:
    bare = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) and value.lower() not in {"null", "true", "false"}
    return value if bare else json.dumps(value, ensure_ascii=False)


def _look(data: Path) -> dict[str, Any]:
    """Which columns of a file are the text and the label, its delimiter where it is no comma, and the labels."""
    if not data.is_file():
        raise FtcoreError(f"no such file: {data}")
    if files.is_archive(data):
        raise DataRejectedError(
            f"{data} is an archive", hint="give one of its files to --data, then write the archive as the source's path"
        )
    delimiters = ("", ";", "\t", "|") if files.has_delimiter(data) else ("",)
    opened = [files.Files(path=str(data), delimiter=one or None) for one in delimiters]
    config = max(opened, key=lambda one: len(one.columns(data)))
    lengths: dict[str, int] = {}
    values: dict[str, dict[str, int]] = {}
    rows, broken = 0, False
    unread: dict[str, int] = {}
    for batch in config.batches(data, None):
        rows += len(batch.places)
        for reason in batch.spoiled.values():
            why = reason.partition("]")[0].lstrip("[")
            unread[why] = unread.get(why, 0) + 1
        for name, column in batch.columns.items():
            counts = values.setdefault(name, {})
            for value in (visible(plain(one) or "") for one in column if isinstance(one, str | int | float)):
                broken = broken or "\ufffd" in value
                lengths[name] = lengths.get(name, 0) + len(value)
                if value and (value in counts or len(counts) <= MOST_LABELS):
                    counts[value] = counts.get(value, 0) + 1
    text = _named(TEXTS, lengths) or max(lengths, key=lambda name: lengths[name], default="")
    few = {n: c for n, c in values.items() if n != text and 2 <= len(c) <= min(MOST_LABELS, max(2, rows // 2))}
    label = _named(LABELS, few) or min(few, key=lambda name: len(few[name]), default="")
    if not text or not label:
        raise DataRejectedError(
            f"no column of {data} is a label: one has between 2 and {MOST_LABELS} distinct values in all rows",
            [
                *(f"column {name!r}: {len(c):,}{'+' * (len(c) > MOST_LABELS)} values" for name, c in values.items()),
                *(f"{count:,} of {rows:,} rows cannot be read: {why}" for why, count in unread.items()),
            ],
            hint="leave out --data, and fill in path, text, label and task.labels",
        )
    if broken:
        log.warning("%s holds bytes that are no UTF-8: add `encoding: …` to its source, such as cp1252", data)
    columns = {"text": text, "label": label} | ({"delimiter": config.delimiter} if config.delimiter else {})
    return {"columns": columns, "labels": sorted(few[label])}


def _singular(name: str) -> str:
    lower = name.strip().lower()
    return lower.removesuffix("s") if lower.removesuffix("s") in {*TEXTS, *LABELS} else lower


def _named(known: tuple[str, ...], there: dict[str, Any]) -> str:
    """The column with the surest of some names, whatever its case; empty where none has one."""
    by_name = {_singular(name): name for name in reversed(there)}
    return next((by_name[name] for name in known if name in by_name), "")
