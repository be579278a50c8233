"""How the whole suite is run: which test is of which kind, the longest files first, one Airflow for all rings.

``tests/durations.json`` holds the seconds of each test function that took half a second or more; ``--keep-durations``
writes it anew from the run.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

DURATIONS = Path(__file__).with_name("durations.json")
SLOW_S = 0.5
"""From when on a function is slow, and kept in the file; its parameters count together."""
UNIT = ("tests/unit", "tests/contract")
RING = "tests/ring"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--keep-durations``."""
    parser.addoption("--keep-durations", action="store_true", help=f"write {DURATIONS.name} from this run")


def pytest_configure(config: pytest.Config) -> None:
    """Measure where it is asked for; with several processes the first one does."""
    if config.getoption("--keep-durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Durations())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder and its duration, and put the files that take longest first."""
    known = _known()
    load: dict[str, float] = defaultdict(float)
    for item in items:
        function, file = _function(item.nodeid), _file(item.nodeid)
        item.add_marker(_kind(file, slow=function in known or item.get_closest_marker("slow") is not None))
        load[_scope(item.nodeid)] += 0.05
    for function, seconds in known.items():
        load[_scope(function)] += seconds
    items.sort(key=lambda item: (_file(item.nodeid).rpartition("/")[0] != RING, -load[_scope(item.nodeid)]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file runs in one process, and all rings in one, since they share an Airflow."""
    from xdist.scheduler import LoadFileScheduling

    if config.getvalue("dist") != "loadfile":
        return None
    return type("ByScope", (LoadFileScheduling,), {"_split_scope": lambda _, nodeid: _scope(nodeid)})(config, log)


class Durations:
    """Writes how long each function's tests took."""

    def __init__(self) -> None:
        """Nothing ran yet."""
        self.found: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add a test's set-up, call or tear-down."""
        self.found[_function(report.nodeid)] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Keep what ran; what did not run stays as it was."""
        kept = {name: seconds for name, seconds in _known().items() if name not in self.found and _is_there(name)}
        found = {name: round(seconds, 1) for name, seconds in self.found.items() if seconds >= SLOW_S}
        text = json.dumps(dict(sorted((kept | found).items())), indent=0)
        DURATIONS.write_text(text + "\n", encoding="utf-8")


def _kind(file: str, *, slow: bool) -> str:
    if file.startswith(RING):
        return "ring"
    return "slow" if slow or not file.startswith(UNIT) else "unit"


def _known() -> dict[str, float]:
    found: dict[str, float] = json.loads(DURATIONS.read_text(encoding="utf-8"))
    return found


def _scope(nodeid: str) -> str:
    """What runs in one process."""
    return RING if nodeid.startswith(RING) else _file(nodeid)


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _function(nodeid: str) -> str:
    return nodeid.partition("[")[0]


def _is_there(name: str) -> bool:
    return (DURATIONS.parents[1] / _file(name)).exists()
