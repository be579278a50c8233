"""Start and stop Airflow and MLflow on this machine.

Airflow runs as three processes: API server, scheduler with LocalExecutor, DAG processor. There is no triggerer: since
Airflow 3.3 a task that waits for a person needs none, and no DAG here defers. All ports are loopback ones.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ftcore.errors import FtcoreError, MissingExtraError
from ftcore.local import airflow_config, ports, processes
from ftcore.local import running as state_file
from ftcore.local.programs import (
    API,
    MLFLOW,
    PROCESSOR,
    SCHEDULER,
    commands,
    elsewhere,
    environment,
    server_environment,
    waiting,
)
from ftcore.local.running import Running

if TYPE_CHECKING:
    from ftcore.settings import Settings

POOLS = {"FTCORE_GPU_POOL": ("gpu", 1)}
"""Pools made at the start: the variable that may name it otherwise, its name, its slots."""
Progress = Callable[[str], None]


class ServiceError(FtcoreError):
    """A service did not come up; the message holds the end of its log."""


class EndedError(ServiceError):
    """A service ended while others were waited for."""

    def __init__(self, name: str, log: Path) -> None:
        """Tell its name, and the end of its log."""
        super().__init__(f"{name} ended:\n{processes.tail(log)}", hint=f"the whole log: {log}")
        self.name = name


def up(settings: Settings, *, deadline_s: float = 180, progress: Progress = lambda _: None) -> Running:
    """Start what is not running and wait until all of it is healthy; twice in a row gives the same.

    A service that died alone is started again and the others go on. Steps that it left behind are asked to write a
    checkpoint first, so that nothing runs twice.

    Raises:
        ServiceError: a service ended or was not healthy in time; what was started is stopped again.
        AirflowAwayError: Airflow is up, and did not answer in time when its pools were to be made; it stays up.
        PortTakenError: another program listens where a service has to.
        MissingExtraError: Airflow or what MLflow's login needs is not installed.
    """
    deadline = time.monotonic() + deadline_s
    with _lock(settings):
        while True:
            living = (state_file.load(settings) or Running("", "", "")).living()
            try:
                return _up(settings, deadline, progress)
            except EndedError as error:
                if error.name not in living:
                    raise
                progress(f"{error.name} ended meanwhile and is started, too")


def down(settings: Settings, grace_s: float = 10, progress: Progress = lambda _: None) -> int:
    """Stop everything that ``up`` started, from whichever process; returns the number of processes there were.

    Running steps are given ``FTCORE_STOP_GRACE_S`` to write a checkpoint; Airflow tries them again after the next
    ``up``.
    """
    with _lock(settings):
        if (state := state_file.load(settings)) is None:
            return 0
        pids, living = list(state.pids.values()), state.living()
        there = len(processes.everyone(state.mark, pids))
        if scheduler := living.pop(SCHEDULER, 0):
            processes.ask(scheduler)  # it starts nothing any more, and waits for what runs
        _drain(settings, lambda: processes.steps(state.mark), lambda: SCHEDULER not in state.living(), progress)
        processes.kill_all(lambda: processes.strays(state.mark, living.values()))
        processes.end(state.mark, pids, grace_s)
        state_file.forget(settings)
        return there


def state(settings: Settings) -> Running:
    """What was started last, whether all of it lives or not.

    Raises:
        ServiceError: nothing was, or it was stopped again.
    """
    found = state_file.load(settings)
    if found is None:
        raise ServiceError("nothing was started", hint="ftcore up")
    return found


def running(settings: Settings) -> Running | None:
    """What runs now; None unless every service is alive."""
    state = state_file.load(settings)
    return state if state is not None and set(commands(settings, state)) <= set(state.living()) else None


def log_file(settings: Settings, name: str) -> Path:
    """Log of a service."""
    return settings.home.resolve() / "logs" / f"{name}.log"


def _up(settings: Settings, deadline: float, progress: Progress) -> Running:
    state = state_file.load(settings) or Running(secrets.token_hex(8), "", "")
    living = state.living()
    missing = [name for name in commands(settings, state) if name not in living]
    if not missing:
        if not _pooled(settings).exists():
            _make_pools(settings, state)
        return state
    for package in ("apache-airflow-core", "flask-wtf"):
        _require(package)
    _clear(settings, state, living, progress)
    state = _placed(settings, state, living, progress)
    try:
        _start(settings, state, missing, deadline, progress)
    except BaseException:
        processes.end_all(lambda: processes.strays(state.mark, living.values()), grace_s=5)
        _keep(settings, state, living)
        raise
    _make_pools(settings, state)
    return state


def _clear(settings: Settings, state: Running, living: Mapping[str, int], progress: Progress) -> None:
    """End what services that died have left behind: it holds their ports, and steps that nobody waits for."""

    def left() -> set[int]:
        return processes.strays(state.mark, living.values())

    def over() -> bool:
        return API not in living or not processes.inner(left())  # without its API nobody can tell Airflow anything

    _drain(settings, lambda: processes.steps(state.mark) & left(), over, progress)
    processes.kill_all(left)


def _drain(settings: Settings, busy: Callable[[], set[int]], over: Callable[[], bool], progress: Progress) -> None:
    """Give running steps the time to write a checkpoint, and their tasks the time to tell Airflow.

    Only steps are asked. Airflow's own processes for a task are not: one that gets SIGTERM reports its task as failed
    for good, and one that is killed without a word is tried again.
    """
    if busy():
        progress(f"asking running steps to write a checkpoint; waiting up to {settings.stop_grace_s:g} s")
    if not processes.drain(busy, over, settings.stop_grace_s) and busy():
        progress("some did not end in time: they are ended now, and go on from their last checkpoint")


def _placed(settings: Settings, state: Running, living: Mapping[str, int], progress: Progress) -> Running:
    """The state with the addresses that the services are to have: new ones only where nobody knows the old ones."""
    if not living:
        urls = ports.urls(settings, progress)
        return Running(state.mark, urls["airflow"], elsewhere(settings) or urls["mlflow"])
    for name, url in ((API, state.airflow_url), (MLFLOW, state.mlflow_url)):
        if name not in living and url != elsewhere(settings):
            ports.check(int(_port(url)), f"{name} had it, and what still runs knows it by that: ftcore down, then up")
    return Running(state.mark, state.airflow_url, state.mlflow_url, dict(living))


def _start(settings: Settings, state: Running, missing: Collection[str], deadline: float, progress: Progress) -> None:
    airflow_config.write(settings, int(_port(state.airflow_url)))
    (settings.home.resolve() / "mlflow").mkdir(parents=True, exist_ok=True)
    state_file.save(settings, state)
    env = environment(settings, state)
    wanted = {name: command for name, command in commands(settings, state).items() if name in missing}
    progress(f"starting {', '.join(wanted)}")
    if MLFLOW in wanted:
        _launch(settings, state, {MLFLOW: wanted.pop(MLFLOW)}, {**env, **server_environment(settings, state)})
    _migrate(settings, env, deadline, progress)
    _launch(settings, state, wanted, env)
    _await_health(settings, state, deadline, progress)


def _make_pools(settings: Settings, state: Running) -> None:
    """Make Airflow's pools; where that fails the next ``up`` makes them, and what is healthy stays up.

    Raises:
        FtcoreError: Airflow does not answer in time, or refuses.
    """
    _pooled(settings).unlink(missing_ok=True)
    with state.api(settings) as api:
        for variable, (name, slots) in POOLS.items():
            try:
                api.make_pool(os.environ.get(variable, name), slots)
            except FtcoreError as error:
                error.hint = "all services are up, and Airflow's pools are missing: ftcore up makes them"
                raise
    _pooled(settings).touch()


def _pooled(settings: Settings) -> Path:
    """A file that is there once Airflow has its pools."""
    return airflow_config.airflow_home(settings) / ".pools"


def _launch(settings: Settings, state: Running, wanted: dict[str, list[str]], env: dict[str, str]) -> None:
    for name, command in wanted.items():
        own = waiting(settings) if name in (SCHEDULER, PROCESSOR) else {}
        state.pids[name] = processes.start(command, log_file(settings, name), {**env, **own})
        state_file.save(settings, state)


def _keep(settings: Settings, state: Running, living: Mapping[str, int]) -> None:
    """Write down that only those run that ran before."""
    if living:
        state_file.save(settings, Running(state.mark, state.airflow_url, state.mlflow_url, dict(living)))
    else:
        state_file.forget(settings)


def _migrate(settings: Settings, env: dict[str, str], deadline: float, progress: Progress) -> None:
    """Make or upgrade Airflow's database, once for each version of Airflow."""
    home = airflow_config.airflow_home(settings)
    done, version = home / ".migrated", metadata.version("apache-airflow-core")
    if done.exists() and done.read_text(encoding="utf-8") == version and (home / "airflow.db").exists():
        return
    progress("making Airflow's database, once")
    log = log_file(settings, "airflow-migrate")
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    with log.open("ab") as out:
        try:
            subprocess.run(command, env=env, stdout=out, stderr=out, timeout=deadline - time.monotonic(), check=True)
        except subprocess.SubprocessError as error:
            raise ServiceError(f"{error}:\n{processes.tail(log)}", hint=f"the whole log: {log}") from error
    done.write_text(version, encoding="utf-8")


