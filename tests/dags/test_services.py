"""Local services: every process is found again and ended, and what is secret stays private."""

from __future__ import annotations

import configparser
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from ftcore.local import airflow_config, processes, services
from ftcore.settings import Settings

DEAF_WITH_A_CHILD_OF_ITS_OWN_SESSION = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["sleep", "60"], start_new_session=True)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def test_end_reaches_the_deaf_and_those_who_left_the_group(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "service.log"
    environment = {**os.environ, processes.MARK: "of-this-test"}
    pid = processes.start([sys.executable, "-c", DEAF_WITH_A_CHILD_OF_ITS_OWN_SESSION], log, environment)
    assert processes.wait(lambda: "ready" in processes.tail(log), 10)
    assert processes.is_alive(pid, "of-this-test")
    assert not processes.is_alive(pid, "of another"), "a process id that was given to somebody else is not ours"
    assert len(processes.everyone("of-this-test", [pid])) == 2
    assert processes.end("of-this-test", [pid], grace_s=0.3) == 2
    assert not processes.everyone("of-this-test", [pid])
    assert processes.end("of-this-test", [pid], grace_s=0.3) == 0


def test_configuration_is_private_and_its_secrets_survive(settings: Settings) -> None:
    home = airflow_config.write(settings, 1234)
    first = _read(home)
    password = airflow_config.password(settings)
    airflow_config.write(settings, 4321)
    assert _read(home)["api_auth"]["jwt_secret"] == first["api_auth"]["jwt_secret"]
    assert _read(home)["api"]["port"] == "4321"
    assert airflow_config.password(settings) == password
    for name in ("airflow.cfg", airflow_config.PASSWORDS):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600


def test_a_given_password_is_taken(settings: Settings) -> None:
    airflow_config.write(settings, 1)
    given = settings.model_copy(update={"airflow_password": SecretStr("chosen")})
    airflow_config.write(given, 1)
    assert airflow_config.password(given) == "chosen"


def test_nothing_runs_and_down_says_so(settings: Settings) -> None:
    assert services.running(settings) is None
    assert services.down(settings) == 0


def test_a_service_that_ends_is_reported_with_its_log_and_takes_the_rest_along(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = {"mlflow": ["sleep", "60"], "airflow-scheduler": [sys.executable, "-c", "print('no disk'); exit(1)"]}
    monkeypatch.setattr(services, "commands", lambda *_: dict(commands))
    monkeypatch.setattr(services, "_migrate", lambda *_: None)
    marks: list[str] = []
    launch = services._launch
    monkeypatch.setattr(
        services, "_launch", lambda s, state, *rest: (marks.append(state.mark), launch(s, state, *rest))
    )
    with pytest.raises(services.ServiceError, match="airflow-scheduler ended:\nno disk"):
        services.up(settings, deadline_s=20)
    assert not processes.everyone(marks[0], [])
    assert services.running(settings) is None


def test_import_is_light() -> None:
    code = "import time; t = time.perf_counter(); import ftcore.local.services, sys; print(time.perf_counter() - t);"
    code += "print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    seconds, modules = output.splitlines()
    assert float(seconds) < 0.2
    assert {"httpx", "airflow", "pydantic", "mlflow"}.isdisjoint(modules.split())


def _read(home: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(home / "airflow.cfg", encoding="utf-8")
    return parser
