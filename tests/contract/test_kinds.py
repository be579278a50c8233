"""Every kind that lies in a room keeps the room's contract, which is the abstract class in the room's ``_base.py``."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

from ftcore import settings
from ftcore.cli import scaffold
from ftcore.data.cleaning.rows import ask
from ftcore.data.sources import files
from ftcore.data.sources._mapping import Batch, Mapper
from ftcore.recipe import kinds, reading
from ftcore.training.methods._base import Method
from ftcore.training.strategies._base import Strategy

KINDS = [(room, kind) for room in kinds.ROOMS for kind in kinds.kinds(room)]
HEAVY = tomllib.loads((settings.REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"][
    "flake8-tidy-imports"
]["banned-module-level-imports"]
"""What ruff bans at the top of a module must not come in through another door either."""
every_kind = pytest.mark.parametrize(("room", "kind"), KINDS)


def example(room: str, kind: str) -> Any:
    """A kind as a recipe has it, by the example of its own."""
    made: Any = kinds.kind_class(room, kind)
    return made.EXAMPLE


def its_class(module: ModuleType, kind: str) -> Any:
    classes = {one for one in vars(module).values() if isinstance(one, type) and issubclass(one, kinds.Config)}
    (made,) = (one for one in classes if "kind" in one.model_fields and one.model_fields["kind"].default == kind)
    return made


def keeps_its_class(module: ModuleType, room: str, kind: str) -> None:
    """A concrete class of its room's abstract one, with an example, and documented methods that fit their base's."""
    base = importlib.import_module(f"ftcore.{kinds.FAMILIES[room]}._base")
    own = (one for one in vars(base).values() if inspect.isabstract(one) and one.__module__ == base.__name__)
    (abstract,) = (one for one in own if kinds.Config in one.__bases__)
    made = its_class(module, kind)
    assert issubclass(made, abstract)
    assert not inspect.isabstract(made)
    assert made.model_validate(made.EXAMPLE).kind == made.EXAMPLE["kind"] == made.model_fields["kind"].default == kind
    assert made.__doc__
    assert made.__doc__ != abstract.__doc__
    for name, hook in vars(abstract).items():
        if callable(hook) and not name.startswith("_"):
            own = getattr(made, name)
            assert inspect.getdoc(own), name
            assert list(inspect.signature(own).parameters) == list(inspect.signature(hook).parameters), name


def keeps_the_contract(module: ModuleType, room: str, kind: str) -> None:
    """What is asked of a kind, whether it is shipped or was started a minute ago."""
    assert inspect.getdoc(module)
    assert re.fullmatch(r"[A-Z].+[.?]", (module.__doc__ or "").splitlines()[0])
    keeps_its_class(module, room, kind)


@pytest.mark.parametrize("kind", kinds.kinds("tasks"))
def test_the_row_that_a_task_shows_is_one_that_it_takes(kind: str) -> None:
    made: Any = kinds.kind_class("tasks", kind)
    config = made.model_validate(made.EXAMPLE)
    sources = [source for part in config.parts.values() for source in part.sources]
    source = files.Files(path="a.jsonl", context="context", rejected="rejected" if "rejected" in made.ROW else None)
    columns = {"text": None, "context": None, "label": None, **made.ROW}
    batch = Batch({name: [value] for name, value in columns.items()}, "a.jsonl", [1])
    mapper = Mapper(source, sources[0] if sources else "s", structures=config.STRUCTURES)
    table, faults = ask(mapper.table(batch), config)
    assert not faults
    assert table["text"][0].as_py()


def test_rooms_have_kinds_and_templates() -> None:
    assert {room for room, _ in KINDS} == set(kinds.ROOMS)
    folders = {path.parent for path in kinds.PACKAGE.rglob("_template.py")}
    assert folders == {kinds.folder(room) for room in kinds.ROOMS}


@every_kind
def test_it_keeps_its_rooms_contract(room: str, kind: str) -> None:
    keeps_the_contract(kinds.find(room, kind), room, kind)


@every_kind
def test_every_field_says_what_it_means(room: str, kind: str) -> None:
    fields = kinds.kind_class(room, kind).model_fields
    assert [name for name, field in fields.items() if name != "kind" and not field.description] == []


@every_kind
def test_it_is_frozen_strict_and_survives_json(room: str, kind: str) -> None:
    made, shown = kinds.kind_class(room, kind), example(room, kind)
    config = made.model_validate(shown)
    assert made.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValidationError, match="frozen"):
        config.kind = "other"
    with pytest.raises(ValidationError, match="Extra inputs"):
        made.model_validate(shown | {"surely_no_such_key": 1})


@every_kind
def test_a_recipe_can_use_it(room: str, kind: str) -> None:
    shown = example(room, kind)
    document = {
        "name": "contract",
        "task": {"kind": "classification", "labels": ["a", "b"]},
        "base": "./model",
        "sources": [{"kind": "feedback"}],
        "method": {"kind": "lora"},
        "exports": [{"kind": "onnx"}],
        "gates": [{"kind": "parity"}],
    }
    fits = (kinds.kind_class(room, kind).TASKS if room == "methods" else ()) or ("classification",)
    task = document["task"] if "classification" in fits else example("tasks", fits[0])
    judged = [{"kind": "threshold", "minimum": 0}]  # of the task's first metric
    pairs = [{"kind": "files", "path": "pairs.jsonl", "rejected": "worse"}]
    named = [name for part in shown.get("parts", {}).values() for name in part["sources"]]
    files = [{"kind": "files", "path": f"{name.removeprefix('files:')}.csv"} for name in named]
    places: dict[str, dict[str, object]] = {
        "sources": {"sources": [shown]},
        "tasks": {"task": shown, "exports": [], "gates": judged, "sources": files or document["sources"]},
        "methods": {"method": shown, "task": task, "sources": pairs, "exports": [], "gates": judged},
        "exporters": {"exports": [shown]},
        "gates": {"gates": [shown]},
        "detectors": {"watch": {"detectors": [shown]}},
    }
    key = next(iter(places[room]))
    read = reading.parse(document | places[room]).resolved()[key]
    part = read["detectors"][0] if room == "detectors" else read[0] if isinstance(read, list) else read
    assert part["kind"] == kind
    nested = {name for name, value in shown.items() if re.search(r"^\[?{", str(value))}
    assert part.items() >= {name: value for name, value in shown.items() if name not in nested}.items()


def test_all_of_them_are_light_to_import() -> None:
    steps = [path.stem for path in (kinds.PACKAGE / "steps").glob("[a-z]*.py")]
    modules = [f"ftcore.{kinds.FAMILIES[room]}.{kind}" for room, kind in KINDS] + [
        f"ftcore.steps.{step}" for step in steps
    ]
    code = (
        "import importlib, json, sys\nfound = {}\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        f"    found[name] = [heavy for heavy in {HEAVY!r} if heavy in sys.modules]\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {name: heavy for name, heavy in json.loads(done.stdout).items() if heavy} == {}


@pytest.mark.parametrize("room", kinds.ROOMS)
def test_a_kind_started_from_the_template_keeps_the_contract(
    room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = kinds.folder(room) / "_template.py"
    with monkeypatch.context() as patch:
        patch.setattr(kinds, "PACKAGE", tmp_path)
        kinds.folder(room).mkdir(parents=True)
        (kinds.folder(room) / "_template.py").write_bytes(template.read_bytes())
        path = scaffold.create(room.removesuffix("s"), "brand_new", settings.load())
    spec = importlib.util.spec_from_file_location(f"ftcore.{kinds.FAMILIES[room]}.brand_new", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    keeps_the_contract(module, room, "brand_new")
    fields = its_class(module, "brand_new").model_fields.items()
    assert [name for name, field in fields if name != "kind" and not field.description] == []


@pytest.mark.parametrize("kind", kinds.kinds("tasks"))
def test_a_plan_counts_on_the_architecture_that_is_trained(kind: str) -> None:
    task: Any = kinds.kind_class("tasks", kind).model_validate(example("tasks", kind))
    if task.parts:
        assert task.architecture == "AutoModelForSequenceClassification"
        return
    loaded = inspect.getsource(task.load)
    for shared, made in {"return causal(": "CausalLM", "_sequence.load(": "SequenceClassification"}.items():
        loaded = loaded.replace(shared, f"AutoModelFor{made}(")
    assert set(re.findall(r"AutoModelFor\w+", loaded)) == {task.architecture}


@pytest.mark.parametrize("kind", kinds.kinds("methods"))
def test_a_method_that_does_more_than_one_pass_tells_the_plan(kind: str) -> None:
    made = kinds.kind_class("methods", kind)
    own = {
        name
        for name in ("effort", "lengths", "teacher_reference", "fit")
        if getattr(made, name) is not getattr(Method, name)
    }
    assert made.OWN_LOOP is ("fit" in own)
    assert "effort" in own or not own, "its own way to train is not one pass forward and back"


@pytest.mark.parametrize("kind", kinds.kinds("strategies"))
def test_a_strategy_is_a_class_of_its_own_name(kind: str) -> None:
    made = kinds.kind_class("strategies", kind)
    assert issubclass(made, Strategy)
    assert made().kind == kind
    assert made.__doc__ != Strategy.__doc__
    assert (made.__module__, inspect.isabstract(made)) == (f"ftcore.training.strategies.{kind}", False)
