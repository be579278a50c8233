"""The command line: light to start, exit codes of the tree, JSON for scripts."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
import typer

from ftcore import cli
from ftcore.cli import recipes
from ftcore.data import snapshot
from ftcore.errors import ConfigurationError
from ftcore.recipe import kinds as find
from ftcore.registry import login
from ftcore.store import layout

if TYPE_CHECKING:
    from conftest import Product

    from tests.unit.cli.conftest import Done

HEAVY = {
    "torch",
    "transformers",
    "peft",
    "mlflow",
    "great_expectations",
    "evidently",
    "pandas",
    "numpy",
    "scipy",
    "onnx",
    "onnxruntime",
    "sklearn",
    "pyarrow",
    "airflow",
}
COMMANDS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]


def process(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, where that is what is asked: as a script or a person starts it."""
    return subprocess.run([sys.executable, "-m", "ftcore", *words], capture_output=True, text=True, check=False)


def test_it_is_light_to_start_and_to_read_recipes() -> None:
    code = (
        "import sys, json, ftcore.cli; from ftcore import settings, pipeline;"
        "from ftcore.recipe import reading as recipe; from ftcore.store import store;"
        "[recipe.read(path) for path in recipe.files(settings.load().recipes)];"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY & set(json.loads(done.stdout)) == set()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(name: str) -> None:
    text = COMMANDS[name].help
    assert re.match(r"[A-Z][^\n]+[.?]\n", text)
    assert re.search(rf"Examples?:\n\n +ftcore {name}\b", text)
    for parameter in COMMANDS[name].params:
        assert parameter.name == "as_json" or getattr(parameter, "help", "") or parameter.name == "help", parameter


def test_help_lists_every_command_with_its_whole_sentence_and_loads_no_rich() -> None:
    code = (
        "import sys; from ftcore.cli import app\n"
        "try: app(['--help'], prog_name='ftcore')\n"
        "except SystemExit as end: sys.exit(f'rich in {sys.modules.keys()}' if 'rich' in sys.modules else end.code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "..." not in done.stdout.partition("\n")[2]
    assert re.search(r"^ +ftcore run \w+$", done.stdout, re.MULTILINE)
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", done.stdout, re.MULTILINE)
    for section in cli.SECTIONS:
        assert f"\n{section}:\n" in done.stdout


def test_a_faulty_recipe_exits_with_2_and_lists_its_faults(product: Product) -> None:
    product.change(colour="red", name="Bad Name")
    done = process("check", product.path.stem)
    assert done.returncode == 2
    assert "2 faults\n  line 1: name: " in done.stdout
    assert ": colour: unknown key" in done.stdout
    ran = process("step", "ingest", product.path.stem, "--run", "r1")
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: ")
    assert "Traceback" not in ran.stderr


def test_check_looks_for_base_and_suite(product: Product, tmp_path: Path, ftcore: Callable[..., Done]) -> None:
    missing = ftcore("check")
    assert (missing.returncode, missing.stdout.count("✘")) == (2, 1)
    assert "base model package://nowhere/model is not installed" in missing.stdout
    (product.path.parent / "model").mkdir()
    (product.path.parent / "model" / "config.json").write_text("{}")
    (product.path.parent / "model" / "model.safetensors").touch()
    product.change(base="./model")
    good = ftcore("check", str(product.path))
    folder = product.path.parent
    note = (
        f"  ! sources[0].path: no file matches 'rows.csv' in {folder}: put files with the columns text, label there\n"
    )
    assert (good.returncode, good.stdout) == (0, f"✔ {product.name}: {product.path}\n{note}")
    (folder / "rows.csv").write_text("text,label\n", encoding="utf-8")
    assert ftcore("check", str(product.path)).stdout == f"✔ {product.name}: {product.path}\n"
    gold = {"kind": "files", "path": "gold/*/*.txt", "format": "document", "label": "folder"}
    product.change(evaluate={"holdouts": {"gold": gold}})
    said = f"  ! evaluate.holdouts.gold.path: no file matches 'gold/*/*.txt' in {folder}: put text files there\n"
    assert ftcore("check", str(product.path)).stdout.endswith(said)
    product.change(validation={"suite": "mine"})
    assert "validation.suite: there is no mine.json" in ftcore("check", product.name).stdout


def test_check_looks_for_a_worker_that_can(
    product: Product, home: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, ftcore: Callable[..., Done]
) -> None:
    file = home.parent / "workers.yml"
    file.write_text("- {name: small, memory_gib: 8}\n", encoding="utf-8")
    monkeypatch.setenv("FTCORE_WORKERS", str(file))
    product.change(train={"max_length_tokens": 64})
    product.change(base=str(tiny / "model"), method={"kind": "qlora"})
    refused = ftcore("check", product.name)
    assert refused.returncode == 2
    assert f"method.kind: qlora needs cuda, and {file} has cpu only" in refused.stdout
    file.write_text("- {name: big, device: cuda, memory_gib: 80}\n", encoding="utf-8")
    assert ftcore("check", product.name).returncode == 0


def test_rejected_data_exits_with_3(product: Product) -> None:
    product.write_rows([])
    done = process("step", "ingest", product.name, "--run", "r1")
    assert done.returncode == 3
    assert "hold no row" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_step_prints_its_record_as_the_last_line(product: Product) -> None:
    product.write_rows([("good", "positive")])
    done = process("step", "ingest", product.name, "--run", "r1", "--json", "-p", "why=a=b")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["step"], record["params"], record["figures"]["rows"]) == ("ingest", {"why": "a=b"}, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("step", "dance", "x", "--run", "r"), "no such step: dance\n  hint: known: ingest, prepare"),
        (("run", "x", "--only", "data,dance"), "no such part of the ring: dance"),
        (("run", "nobody"), "no such recipe"),
        (("run", "PRODUCT", "-p", "train"), "--param takes KEY=VALUE, not 'train'"),
        (("ls", "kitchen"), "there is no room and no kind 'kitchen'"),
        (("new", "step", "mine"), "no template for 'step'"),
    ],
)
def test_wrong_words_are_explained(
    product: Product, words: tuple[str, ...], message: str, ftcore: Callable[..., Done]
) -> None:
    done = ftcore(*(product.name if word == "PRODUCT" else word for word in words))
    assert done.returncode
    assert message in done.stderr


