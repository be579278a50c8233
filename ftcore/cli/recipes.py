"""Commands about recipes: check them, list what they can use, start a new one, and their JSON Schema."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftcore.cli._shared import AsJson, path_of

if TYPE_CHECKING:
    from ftcore.recipe.model import Recipe
    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore


def check(
    recipes: Annotated[list[str], typer.Argument(metavar="[RECIPE]...", help="Default: all in dags/recipes/.")] = [],
) -> None:
    """Check recipes: every fault at once, and whether base model and suite are there.

    Example:

        ftcore check sentiment
    """
    from ftcore import settings
    from ftcore.errors import FtcoreError, RecipeError
    from ftcore.recipe import reading

    conf = settings.load()
    worst = 0
    for name in recipes or [str(path) for path in reading.files(conf.recipes)]:
        try:
            path = path_of(name)
            read = reading.read(path)
            try:
                ready(read, conf, path)
            except RecipeError as error:
                raise error.at(reading.lines(path), str(path)) from error
            print(f"✔ {read.name}: {path}")
            for note in [*_without_files(read, path), *_of_snapshot(read, conf)]:
                print(f"  ! {note}")
        except FtcoreError as error:
            print(f"✘ {error}")
            worst = max(worst, error.exit_code)
    raise typer.Exit(worst)


def _without_files(model: Recipe, path: Path) -> list[str]:
    """Sources whose files are not there, each with what to put there."""
    from ftcore.data.sources.files import Files

    every = {f"sources[{number}]": source for number, source in enumerate(model.sources)}
    every |= {f"evaluate.holdouts.{name}": source for name, source in model.evaluate.holdouts.items()}
    notes = []
    for where, source in every.items():
        if isinstance(source, Files) and (why := source.missing(path.parent)):
            whole = source.format in {"txt", "document"}
            names = source.needs(("text", "context", "label", "rejected", "id", "group", "observed_at"))
            wanted = "text files" if whole else f"files with the columns {', '.join(names)}"
            notes.append(f"{where}.path: {why}: put {wanted} there")
    return notes


def _of_snapshot(model: Recipe, conf: Settings) -> list[str]:
    """What the current snapshot says against the recipe's labels and shares."""
    from ftcore.data import labels, snapshot, split
    from ftcore.errors import FtcoreError
    from ftcore.store import store

    try:
        shelf = store.shelf(conf, model.name)
        identity = snapshot.current(shelf)
        manifest = snapshot.manifest(shelf, identity) if identity else {}
    except (FtcoreError, OSError):  # a recipe can be checked where its store cannot be reached
        return []
    by_label, moved = manifest.get("labels_by_split", {}), split.redrawn(manifest, model.prepare)
    notes = [*([moved] if moved else []), *_too_few(model, shelf, identity)]
    if not by_label:
        return notes
    own = {name: by_label.get(name, dict.fromkeys(snapshot.SPLITS, 0)) for name in labels.listed(model.task)}
    gone = [name for name in by_label if name not in own]
    if gone:
        notes.append(f"snapshot {identity} has rows of {', '.join(map(repr, gone))}, which task.labels lacks")
    rare = labels.warning(own)
    return [*notes, *([f"snapshot {identity}: {rare}"] if rare else [])]


def _too_few(model: Recipe, shelf: RecipeStore, identity: str | None) -> list[str]:
    """Gates that ask for more test rows than the current snapshot has."""
    from ftcore.errors import FtcoreError
    from ftcore.planning import enough

    try:
        sizes = enough.of_snapshot(model, shelf, identity) if identity else {}
    except (FtcoreError, OSError):
        return []
    return [f"snapshot {identity}: {one}" for one in enough.warnings(model, sizes)]


def ready(model: Recipe, conf: Settings, path: Path, chains: Sequence[str] = ("data", "finetune")) -> None:
    """Whether all that a recipe names is there: for ``data`` its suite, for ``finetune`` its base model and a worker.

    Raises:
        RecipeError: there is no such suite, or no such worker.
        ConfigurationError: pseudonyms are asked for and their secret is not set.
        FtcoreError: there is no such base model.
    """
    import os

    from ftcore.data.cleaning import personal
    from ftcore.errors import RecipeError
    from ftcore.models import base, stands

    if "data" in chains:
        if not conf.suite(model.suite).is_file():
            fault = f"there is no {model.suite}.json in {conf.expectations}"
            raise RecipeError(model.name, [("validation.suite", fault)], "ftcore profile RECIPE -o proposes one")
        personal.cleaner(model.prepare.personal_data, os.environ, model.name)
    if "finetune" in chains:
        _can_be_trained(model, conf)
        if not model.base.startswith("models:/"):
            folder = base.locate(model.base, conf, path.parent)
            if said := stands.fault(model.task, folder):
                raise RecipeError(model.name, [("base", said[0])], said[1])
            _fits_the_window(model, folder)


def _fits_the_window(model: Recipe, folder: Path) -> None:
    """Whether the base model reads as many tokens as the longest rows may have."""
    from ftcore.errors import RecipeError
    from ftcore.models import window
    from ftcore.store.store import read_json

    if not folder.is_dir():  # a packed file is unpacked by the first training
        return
    config, tokenizer = (read_json(folder / name) or {} for name in ("config.json", "tokenizer_config.json"))
    most, limit = window.of(config, tokenizer), model.train.max_length_tokens
    if most and limit > most:
        fault = f"{limit} tokens, and the base model {model.base} reads {most} at most"
        raise RecipeError(model.name, [("train.max_length_tokens", fault)], f"set it to {most} or less")


