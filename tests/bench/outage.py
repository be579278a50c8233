"""How many runs fail or are doubled when each local service goes away in each step of a real ring under a real Airflow.

For each service one ring is turned, data and finetune and monitor, and in each step, while its process runs, the
service is away for ``FTCORE_BENCH_OUTAGE_S`` seconds: MLflow and the DAG processor are stopped (SIGSTOP: they accept
and say nothing), the scheduler and the API server are killed and started again by ``ftcore up``, Airflow's database is
locked, all is killed at once, all is restarted by ``ftcore down`` and ``ftcore up``, the S3 that holds the store is
stopped, or the step's supervisor is stopped for longer than its token is good for. A service that died for want of
another is started again. ``FTCORE_BENCH_OUTAGES`` names some of them, and
``FTCORE_BENCH_OUTAGE_STEPS`` some of the steps, comma-separated.

The model is a BERT of one layer that nobody trained: what is measured is what becomes of the runs, not the models.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from ftcore import settings
from ftcore.errors import FtcoreError
from ftcore.local import processes, services
from ftcore.local.airflow_api import FINAL
from ftcore.store import store
from ftcore.store.store import write_json
from ftcore.tracking.client import RUN_TAG, Tracking
from tests import _seaweed
from tests.bench._measure import Result, machine
from tests.bench._tiny import write_product

OUTAGE_S = float(os.environ.get("FTCORE_BENCH_OUTAGE_S", "60"))
ALL = "shard,ingest,prepare,validate,plan,tune,train,export,evaluate,gate,approve,promote,watch,decide"
STEPS = os.environ.get("FTCORE_BENCH_OUTAGE_STEPS", ALL).split(",")
DAGS = ("data__tiny", "finetune__tiny", "monitor__tiny")
Away: TypeAlias = "Callable[[settings.Settings], None]"
LONGEST_S = 900.0 + len(STEPS) * (OUTAGE_S + 60)


@dataclass
class Ring:
    """What became of one ring."""

    service: str
    outages: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    tries: int = 0
    """Tries beyond the first of each task."""
    seconds: float = 0.0


def run() -> Result:
    """Turn a ring for each service; ours is what failed or was doubled, the baseline the number of outages."""
    wanted = os.environ.get("FTCORE_BENCH_OUTAGES", ",".join(AWAY)).split(",")
    rings = []
    for service in wanted:
        with tempfile.TemporaryDirectory(prefix="ftcore-outage-") as folder:
            rings.append(_turn(service, Path(folder)))
        ring = rings[-1]
        print(f"  {service}: {len(ring.outages)} outages in {ring.seconds:.0f} s, {ring.tries} more tries, failed "
              f"{ring.failed or 'none'}, doubled {ring.doubled or 'none'}", file=sys.stderr)  # fmt: skip
        write_json(settings.load().home.resolve() / "bench" / f"outage-{service}.json", vars(ring))
    outages = sum(len(ring.outages) for ring in rings)
    tries = sum(ring.tries for ring in rings)
    bad = sum(len(ring.failed) + len(ring.doubled) for ring in rings)
    note = (
        f"the number of outages, of {OUTAGE_S:g} s each, of {', '.join(wanted)}; they cost {tries} more tries of "
        f"Airflow's; {sum(ring.seconds for ring in rings):.0f} s in all"
    )
    unit = "runs failed or doubled, less is better"
    return Result("outage", unit, bad, outages, bad / max(outages, 1), outages, 0, machine(), note)


def _turn(service: str, folder: Path) -> Ring:
    before, clock, ring = dict(os.environ), time.monotonic(), Ring(service)
    os.environ |= {"FTCORE_HOME": str(folder / "home"), "FTCORE_RECIPES": str(folder / "recipes")}
    for name in ("FTCORE_TRACKING_URI", "FTCORE_ARTIFACTS", "FTCORE_STORE"):
        os.environ.pop(name, None)
    if service == "supervisor":
        os.environ["AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME"] = str(max(5, int(OUTAGE_S / 2)))
    stack, away = ExitStack(), AWAY[service]
    try:
        if service == STORE:
            away = _without(stack.enter_context(_seaweed.serving(folder / "s3")))
        conf = settings.load()
        write_product(folder)
        state = services.up(conf)
        with state.api(conf) as api:
            api.wait_for_dags(list(DAGS))
            api.trigger("data__tiny", run_id="outage")
        over = threading.Event()
        breaker = threading.Thread(target=_break, args=(conf, away, ring, over))
        breaker.start()
        try:
            runs = _followed(conf)
        finally:
            over.set()
            breaker.join()
        _look(conf, ring, runs)
    finally:
        services.down(settings.load())
        stack.close()
        if ring.failed or ring.doubled:  # why, its logs tell
            shutil.copytree(folder / "home", Path(tempfile.mkdtemp(prefix=f"outage-{service}-")), dirs_exist_ok=True)
        os.environ.clear()
        os.environ |= before
    ring.seconds = time.monotonic() - clock
    return ring


def _break(conf: settings.Settings, away: Away, ring: Ring, over: threading.Event) -> None:
    """Let the service be away once in each step that is seen to run."""
    while not over.wait(0.1):
        state = services.state(conf)
        for step in {_step(pid) for pid in processes.steps(state.mark)} & set(STEPS) - set(ring.outages):
            ring.outages.append(step)
            _let_it_come_back(conf, away)
            break


def _let_it_come_back(conf: settings.Settings, away: Away) -> None:
    try:
        away(conf)
    except (httpx.HTTPError, FtcoreError) as error:  # on a machine that is busy enough, up may have to be told again
        print(f"  up failed: {error}", file=sys.stderr)
        with suppress(httpx.HTTPError, FtcoreError):
            services.up(conf)


def _step(pid: int) -> str:
    with suppress(OSError, ValueError, IndexError):
        words = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
        return words[words.index("step") + 1]
    return ""


def _followed(conf: settings.Settings) -> dict[str, dict[str, Any]]:
    """The last run of each DAG, once all have ended; Airflow may be away in between."""
    deadline = time.monotonic() + LONGEST_S
    found: dict[str, dict[str, Any]] = {}
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError, FtcoreError), services.state(conf).api(conf) as api:
            found = {run["dag_id"]: run for dag in DAGS for run in api.dag_runs(dag)}
            ended = all(found.get(dag, {}).get("state") in FINAL for dag in DAGS)
            if ended or any(run["state"] == "failed" for run in found.values()):
                break
        time.sleep(1)
    return found


def _look(conf: settings.Settings, ring: Ring, runs: dict[str, dict[str, Any]]) -> None:
    with services.up(conf).api(conf) as api:
        for dag in DAGS:
            state = runs.get(dag, {}).get("state")
            ring.failed += [] if state == "success" else [f"{dag}: {state}"]
            for one in api.dag_runs(dag):
                tasks = api.task_instances(dag, one["dag_run_id"])
                ring.tries += sum(max(0, task["try_number"] - 1) for task in tasks)
                ring.failed += [f"{dag}.{task['task_id']}" for task in tasks if task["state"] == "failed"]
            ring.doubled += [dag] if len(api.dag_runs(dag)) > 1 else []
    url = services.state(conf).mlflow_url
    tracking = Tracking(conf.model_copy(update={"tracking_uri": url}), "tiny")
    versions = Counter(version.tags.get(RUN_TAG) for version in tracking.versions())
    experiment = tracking.client.get_experiment_by_name("tiny")
    logged = tracking.client.search_runs([experiment.experiment_id]) if experiment else []
    begun = Counter(one.data.tags.get(RUN_TAG) for one in logged)
    lines = Counter((line["kind"], line["run_id"]) for line in store.shelf(conf, "tiny").ledger())
    ring.doubled += [
        f"{name}: {count}" for found in (versions, begun, lines) for name, count in found.items() if count > 1
    ]
    ring.failed += [f"MLflow run {one.info.status}" for one in logged if one.info.status != "FINISHED"]
    if not versions:
        ring.failed.append("no version was registered")


def _stopped(name: str) -> Away:
    """The service and all it started are stopped, and go on."""

    def away(conf: settings.Settings) -> None:
        tree = processes.tree(services.state(conf).pids[name])
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in tree:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(OUTAGE_S if number == signal.SIGSTOP else 0)

    return away


def _killed(name: str) -> Away:
    """The service is killed, and started again later."""

    def away(conf: settings.Settings) -> None:
        os.kill(services.state(conf).pids[name], signal.SIGKILL)
        time.sleep(OUTAGE_S)
        services.up(conf)

    return away


def _lost(conf: settings.Settings) -> None:
    """The machine loses power: all of it is killed at once, steps included."""
    for pid in processes.everyone(services.state(conf).mark, ()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    time.sleep(OUTAGE_S)
    services.up(conf)


def _restarted(conf: settings.Settings) -> None:
    """Somebody stops all of it in the middle of the step, and starts it again."""
    services.down(conf)
    time.sleep(OUTAGE_S)
    services.up(conf)


def _without(store: _seaweed.Store) -> Away:
    """The store on S3, which the ring is told of, is stopped, and goes on."""
    os.environ |= {**store.environment, "FTCORE_STORE": f"s3://{_seaweed.BUCKET}/store"}

    def away(conf: settings.Settings) -> None:
        del conf
        store.tell(signal.SIGSTOP)
        time.sleep(OUTAGE_S)
        store.tell(signal.SIGCONT)

    return away


def _starved(conf: settings.Settings) -> None:
    """Airflow's supervisor of the step gets no processor time for longer than its token is good for."""
    import psutil

    with suppress(psutil.Error, ValueError):
        step = psutil.Process(min(processes.steps(services.state(conf).mark)))
        supervisor = step.parents()[1]
        supervisor.suspend()
        time.sleep(OUTAGE_S)
        supervisor.resume()


def _locked(conf: settings.Settings) -> None:
    """Somebody else holds Airflow's database."""
    with closing(sqlite3.connect(conf.home / "airflow" / "airflow.db", timeout=60, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        time.sleep(OUTAGE_S)
        database.execute("ROLLBACK")
    services.up(conf)  # a service that could not do without has ended


STORE = "store"
AWAY: dict[str, Away] = {
    "mlflow": _stopped("mlflow"),
    "scheduler": _killed("airflow-scheduler"),
    "api": _killed("airflow-api-server"),
    "processor": _stopped("airflow-dag-processor"),
    "database": _locked,
    "machine": _lost,
    "restart": _restarted,
    STORE: lambda conf: None,  # made with the store, see ``_without``
    "supervisor": _starved,
}