def test_a_kind_is_listed_with_its_keys_their_meaning_and_their_defaults(ftcore: Callable[..., Done]) -> None:
    for room in find.ROOMS:
        kind = find.kinds(room)[0]
        found = json.loads(ftcore("ls", kind, "--json").stdout)[room]["keys"]
        fields = find.kind_class(room, kind).model_fields
        assert set(found) == set(fields) - {"kind"}
        assert all(found[name]["meaning"] == fields[name].description for name in found)
    shown = ftcore("ls", "chat").stdout
    assert "  A row's ``text`` is the prompt, its ``context`` a system prompt, its ``label`` the answer." in shown
    assert '  row: {"text": [{"role": "user", "content": "Which door is mine?"}], "context": "You answer' in shown
    shown = ftcore("ls", "value_drift").stdout
    assert 'column: string, default "score"\n      Column of the prediction log' in shown
    assert "method: wasserstein or jensenshannon or psi or hellinger or null, default null" in shown


def test_more_tokens_than_the_base_model_reads_are_a_fault(
    product: Product, tiny: Path, ftcore: Callable[..., Done]
) -> None:
    product.change(base=str(tiny / "model"), train={"max_length_tokens": 65})
    done = ftcore("check", product.name)
    assert done.returncode == 2
    assert "train.max_length_tokens: 65 tokens" in done.stdout
    assert "reads 64 at most\n  hint: set it to 64 or less" in done.stdout


def test_a_base_model_of_another_kind_than_the_task_stands_on_is_a_fault(
    product: Product, tiny: Path, ftcore: Callable[..., Done]
) -> None:
    """An encoder cannot write; a training found that out after minutes."""
    gates = [{"kind": "threshold", "metric": "perplexity", "maximum": 9}]
    product.change(base=str(tiny / "model"), task={"kind": "chat"}, gates=gates, exports=[])
    done = ftcore("check", product.name)
    assert done.returncode == 2
    assert "base: chat cannot learn on" in done.stdout
    assert "is an encoder" in done.stdout
    assert "take a language model as base" in done.stdout


