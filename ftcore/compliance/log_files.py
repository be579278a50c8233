"""Logs of this machine that hold a forgotten subject's text: searched line by line, and cleared where they are ours.

Rows are not supposed to be in logs at all; an error of a library may quote one. A line is overwritten where it stands,
with as many bytes: whoever is writing to the file goes on behind it.
"""

from __future__ import annotations

import configparser
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.compliance.traces import ERASED
from ftcore.data.snapshot import text_key

if TYPE_CHECKING:
    from ftcore.compliance.traces import Traces

TOGETHER = 4
"""Lines over which one text may be spread."""
LONGEST = 1_000_000
"""Bytes of a line that is read at once; the rest counts as the next line."""
PLAIN_NUMBER = 7
"""Digits of a number that is told as a name: a shorter one may count or measure anything."""
DEEPEST = 3
"""Levels of escapes: a message that is JSON in a line that is JSON has two."""
ESCAPE = re.compile(r"""\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(["'\\/ntr]))""")
WORD = re.compile(r"[\w-]+")
PACKED = (".gz", ".bz2", ".xz", ".zip", ".zst")


@dataclass
class LogSearch:
    """What was found in logs."""

    cleared: dict[str, int] = field(default_factory=dict)
    """Lines that were, or would be, overwritten, by file."""
    left: dict[str, int] = field(default_factory=dict)
    """Lines in files that are not ours, or that cannot be written."""
    unread: list[str] = field(default_factory=list)
    """Files that cannot be searched: packed ones, and those that may not be read."""
    elsewhere: str = ""
    """Where Airflow sends its logs to; empty where it keeps them on this machine."""

    def steps(self) -> list[str]:
        """What a person has to do about what was not cleared."""
        found = [
            f"delete {path}, or take the subject's text out of it: {lines:,} line{'s' * (lines > 1)} of it"
            for path, lines in sorted(self.left.items())
        ]
        if self.unread:
            found.append(f"search these logs, which could not be read as text: {', '.join(sorted(self.unread))}")
        if self.elsewhere:
            found.append(f"search the logs that Airflow sends to {self.elsewhere}: they are not reached from here")
        return found


def search(folders: Sequence[tuple[Path, bool]], traces: Traces, *, dry_run: bool) -> LogSearch:
    """Look through log folders, and clear what is found in those that are ours.

    Args:
        folders: each with whether its files are ours to change; one that lies in another is looked through once.
        traces: of the subject.
        dry_run: only look.
    """
    found, seen = LogSearch(), set[Path]()
    for folder, ours in folders:
        for path in _files(folder):
            if (where := path.resolve()) in seen:
                continue
            seen.add(where)
            if path.suffix in PACKED:
                found.unread.append(str(path))
                continue
            try:
                _search_file(path, traces, found, write=ours and not dry_run, ours=ours)
            except OSError:
                found.unread.append(str(path))
    return found


def folders(home: Path, recipe: str, environment: Mapping[str, str]) -> list[tuple[Path, bool]]:
    """Where logs of this machine are, each with whether its files are ours to change.

    Ours are those below ``FTCORE_HOME``, and in any other Airflow's folder those of the recipe's own DAGs.

    Args:
        home: ``FTCORE_HOME``.
        recipe: name of the recipe.
        environment: tells where another Airflow keeps its logs.
    """
    found = [(home / "logs", True), (home / "airflow" / "logs", True)]
    if (other := _configured(environment)) is not None:
        found += [(other / f"dag_id={verb}__{recipe}", True) for verb in ("data", "finetune", "monitor")]
        found.append((other, False))
    return found


def remote(environment: Mapping[str, str]) -> str:
    """Where Airflow sends its logs to, by its setting; empty where it keeps them on this machine."""
    on = _setting(environment, "remote_logging").lower() in ("true", "1", "t", "yes", "on")
    return _setting(environment, "remote_base_log_folder") if on else ""


def _configured(environment: Mapping[str, str]) -> Path | None:
    if given := _setting(environment, "base_log_folder"):
        return Path(os.path.expandvars(given)).expanduser()
    own = environment.get("AIRFLOW_HOME", "")
    return Path(own).expanduser() / "logs" if own else None


