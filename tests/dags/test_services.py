"""Local services: every process is found again and ended, and what is secret stays private."""

from __future__ import annotations

import configparser
import json
import os
import runpy
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from ftcore.errors import FtcoreError
from ftcore.local import airflow_config, ports, processes, programs, services
from ftcore.local.airflow_api import AirflowAwayError
from ftcore.settings import Settings
from ftcore.tracking import mlflow_login
from ftcore_airflow.retry import RETRIES

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


def test_a_process_is_alive_from_its_first_moment(tmp_path: Path) -> None:
    environment = {**os.environ, processes.MARK: "of-this-test", "LONG": "x" * 50_000}
    for _ in range(20):
        pid = processes.start(["sleep", "60"], tmp_path / "log", environment)
        assert processes.is_alive(pid, "of-this-test")
        processes.end("of-this-test", [pid], grace_s=5)
    assert not processes.is_alive(pid, "of-this-test")


def test_configuration_is_private_and_its_secrets_survive(settings: Settings) -> None:
    home = airflow_config.write(settings, 1234)
    first = _read(home)
    password = airflow_config.password(settings)
    airflow_config.write(settings, 4321)
    assert _read(home)["api_auth"]["jwt_secret"] == first["api_auth"]["jwt_secret"]
    assert _read(home)["api"]["port"] == "4321"
    outlives = float(_read(home)["execution_api"]["jwt_expiration_time"])
    assert outlives > settings.patience_s * (RETRIES["retries"] + 1), "a token that lapsed cannot be renewed"
    assert airflow_config.password(settings) == password
    for name in ("airflow.cfg", airflow_config.PASSWORDS):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600


def test_a_given_password_is_taken(settings: Settings) -> None:
    airflow_config.write(settings, 1)
    given = settings.model_copy(update={"airflow_password": SecretStr("chosen")})
    airflow_config.write(given, 1)
    assert airflow_config.password(given) == "chosen"


ODD = ["home", "h ö%20#?x", "100 %", "a&b=c;d"]
"""Names of folders that something reads as more than a name."""


@pytest.mark.parametrize("name", ODD)
def test_the_login_of_mlflow_is_private_and_survives(tmp_path: Path, name: str) -> None:
    config = runpy.run_path(str(Path(mlflow.__file__).parent / "server" / "auth" / "config.py"))
    settings = Settings(home=tmp_path / name)
    first = mlflow_login.kept(settings.home, "http://127.0.0.1:1")
    assert stat.S_IMODE(mlflow_login.file(settings.home).stat().st_mode) == 0o600
    second = mlflow_login.kept(settings.home, "http://127.0.0.1:2")
    assert (second.password, second.secret_key) == (first.password, first.secret_key)
    assert mlflow_login.read(settings.home) == second
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(mlflow_login.file(settings.home)))
        read = config["read_auth_config"]()
    assert (read.admin_username, read.admin_password) == (second.username, second.password)
    users = make_url(read.database_uri).database
    assert users is not None
    assert Path(users) == settings.home / "mlflow" / "users.db"
    (settings.home / "mlflow" / "users.db").touch()
    mlflow_login.file(settings.home).write_text("no ini")
    assert mlflow_login.kept(settings.home, "http://127.0.0.1:2").password != first.password
    assert not (settings.home / "mlflow" / "users.db").exists(), "MLflow would go on with the password that is lost"


def test_only_the_local_server_is_shown_the_login(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(variable, "theirs")
    ours = mlflow_login.write(settings.home, "http://127.0.0.1:5")
    mlflow_login.use(settings.home, "http://mlflow.example.org")
    mlflow_login.use(settings.home, "sqlite:///x")
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "theirs"
    mlflow_login.use(settings.home, "http://127.0.0.1:5/")
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == ours.password
    elsewhere = settings.model_copy(update={"tracking_uri": "http://mlflow.example.org"})
    state = services.Running("m", "http://127.0.0.1:4", "http://mlflow.example.org")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "theirs")
    assert programs.environment(elsewhere, state)["MLFLOW_TRACKING_PASSWORD"] == "theirs"
    assert "mlflow" not in programs.commands(elsewhere, state)
    named = settings.model_copy(update={"tracking_uri": "http://127.0.0.1:5/"})  # as people export it for the CLI
    assert "mlflow" in programs.commands(named, services.Running("m", "http://127.0.0.1:4", "http://127.0.0.1:5"))


@pytest.mark.parametrize("name", ODD)
def test_airflow_finds_its_database_whatever_the_home_is_called(tmp_path: Path, name: str) -> None:
    home = airflow_config.write(Settings(home=tmp_path / name), 1)
    value = configparser.ConfigParser()  # as Airflow reads it
    value.read(home / "airflow.cfg", encoding="utf-8")
    assert make_url(value["database"]["sql_alchemy_conn"]).database == str(home / "airflow.db")