def test_lists_are_json_for_scripts(product: Product, ftcore: Callable[..., Done]) -> None:
    done = ftcore("ls", "--json")
    found = json.loads(done.stdout)
    assert found.pop("recipes") == {product.name: str(product.path)}
    assert {room: tuple(kinds) for room, kinds in found.items()} == {room: find.kinds(room) for room in find.ROOMS}
    assert all(entry["example"]["kind"] == kind for kinds in found.values() for kind, entry in kinds.items())


def test_the_schema_is_printed_or_written(product: Product, tmp_path: Path, ftcore: Callable[..., Done]) -> None:
    printed = json.loads(ftcore("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(printed)
    assert ftcore("schema", "-o", str(tmp_path / "deep" / "schema.json")).returncode == 0
    assert json.loads((tmp_path / "deep" / "schema.json").read_text(encoding="utf-8")) == printed


def test_the_ledger_is_printed(product: Product, ftcore: Callable[..., Done]) -> None:
    product.shelf.add_to_ledger("plan", "r1", "train", "there is no champion yet", rows=3)
    (line,) = json.loads(ftcore("ledger", product.name, "--json").stdout)
    assert (line["decision"], line["rows"]) == ("train", 3)
    assert "plan     train     – there is no champion yet" in ftcore("ledger", product.name).stdout


def test_a_new_recipe_is_a_good_one(home: Path, tmp_path: Path, ftcore: Callable[..., Done]) -> None:
    made = ftcore("new", "recipe", "tickets")
    folder = tmp_path / "recipes"
    assert made.stdout.splitlines() == [
        f"wrote {folder / 'tickets.yaml'}",
        f"  ! sources[0].path: no file matches 'data/tickets/*.csv' in {folder}: put files with the columns text, "
        "label there",
        "next: ftcore check tickets",
    ]
    assert (folder / "data" / "tickets" / "README.txt").is_file()
    assert json.loads(ftcore("ls", "recipes", "--json").stdout)["recipes"].keys() == {"tickets"}


def test_forget_and_prune_speak_to_people_and_to_scripts(
    product: Product, ftcore: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    product.publish(range(20))
    product.publish(range(21))
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{snapshot.row_id('test', '3')}\n"))
    done = ftcore("forget", product.name, "--subject", "-", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [sum(one["rows"].values()) for one in report["snapshots"]] == [1, 1]
    assert [line["by"] for line in product.shelf.ledger("forget")] == [login.here()]
    looked = ftcore("snapshots", "prune", product.name, "--keep", "1", "--dry-run")
    assert re.fullmatch(r"\w{16}  would be deleted\n", looked.stdout), looked.stdout
    pruned = ftcore("snapshots", "prune", product.name, "--keep", "1", "--json")
    assert len(json.loads(pruned.stdout)["deleted"]) == 1
    assert len(snapshot.ls(product.shelf)) == 1
    assert ftcore("forget", product.name, "--subject", "--").returncode != 0


def test_check_names_a_secret_that_is_missing(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    product.change(prepare={"personal_data": {"entities": {"PERSON": "keep", "EMAIL_ADDRESS": "pseudonym"}}})
    monkeypatch.delenv("FTCORE_PSEUDONYM_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="at least 16 characters in FTCORE_PSEUDONYM_KEY"):
        recipes.ready(product.recipe, product.settings, product.path, ["data"])
    monkeypatch.setenv("FTCORE_PSEUDONYM_KEY", "0123456789abcdef")
    recipes.ready(product.recipe, product.settings, product.path, ["data"])


def test_the_version_is_that_of_the_package_and_of_its_stores() -> None:
    done = process("--version")
    assert done.stdout == f"ftcore {metadata.version('ftcore')}, store layout {layout.VERSION}\n"
