"""What of a forgotten subject stands in pages and reports: found value by value, and taken out.

A page or report keeps no columns, so that its values are compared with what the subject's rows say: a text, or its
beginning where it was cut, a group, a row's id.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ftcore.data.snapshot import text_key

ERASED = "[erased on request]"
BEGINNING = 60
"""Characters of a text that tell it: pages cut longer ones, at 80 at the earliest."""
SHORTEST = 12
"""A shorter text is only told where it is the whole value."""
SHORTEST_NAME = 4
COLUMNS = ("text", "context", "label", "rejected", "like_text", "value")
"""Keys of JSON below which a value of a row stands."""
SCRIPT = re.compile(r"(<script\b[^>]*>)(.*?)(</script>)", re.DOTALL | re.IGNORECASE)
TEXT = re.compile(r">([^<>]+)<")
ATTRIBUTE = re.compile(r'="([^"<>]*)"')
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass
class Traces:
    """What a subject's rows say."""

    names: set[str] = field(default_factory=set)
    """Ids of its rows and its groups: values, and keys of JSON, that are the subject's."""
    short: set[str] = field(default_factory=set)
    """Texts of a few characters, folded, which are only told where values of rows are listed."""
    beginnings: set[str] = field(default_factory=set)
    """Beginnings of texts, as ``text_key`` folds them."""
    lines: set[str] = field(default_factory=set)
    """Lines of texts of several, folded: behind the beginning of one they are its own."""
    _compiled: tuple[int, re.Pattern[str]] | None = None

    def add(self, rows: Iterable[Mapping[str, Any]], texts: Iterable[str]) -> None:
        """Learn what rows say: their ids, groups, and the columns that hold texts."""
        names = tuple(texts)
        for row in rows:
            self.name(str(row[name]) for name in ("row_id", "group") if row.get(name))
            for name in names:
                folded = text_key(text := row.get(name) or "")
                if "\n" in text:
                    self.lines |= {text_key(line) for line in text.splitlines()}
                if len(folded) >= SHORTEST:
                    self.beginnings.add(folded[:BEGINNING])
                elif folded:
                    self.short.add(folded)

    def name(self, names: Iterable[str]) -> None:
        """Learn what the subject is called; a name of a few characters would be found everywhere."""
        self.names |= {name for name in names if len(name) >= SHORTEST_NAME}

    def tells(self, value: str, *, listed: bool = True) -> bool:
        """Whether a value is one of the subject's.

        Args:
            value: from a page or a report.
            listed: it is a value of a row, not one that says how the report is built.
        """
        if value in self.names:
            return True
        folded = text_key(value)
        if listed and folded in self.short:
            return True
        return bool(self.beginnings) and self._pattern().search(folded) is not None

    def out_of_json(self, value: Any, *, listed: bool = False) -> tuple[Any, int]:
        """A JSON value without the subject's, and how many there were; a key that is one goes with its value."""
        if isinstance(value, str):
            return (ERASED, 1) if self.tells(value, listed=listed) else (value, 0)
        if isinstance(value, list):
            made = [self.out_of_json(inner, listed=True) for inner in value]
            return [inner for inner, _ in made], sum(count for _, count in made)
        if isinstance(value, dict):
            kept = {
                key: self.out_of_json(inner, listed=key in COLUMNS)
                for key, inner in value.items()
                if not self.tells(str(key), listed=False)
            }
            taken = sum(count for _, count in kept.values()) + len(value) - len(kept)
            return {key: inner for key, (inner, _) in kept.items()}, taken
        return value, 0

    def out_of_page(self, page: str) -> tuple[str, int]:
        """A page of HTML without the subject's values, in its text, its attributes and its scripts' strings."""
        taken = 0

        def cut(found: re.Match[str], around: tuple[str, str]) -> str:
            nonlocal taken
            if not self.tells(html.unescape(found[1])):
                return found[0]
            taken += 1
            return f"{around[0]}{ERASED}{around[1]}"

        def string(found: re.Match[str]) -> str:
            nonlocal taken
            try:
                value = json.loads(found[0])
            except ValueError:
                return found[0]
            if not self.tells(html.unescape(value)):
                return found[0]
            taken += 1
            return f'"{ERASED}"'

        def markup(text: str) -> str:
            text = TEXT.sub(lambda found: cut(found, (">", "<")), text)
            return ATTRIBUTE.sub(lambda found: cut(found, ('="', '"')), text)

        made, last = [], 0
        for script in SCRIPT.finditer(page):
            made += [markup(page[last : script.start()]), script[1], STRING.sub(string, script[2]), script[3]]
            last = script.end()
        made.append(markup(page[last:]))
        return "".join(made), taken

    def _pattern(self) -> re.Pattern[str]:
        if self._compiled is None or self._compiled[0] != len(self.beginnings):
            pattern = re.compile("|".join(map(re.escape, sorted(self.beginnings))))
            self._compiled = (len(self.beginnings), pattern)
        return self._compiled[1]