def _await_health(settings: Settings, state: Running, deadline: float, progress: Progress) -> None:
    from ftcore.local.airflow_api import is_airflow_healthy, is_mlflow_healthy

    missing = {"Airflow": (is_airflow_healthy, state.airflow_url), "MLflow": (is_mlflow_healthy, state.mlflow_url)}
    missing = missing if MLFLOW in state.pids else {"Airflow": missing["Airflow"]}
    while missing:
        for name, pid in state.pids.items():
            if not processes.is_alive(pid, state.mark):
                raise EndedError(name, log_file(settings, name))
        for service in [service for service, (is_healthy, url) in missing.items() if is_healthy(url)]:
            del missing[service]
            progress(f"{service} is up")
        if missing and time.monotonic() > deadline:
            ends = "\n".join(f"--- {name}\n{processes.tail(log_file(settings, name), 10)}" for name in state.pids)
            raise ServiceError(f"{', '.join(missing)} did not come up in time:\n{ends}")
        time.sleep(0.3)


@contextmanager
def _lock(settings: Settings) -> Iterator[None]:
    from filelock import FileLock

    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.home.chmod(0o700)  # it holds passwords, and people's texts
    with FileLock(settings.home.resolve() / "services.lock"):
        yield


def _require(package: str) -> None:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise MissingExtraError(f"{package} is not installed", hint="uv pip install 'ftcore[airflow]'") from error


def _port(url: str) -> str:
    return url.rpartition(":")[2]
