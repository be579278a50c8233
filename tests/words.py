"""Refuse words that are not the field's in texts that people read: `make check` runs it, by `python -m tests.words`.

Texts are the strings of messages, help and fields of a recipe, templates, README and docs; not names and docstrings.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REFUSED = re.compile(
    r"\b(said|told|asked|dear|mend(s|ed|ing|able)?|worse answers?|learnt|besides?|kept in mind|odd|foreign|what came|"
    r"nobody|it takes)\b",
    re.IGNORECASE,
)
CODE = re.compile(r"`[^`]*`|\{[{%].*?[%}]\}|<code>.*?</code>")
"""Names of columns, keys and commands stand as they are."""
BLOCK = re.compile(r"(?ms)^```.*?^```")
"""Code in a page."""
FOLDERS = ("ftcore", "plugins", "dags", "docs", "README.md", "CONTRIBUTING.md", "SECURITY.md")
SENTENCES_OF_OTHERS = {"Somebody makes music.", "The door was red, and nobody knew why."}
"""Rows that examples show."""


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Each line of a file's texts, with its number."""
    if path.suffix == ".py":
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from _strings(tree, of_recipes=bool({"recipe", "tasks"} & set(path.parts)))
    elif path.suffix in {".md", ".jinja", ".html", ".yaml"}:
        text = BLOCK.sub(lambda block: "\n" * block[0].count("\n"), path.read_text(encoding="utf-8"))
        yield from enumerate(text.split("\n"), 1)


def _strings(tree: ast.Module, *, of_recipes: bool) -> Iterator[tuple[int, str]]:
    """Strings that are no docstrings; what stands under a field of a kind or a section is its help."""
    helps = set[ast.Constant]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.ClassDef) and not (of_recipes or _is_kind(node))
        ):
            helps |= {one.value for one in node.body if _is_text(one)}  # type: ignore[attr-defined]
        if isinstance(node, ast.FunctionDef) and any("command" in ast.dump(one) for one in node.decorator_list):
            helps -= {one.value for one in node.body[:1] if _is_text(one)}  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in helps and " " in node.value:
            yield from enumerate(node.value.split("\n"), node.lineno)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_kind(node: ast.ClassDef) -> bool:
    return any(isinstance(one, ast.AnnAssign) and ast.unparse(one.target) == "kind" for one in node.body)


def _files() -> list[str]:
    """Files of the project: those that git knows, or in a copy without it all that lie there."""
    known = subprocess.run(["git", "ls-files", *FOLDERS], capture_output=True, text=True, check=False)
    if known.returncode == 0:
        return known.stdout.split()
    there = [path for name in FOLDERS for path in (Path(name).rglob("*") if Path(name).is_dir() else [Path(name)])]
    return [path.as_posix() for path in sorted(there) if "__pycache__" not in path.parts]


def main() -> int:
    """Print each refused word with its file and line; returns how many there are."""
    count = 0
    for name in _files():
        for line, text in texts(Path(name)) if Path(name).is_file() else ():
            if text not in SENTENCES_OF_OTHERS and (found := REFUSED.search(CODE.sub("", text))):
                print(f"{name}:{line}: {found[0]!r} in: {text.strip()[:100]}")
                count += 1
    return count


if __name__ == "__main__":
    sys.exit(bool(main()))
