"""Processes that begin their work at once: forked from a server that has imported what they need, and done nothing.

A test that starts thirty processes would else spend its time on importing torch thirty times, and one that kills them
would mostly hit imports.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

WARM = ["tests.warm"]
"""Imported once by the server that all processes are forked from."""
LONGEST_S = 240.0


def start(function: Callable[..., Any], *arguments: Any, out: Path, **env: str) -> BaseProcess:
    """Start a session that calls a module's function; what it prints goes to ``out`` and ``out.err``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(WARM)
    process = context.Process(target=_called, args=(function, arguments, out, {**os.environ, **env}))
    process.start()
    return process


def _called(function: Callable[..., Any], arguments: tuple[Any, ...], out: Path, env: Mapping[str, str]) -> None:
    os.setsid()
    os.environ.clear()
    os.environ |= env
    for number, path in ((1, out), (2, out.with_name(f"{out.name}.err"))):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    function(*arguments)
    sys.stdout.flush()


def ftcore(*words: str) -> None:
    """The command line."""
    from ftcore.cli import main

    sys.argv = ["ftcore", *words]
    main()


def together(function: Callable[..., Any], arguments: Mapping[str, Any], out: Path, count: int) -> tuple[int, str]:
    """Call a function in processes that find each other as torchrun's do; the worst exit code, and what was printed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    known = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    files = [out / f"rank-{rank}" for rank in range(count)]
    processes = [
        start(_keyed, function, dict(arguments), out=files[rank], **(known if count > 1 else {}), **_rank(rank, count))
        for rank in range(count)
    ]
    for process in processes:
        process.join(LONGEST_S)
        process.kill()
        process.join()
    told = "".join(file.with_name(f"{file.name}.err").read_text(errors="replace") for file in files)
    return max(abs(process.exitcode or 0) for process in processes), told


def _rank(rank: int, count: int) -> dict[str, str]:
    return {"RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else {}


def _keyed(function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    function(**arguments)