def _setting(environment: Mapping[str, str], name: str) -> str:
    """A setting of Airflow's logging, as its environment or its file has it; Airflow itself is not imported."""
    if given := environment.get(f"AIRFLOW__LOGGING__{name.upper()}"):
        return given
    home = environment.get("AIRFLOW_HOME", "")
    file = environment.get("AIRFLOW_CONFIG") or (f"{home}/airflow.cfg" if home else "")
    read = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        read.read(Path(file).expanduser(), encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return ""
    return read.get("logging", name, fallback="").replace("{AIRFLOW_HOME}", home)


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(place) / name
            if path.is_file() and not path.is_symlink():
                yield path


def _search_file(path: Path, traces: Traces, found: LogSearch, *, write: bool, ours: bool) -> None:
    hits = _hits(path, traces)
    if not hits:
        return
    if write:
        try:
            with path.open("r+b") as file:
                for start, line in hits:
                    file.seek(start)
                    file.write(_cleared(line, traces))
                file.flush()
                os.fsync(file.fileno())
        except PermissionError:
            ours = False
    kind = found.cleared if ours else found.left
    kind[str(path)] = len(hits)


def _hits(path: Path, traces: Traces) -> list[tuple[int, bytes]]:
    """Lines that hold the subject's text, each with where it begins; of a text over several lines each of them."""
    hits: dict[int, bytes] = {}
    last: list[tuple[int, bytes]] = []
    start, inside = 0, False
    with path.open("rb") as file:
        while line := file.readline(LONGEST):
            inside = inside and text_key(_text(line)) in traces.lines
            if inside:  # a text's later lines
                hits[start] = line
            last = [*last[1 - TOGETHER :], (start, line)]
            start += len(line)
            if _tells(traces, _text(line)):
                hits[last[-1][0]] = line
                last, inside = [], True
            elif _together(traces, last):
                while _together(traces, last[1:]):
                    last = last[1:]
                hits |= dict(last)
                last, inside = [], True
    return sorted(hits.items())


def _together(traces: Traces, lines: Sequence[tuple[int, bytes]]) -> bool:
    return len(lines) > 1 and bool(traces.lines) and _tells(traces, " ".join(_text(one) for _, one in lines))


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").strip()


def _tells(traces: Traces, text: str) -> bool:
    """Whether a text holds what a row of the subject says or what it is called, whatever it is escaped by."""
    values = [text]
    while len(values) < DEEPEST and "\\" in values[-1]:
        values.append(_unescaped(values[-1]))
    return any(traces.tells(value, listed=False) or _names(traces, value) for value in values)


def _unescaped(text: str) -> str:
    """A text without one level of the escapes of JSON and of Python's ``repr``."""

    def made(found: re.Match[str]) -> str:
        code = found[1] or found[2]
        return chr(int(code, 16)) if code else " " if found[3] in "ntr" else found[3]

    return ESCAPE.sub(made, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _names(traces: Traces, text: str) -> bool:
    """Whether a name stands in a text as a word, or as several."""
    if any(len(word) >= PLAIN_NUMBER or not word.isdigit() for word in traces.names.intersection(WORD.findall(text))):
        return True
    several = (name for name in traces.names if name in text and not WORD.fullmatch(name))
    return any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) for name in several)


def _cleared(line: bytes, traces: Traces) -> bytes:
    """A line of as many bytes without what it says; a line of JSON stays one where there is room."""
    end = line[len(line.rstrip(b"\r\n")) :]
    room = len(line) - len(end)
    made = _cleared_json(line, traces)
    if made is None or len(made) > room:
        made = ERASED.encode()[:room]
    return made.ljust(room) + end


def _cleared_json(line: bytes, traces: Traces) -> bytes | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    made: Any = _erased(value, traces)
    return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode() if isinstance(value, dict) else None


def _erased(value: Any, traces: Traces) -> Any:
    if isinstance(value, str):
        return ERASED if _tells(traces, value) else value
    if isinstance(value, list):
        return [_erased(inner, traces) for inner in value]
    if isinstance(value, dict):
        return {key: _erased(inner, traces) for key, inner in value.items() if not _tells(traces, str(key))}
    return value
