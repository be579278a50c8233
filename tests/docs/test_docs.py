"""What README, SECURITY.md and docs/ show is true: recipes pass their check, commands exist, links lead somewhere."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from ftcore import settings
from ftcore.cli import app

ROOT = settings.REPOSITORY
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
MARK = re.compile(r"<!-- (?:part of: (?P<recipe>\w+)|(?P<other>not a recipe)) -->\s*\Z")
COMMAND = re.compile(r"^ *(?:\$ )?(?:[A-Z_]+=\S+ )*(?P<command>ftcore .+)$", re.MULTILINE)
INLINE = re.compile(r"(?<!`)`(ftcore [^`]+)`(?!`)")
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\((?!https?://|mailto:)([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
LOADED = re.compile(
    r"""<(?:script|img|iframe|link rel="(?:stylesheet|preconnect|icon)")[^>]*(?:src|href)="?(?:https?:)?//"""
)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


@pytest.fixture(scope="module")
def reference() -> Any:
    """The hook that makes the reference pages."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        yield importlib.import_module("_reference")
    finally:
        sys.path.remove(str(ROOT / "docs"))


def blocks(text: str, *languages: str) -> Iterator[tuple[str, re.Match[str] | None]]:
    """Fenced blocks of some languages, each with the mark before it."""
    for found in FENCE.finditer(text):
        if found["language"] in languages:
            yield (
                re.sub(f"^{found['indent']}", "", found["text"], flags=re.MULTILINE),
                MARK.search(text[: found.start()]),
            )


# -- commands


@cache
def tree() -> Any:
    """All commands of ftcore."""
    return typer.main.get_command(app)


def commands(text: str) -> Iterator[str]:
    """Every command line of ftcore in the fenced blocks of a page."""
    for block, _ in blocks(text, "", "console", "bash", "sh"):
        yield from (found["command"] for found in COMMAND.finditer(block.replace("\\\n", " ")))


def parsed(line: str) -> tuple[Any, list[str]]:
    """The command that a line calls, and the words that are its arguments; what a shell does with them is left out."""
    words = shlex.split(re.split(r"\s[|;<>&]+(?:\s|$)|\s2>", line.partition(" #")[0])[0])
    command = tree()
    assert words.pop(0) == "ftcore"
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    return command, words


def check_line(line: str) -> None:
    """A usage error, as on a terminal, or an assertion names what is wrong with a line."""
    command, words = parsed(line)
    if hasattr(command, "commands"):
        assert words in ([], ["--help"], ["COMMAND", "--help"]), f"{line}: no such command"
    elif "--help" not in words:
        command.make_context(command.name, words)


@every_page
def test_every_command_line_is_one_that_ftcore_takes(page: Path) -> None:
    for line in commands(page.read_text(encoding="utf-8")):
        check_line(line)


@every_page
def test_every_command_in_a_sentence_is_there_with_its_options(page: Path) -> None:
    for line in INLINE.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        command, words = parsed(" ".join(line.split()))
        options = {name for one in command.params for name in one.opts} | {"--help"}
        assert not hasattr(command, "commands") or all(word.isupper() or word == "--help" for word in words), line
        assert {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"} <= options, line


@pytest.mark.parametrize(
    "line",
    ["ftcore scor sentiment a.csv", "ftcore score sentiment", "ftcore score s a.csv --fast", "ftcore models lst x"],
)
def test_a_wrong_command_line_is_noticed(line: str) -> None:
    with pytest.raises(Exception, match=r"(?i)missing parameter|no such (option|command)"):
        check_line(line)


@every_page
def test_every_make_target_is_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    named = {
        name
        for block, _ in blocks(text, "", "console", "bash", "sh")
        for name in re.findall(r"^\$? ?make (\w+)", block, re.MULTILINE)
    }
    assert named | set(re.findall(r"(?<!`)`make (\w+)", text)) <= targets


# -- recipes


def recipes() -> Iterator[tuple[str, str]]:
    """Every recipe that a page shows, snippets as a part of the recipe that the page names; with where it stands."""
    for page in PAGES:
        for number, (text, mark) in enumerate(blocks(page.read_text(encoding="utf-8"), "yaml"), 1):
            block = text
            shown, where = yaml.safe_load(text), f"{page.relative_to(ROOT)}, YAML block {number}"
            if mark and mark["other"]:
                continue
            assert isinstance(shown, dict), f"{where} is no recipe: mark it <!-- not a recipe -->"
            if "name" not in shown:
                host = ROOT / "dags" / "recipes" / f"{mark['recipe'] if mark else 'sentiment'}.yaml"
                block = yaml.safe_dump(yaml.safe_load(host.read_text(encoding="utf-8")) | shown)
            yield where, block


def test_every_recipe_passes_its_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = [
        block
        for block, _ in blocks((ROOT / "docs/howto/lora-on-a-gpu.md").read_text("utf-8"), "yaml")
        if block.startswith("- ")
    ]
    (tmp_path / "workers.yaml").write_text(workers[0], encoding="utf-8")
    monkeypatch.setenv("FTCORE_WORKERS", str(tmp_path / "workers.yaml"))
    monkeypatch.setenv("FTCORE_HOME", str(tmp_path))
    monkeypatch.setenv("FTCORE_PSEUDONYM_KEY", "0123456789abcdef")
    files = {}
    for number, (where, text) in enumerate(recipes()):
        files[where] = tmp_path / f"{number:03}" / f"{yaml.safe_load(text)['name']}.yaml"
        files[where].parent.mkdir()
        files[where].write_text(text, encoding="utf-8")
    done = CliRunner().invoke(app, ["check", *map(str, files.values())])
    faults = done.output.split("✘ ")[1:]
    places = {path.parent.name: where for where, path in files.items()}
    shown = "\n".join([*faults, *(f"{name}: {where}" for name, where in places.items())])
    assert not faults, shown
    assert done.exit_code == 0, shown
    assert len(files) > 10


# -- links


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as mkdocs and GitHub make them."""
    headings = re.findall(
        r"^#+ (.+?)(?: \{#([\w-]+)\})?$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE
    )
    return {own or re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", text.lower()).strip()) for text, own in headings}


@every_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in filter(None, (one for found in LINK.findall(text) for one in found)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        generated = "<!-- generated:" in (target.read_text(encoding="utf-8") if target.suffix == ".md" else "")
        assert not anchor or generated or anchor in slugs(target), link  # of generated pages the build checks them


# -- the reference


def test_every_field_of_a_recipe_has_its_row(reference: Any) -> None:
    pages = reference.on_page_markdown("<!-- generated: recipe -->") + "".join(
        reference.on_page_markdown(f"<!-- generated: family {path} -->") for path in reference._schema.families()
    )
    schema = reference._schema.printed("schema")
    rows = {
        row
        for section in [schema, *schema["$defs"].values()]
        if "properties" in section
        for row in reference._schema.table(section).splitlines()
    }
    assert len(rows) > 200
    assert not [row for row in rows if row not in pages]


def test_every_setting_that_the_code_reads_is_explained(reference: Any) -> None:
    page = reference.on_page_markdown((ROOT / "docs/reference/settings.md").read_text(encoding="utf-8"))
    code = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("ftcore", "plugins", "dags")
        for path in (ROOT / folder).rglob("*.py")
    )
    assert {name.rstrip("_") for name in re.findall(r"FTCORE_[A-Z][A-Z_]*", code)} <= {
        name.rstrip("_") for name in re.findall(r"FTCORE_[A-Z][A-Z_]*", page)
    } | {"FTCORE_CONNECTION_NAME"}


def test_every_file_that_evidence_may_hold_is_described() -> None:
    page = (ROOT / "docs/reference/store-and-evidence.md").read_text(encoding="utf-8")
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "ftcore").rglob("*.py")]
    gathering = [ast.parse(text) for text in sources if '"card.md"' in text and '"verdict.json"' in text]
    texts = {node.value for tree in gathering for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    files = {text for text in texts if isinstance(text, str) and re.fullmatch(r"[\w/-]+\.(json|md|html|lock)", text)}
    assert len(files) > 10, "another module gathers the evidence now"
    assert not {file for file in files if f"`{file}`" not in page} - {"record.json"}


def test_a_marker_that_names_nothing_ends_the_build(reference: Any) -> None:
    with pytest.raises(KeyError):
        reference.on_page_markdown("<!-- generated: nothing -->")
    with pytest.raises(KeyError):
        reference.on_page_markdown("<!-- generated: family nothing -->")


# -- the site


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    env = {**os.environ, "http_proxy": nowhere, "https_proxy": nowhere, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 30
    assert not [str(page) for page in pages if LOADED.search(page.read_text(encoding="utf-8"))]