def _can_be_trained(model: Recipe, conf: Settings) -> None:
    """Whether there is a worker with the device that method and strategy need."""
    from ftcore.errors import RecipeError
    from ftcore.planning.sizes import choosy
    from ftcore.training import workers

    there, where = {worker.device for worker in workers.load(conf)}, conf.workers or "this machine"
    faults = [
        (one.path, f"{one.kind} needs {' or '.join(one.devices)}, and {where} has {', '.join(sorted(there))} only")
        for one in choosy(model)
        if not there & set(one.devices)
    ]
    if faults:
        raise RecipeError(model.name, faults, "name a worker that has it in FTCORE_WORKERS")


def ls(
    room: Annotated[
        str,
        typer.Argument(
            metavar="[ROOM|KIND]",
            help="sources, tasks, methods, exporters, gates, detectors or recipes; or one kind of these, such as lora.",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the recipes and the kinds that a recipe can use, with an example of each.

    Example:

        ftcore ls gates

        ftcore ls beats_champion      # its keys, with their meaning and their defaults

        ftcore ls chat                # and the rows that a task takes
    """
    from ftcore import settings
    from ftcore.errors import FtcoreError
    from ftcore.recipe import kinds, reading

    if places := [name for name in kinds.ROOMS if room in kinds.kinds(name)]:
        _show_kinds(room, places, as_json=as_json)
        return
    if room and room not in (*kinds.ROOMS, "recipes"):
        raise FtcoreError(
            f"there is no room and no kind {room!r}",
            hint=f"known rooms: {', '.join(kinds.ROOMS)}, recipes; ftcore ls ROOM lists its kinds",
        )
    listed: dict[str, Any] = {}
    if room in ("", "recipes"):
        listed["recipes"] = {path.stem: str(path) for path in reading.files(settings.load().recipes)}
    for name in [room] if room in kinds.ROOMS else [] if room else kinds.ROOMS:
        listed[name] = {kind: _shown(name, kind) for kind in kinds.kinds(name)}
    if as_json:
        print(json.dumps(listed, indent=2))
        return
    for name, entries in listed.items():
        print(name)
        for kind, entry in entries.items():
            print(f"  {kind:<16} {entry['what'] if isinstance(entry, dict) else entry}")
            if isinstance(entry, dict) and room:
                print(f"  {'':<16} {json.dumps(entry['example'])}")


def _show_kinds(kind: str, rooms: Sequence[str], *, as_json: bool) -> None:
    """Print the keys of a kind, with their meaning and their defaults, in each room that has one of this name."""
    found = {room: _keys(room, kind) for room in rooms}
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for room, one in found.items():
        print(f"{room}: {kind}: {one['what']}")
        print(*(f"  {line}".rstrip() for line in one["about"].splitlines()), sep="\n")
        print(f"  example: {json.dumps(one['example'])}")
        if "row" in one:
            print(f"  row: {json.dumps(one['row'])}")
        for key, said in one["keys"].items():
            value = "required" if said["required"] else f"default {json.dumps(said['default'])}"
            print(f"  {key}: {said['type']}, {value}")
            print(*(f"      {line}" for line in said["meaning"].splitlines()), sep="\n")


def _shown(room: str, kind: str) -> dict[str, Any]:
    """First sentence and example of a kind."""
    from ftcore.recipe import kinds

    made: Any = kinds.kind_class(room, kind)
    return {"what": (kinds.find(room, kind).__doc__ or "").splitlines()[0], "example": made.EXAMPLE}


def _keys(room: str, kind: str) -> dict[str, Any]:
    """First sentence, example and keys of a kind, and the rows that a task takes."""
    from ftcore.recipe import kinds
    from ftcore.tasks._base import Task

    made = kinds.kind_class(room, kind)
    fields, schema = made.model_fields, made.model_json_schema()["properties"]
    shown = _shown(room, kind)
    return {
        "what": shown["what"],
        "about": inspect.cleandoc(made.__doc__ or ""),
        "example": shown["example"],
        **({"row": made.ROW} if issubclass(made, Task) else {}),
        "keys": {
            name: {
                "type": _type(schema[name]),
                "required": field.is_required(),
                "default": schema[name].get("default"),
                "meaning": field.description or "",
            }
            for name, field in fields.items()
            if name != "kind"
        },
    }


def _type(schema: dict[str, Any]) -> str:
    """A key's type in a word or two."""
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    if "$ref" in schema:
        return "mapping"
    names = {"array": "list", "object": "mapping", "integer": "whole number"}
    return names.get(schema.get("type", ""), str(schema.get("const", schema.get("type", "any"))))


def new(
    what: Annotated[str, typer.Argument(help="recipe, or a kind: source, task, method, exporter, gate, detector.")],
    name: Annotated[str, typer.Argument(help="Lower case, digits and underscores.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="A file of labelled texts: its columns and labels are filled in.")
    ] = None,
) -> None:
    """Start a new recipe or a new kind from its template.

    Examples:

        ftcore new recipe support_tickets

        ftcore new recipe support_tickets --data tickets.csv

        ftcore new gate fairness
    """
    from contextlib import suppress

    from ftcore import settings
    from ftcore.cli import scaffold
    from ftcore.errors import RecipeError
    from ftcore.recipe import reading

    path = scaffold.create(what, name, settings.load(), data)
    print(f"wrote {path}")
    if what != "recipe":
        return
    with suppress(RecipeError):  # a template of one's own may have gaps, which `check` names
        for note in _without_files(reading.read(path), path):
            print(f"  ! {note}")
    print(f"next: ftcore check {name}")


def schema(output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None) -> None:
    """Print the JSON Schema of a recipe, so that editors complete and check it.

    Example:

        ftcore schema -o .ftcore/recipe.schema.json
    """
    from ftcore.recipe.reading import json_schema
    from ftcore.store.store import write_json

    if output:
        write_json(output, json_schema())
    else:
        print(json.dumps(json_schema(), indent=2))
