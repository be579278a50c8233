"""What every benchmark uses: a side runs in a fresh process of its own, so neither warms or bloats the other."""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any


class Skipped(Exception):  # noqa: N818 # it is no error
    """What the benchmark needs is not here; the message says what."""


@dataclass(frozen=True)
class Result:
    """One benchmark's outcome, as written to ``FTCORE_HOME/bench/NAME.json``."""

    name: str
    unit: str
    ours: float
    baseline: float
    ratio: float
    """Ours over baseline; whether more is better, ``unit`` tells."""
    rows: int
    peak_bytes: int
    """Largest resident memory of our side."""
    machine: str
    note: str = ""
    """What the baseline is, and what else was measured."""


def machine() -> str:
    """Processor kind and cores."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def side(function: Callable[..., Any], *arguments: object) -> tuple[Any, int]:
    """Call ``function`` in a fresh process; returns its value and the process's peak resident memory in bytes."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_call, function, arguments).result()


def by_turns(
    ours: Callable[..., Any], baseline: Callable[..., Any], speed: Callable[[Any], float], rounds: int = 3
) -> tuple[Any, Any, float, int]:
    """Both sides, again and again by turns, so that what else the machine does meets both.

    Returns:
        Of each side the round of median ``speed``; the median of the rounds' ratios; our largest peak in bytes.
    """
    found = [(side(ours), side(baseline)) for _ in range(rounds)]
    middle = [sorted((pair[n][0] for pair in found), key=speed)[rounds // 2] for n in (0, 1)]
    ratios = sorted(speed(mine[0]) / speed(theirs[0]) for mine, theirs in found)
    return middle[0], middle[1], ratios[rounds // 2], max(mine[1] for mine, _ in found)


def _call(function: Callable[..., Any], arguments: tuple[object, ...]) -> tuple[Any, int]:
    warnings.simplefilter("ignore")
    value = function(*arguments)
    return value, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