def test_ports_are_kept_and_a_taken_one_is_told(settings: Settings) -> None:
    settings.home.mkdir()
    said: list[str] = []
    first = ports.urls(settings, said.append)
    assert ports.urls(settings, said.append) == first
    assert not said
    airflow = int(first["airflow"].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", airflow)):
        moved = ports.urls(settings, said.append)
        assert moved["airflow"] != first["airflow"]
        assert moved["mlflow"] == first["mlflow"]
        assert said == [
            f"port {airflow} is taken by another program: airflow moves to "
            f"{moved['airflow'].rpartition(':')[2]}, and old links to it no longer work"
        ]
        fixed = settings.model_copy(update={"airflow_port": airflow})
        with pytest.raises(ports.PortTakenError, match=f"port {airflow} is taken.*FTCORE_AIRFLOW_PORT"):
            ports.urls(fixed, said.append)
    assert ports.urls(fixed, said.append)["airflow"] == first["airflow"]
    both = settings.model_copy(update={"airflow_port": airflow, "mlflow_port": airflow})
    with pytest.raises(ports.PortTakenError, match="both to listen"):
        ports.urls(both, said.append)
    takes_over = settings.model_copy(update={"mlflow_port": airflow})
    found = ports.urls(takes_over, said.append)
    assert found["mlflow"].endswith(f":{airflow}")
    assert found["airflow"] != found["mlflow"], "airflow moves"
    assert f"port {airflow} is taken by the other service: airflow moves" in said[-1]
    for kept in ('{"airflow": "x", "mlflow": 99999999}', '{"airflow": true, "mlflow": -1}', "[]", "7", "{"):
        (settings.home / "ports.json").write_text(kept)
        chosen = ports.urls(settings, said.append).values()
        assert len(set(chosen)) == 2
        assert "http://127.0.0.1:1" not in chosen
        assert "http://127.0.0.1:True" not in chosen


STARTED = {"mark": "m", "airflow_url": "http://127.0.0.1:20001", "mlflow_url": "http://127.0.0.1:20002"}


@pytest.mark.parametrize(
    "kept",
    [
        *(b"", b"{", b"[]", b"7", b"\xff", b'{"mark": "m"}'),
        *(
            json.dumps(STARTED | wrong).encode()
            for wrong in (
                *({"pids": [1]}, {"pids": None}, {"pids": {"mlflow": "1"}}, {"pids": {"mlflow": True}}),
                *({"mlflow_url": 6}, {"mark": None}, {"port": 1}),
            )
        ),
    ],
)
def test_what_was_started_and_cannot_be_read_is_an_error_and_no_second_start(settings: Settings, kept: bytes) -> None:
    settings.home.mkdir()
    file = settings.home / "services.json"
    assert services.running(settings) is None
    file.write_bytes(kept)
    for ask in (services.up, services.down):
        with pytest.raises(FtcoreError, match=r"services\.json does not list") as error:
            ask(settings)
        assert "delete the file" in error.value.hint
    assert file.read_bytes() == kept


STEP = """
import os, signal, sys, time
def stop(*_):
    time.sleep(0.5)
    open(sys.argv[1], "w").write("checkpoint")
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(60)
"""
TASK = """
import os, signal, subprocess, sys
def fail(*_):  # as Airflow's own processes of a task do
    open(sys.argv[1] + ".failed", "w").write("for good")
signal.signal(signal.SIGTERM, fail)
step = subprocess.Popen([sys.executable, "-c", STEP, sys.argv[1]], env={**os.environ, "FTCORE_STEP": "1"})
step.wait()
open(sys.argv[1] + ".told", "a").write(f"{step.returncode} ")
""".replace("STEP,", f"{STEP!r},")
SERVICE = """
import signal, subprocess, sys, time
task = subprocess.Popen([sys.executable, "-c", TASK, sys.argv[1]]) if len(sys.argv) > 1 else None
def stop(*_):
    if task:
        task.wait()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
time.sleep(60)
""".replace("TASK,", f"{TASK!r},")


def test_up_starts_what_is_missing_alone_and_down_waits_for_a_checkpoint(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    saved = tmp_path / "checkpoint"
    commands = {
        name: [sys.executable, "-c", SERVICE] for name in ("airflow-api-server", "airflow-dag-processor", "mlflow")
    }
    commands["airflow-scheduler"] = [sys.executable, "-c", SERVICE, str(saved)]
    monkeypatch.setattr(services, "commands", lambda *_: dict(commands))
    for name in ("_migrate", "_await_health", "_make_pools"):
        monkeypatch.setattr(services, name, lambda *_: None)
    said: list[str] = []
    first = services.up(settings, progress=said.append)

    def ready() -> bool:
        return any("ready" in processes.tail(services.log_file(settings, name)) for name in first.pids)

    try:
        assert services.up(settings) == first, "twice in a row gives the same"
        assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
        assert processes.wait(lambda: len(processes.steps(first.mark)) == 1 and ready(), 20)
        os.kill(first.pids["airflow-scheduler"], signal.SIGKILL)
        assert processes.wait(lambda: services.running(settings) is None, 5)
        second = services.up(settings, progress=said.append)
        assert saved.read_text() == "checkpoint", "what the dead scheduler left behind was asked to save first"
        changed = {name for name in first.pids if second.pids[name] != first.pids[name]}
        assert changed == {"airflow-scheduler"}
        assert (second.airflow_url, second.mlflow_url, second.mark) == (first.airflow_url, first.mlflow_url, first.mark)
        told = saved.with_name("checkpoint.told")
        assert told.read_text() == "75 ", "and its task told Airflow so"
        saved.unlink()
        assert processes.wait(lambda: len(processes.steps(first.mark)) == 1, 20)
        assert processes.wait(
            lambda: processes.tail(services.log_file(settings, "airflow-scheduler")).count("ready") == 2, 20
        )
    finally:
        assert services.down(settings, progress=said.append) == 6
    assert saved.read_text() == "checkpoint"
    assert told.read_text() == "75 75 "
    assert not saved.with_name("checkpoint.failed").exists(), "a task that is asked to end is failed for good"
    assert sum("waiting up to 60 s" in line for line in said) == 2
    assert not processes.everyone(first.mark, [])


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


def test_a_service_that_dies_while_another_is_started_is_started_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = {name: ["sleep", "60"] for name in ("mlflow", "airflow-scheduler", "airflow-dag-processor")}
    monkeypatch.setattr(services, "commands", lambda *_: dict(commands))
    for name in ("_migrate", "_make_pools"):
        monkeypatch.setattr(services, name, lambda *_: None)
    dying: list[int] = []

    def wait_for_health(_: Settings, state: services.Running, *__: object) -> None:
        while dying:  # the one that still lived when ``up`` began
            os.kill(dying.pop(), signal.SIGKILL)
            raise services.EndedError("airflow-scheduler", Path("log"))
        assert set(state.living()) == set(commands)

    monkeypatch.setattr(services, "_await_health", wait_for_health)
    said: list[str] = []
    first = services.up(settings)
    try:
        dying.append(first.pids["airflow-scheduler"])
        os.kill(first.pids["airflow-dag-processor"], signal.SIGKILL)
        assert processes.wait(lambda: services.running(settings) is None, 5)
        second = services.up(settings, progress=said.append)
        assert services.running(settings) == second
        assert second.pids["mlflow"] == first.pids["mlflow"]
        assert "airflow-scheduler ended meanwhile and is started, too" in said
    finally:
        services.down(settings)


def test_pools_that_cannot_be_made_take_nothing_down_and_are_made_later(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "commands", lambda *_: {"airflow-scheduler": ["sleep", "60"]})
    for name in ("_migrate", "_await_health"):
        monkeypatch.setattr(services, name, lambda *_: None)
    monkeypatch.setattr("ftcore.local.airflow_api.PATIENCE_S", 0.1)
    try:
        for _ in range(2):
            with pytest.raises(AirflowAwayError) as error:
                services.up(settings)
            assert "ftcore up makes them" in error.value.hint
            assert services.running(settings) is not None
    finally:
        assert services.down(settings) == 1


def test_scheduler_and_processor_wait_for_a_locked_database(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(programs.DATABASE, raising=False)
    settings = settings.model_copy(update={"home": tmp_path / "a ?b%20c"})
    url = make_url(programs.waiting(settings)[programs.DATABASE])
    assert url.database == str(settings.home / "airflow" / "airflow.db")
    assert url.query == {"timeout": "900"}
    monkeypatch.setenv(programs.DATABASE, "postgresql://db/airflow")
    assert programs.waiting(settings) == {}, "a database of somebody's own"


def test_import_is_light() -> None:
    code = "import time; t = time.process_time(); import ftcore.local.services, sys; print(time.process_time() - t);"
    code += "print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    seconds, modules = output.splitlines()
    assert float(seconds) < 0.5
    assert {"httpx", "airflow", "pydantic", "mlflow"}.isdisjoint(modules.split())


def _read(home: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(home / "airflow.cfg", encoding="utf-8")
    return parser
