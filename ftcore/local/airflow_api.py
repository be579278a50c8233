"""A small client of Airflow's REST API, for the demo, for tests and for ``ftcore``'s own commands."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import httpx
from tenacity import RetryCallState, retry, retry_if_exception, retry_if_result, wait_exponential

from ftcore.errors import AwayError, FtcoreError

Json = dict[str, Any]
FINAL = frozenset({"success", "failed"})
_CONFLICT = 409
_SETTLED_S = 3.0
PATIENCE_S, LOST_S = 30.0, 150.0
"""How long a request is tried again: one that was refused, and one whose answer did not come in time, which by itself
takes as long as the former."""
AGAIN = "ftcore.again"
"""Mark of a POST that may be sent twice: one that logs in, or that makes what may be there already."""


class AirflowApiError(FtcoreError):
    """Airflow refused a request; the message holds its answer."""


class AirflowAwayError(AwayError):
    """Airflow does not answer, or not in time."""


class RunNotFinishedError(FtcoreError):
    """A run did not end in the time given."""


def is_airflow_healthy(url: str) -> bool:
    """Whether the API answers and both scheduler and DAG processor report that they live."""
    try:
        health: Json = httpx.get(f"{url}/api/v2/monitor/health", timeout=5).json()
    except (httpx.HTTPError, ValueError):
        return False
    parts = ("metadatabase", "scheduler", "dag_processor")
    return all(health.get(part, {}).get("status") == "healthy" for part in parts)


def is_mlflow_healthy(url: str) -> bool:
    """Whether the MLflow server answers."""
    try:
        return httpx.get(f"{url}/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


def _may_pass(answer: httpx.Response) -> bool:
    """Whether a server failed at a request that may be made twice; one that says 503 has done nothing of it."""
    unavailable = answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    twice = answer.request.method != "POST" or AGAIN in answer.request.extensions
    return unavailable or (answer.is_server_error and twice)


def _was_lost(error: BaseException) -> bool:
    """Whether a request never arrived, or may be made twice and its answer was lost or is late."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return True
    return isinstance(error, httpx.TransportError) and (
        error.request.method == "GET" or AGAIN in error.request.extensions
    )


def _is_over(state: RetryCallState) -> bool:
    """Whether a request was tried for long enough."""
    error = state.outcome.exception() if state.outcome else None
    refused = error is None or isinstance(error, httpx.ConnectError)
    return (state.seconds_since_start or 0.0) >= (PATIENCE_S if refused else LOST_S)


def _last(state: RetryCallState) -> httpx.Response:
    """What the last try gave: its answer, or its error."""
    assert state.outcome is not None
    return cast("httpx.Response", state.outcome.result())


class AirflowApi:
    """One logged-in user of one Airflow. Connection errors are tried again for half a minute.

    Each request raises ``AirflowAwayError`` where Airflow does not answer, ``AirflowApiError`` where it refuses.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        """Nothing is sent before the first request."""
        self._login = {"username": user, "password": password}
        self._client = httpx.Client(base_url=url, timeout=30)
        self._token = ""

    def __enter__(self) -> AirflowApi:
        """Use it in a ``with`` block, which closes its connections."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._client.close()

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> str:
        """Start a run with the form's values in ``conf``; returns Airflow's run id."""
        body = {"logical_date": None, "conf": dict(conf or {}), **({"dag_run_id": run_id} if run_id else {})}
        return str(self._call("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def dags(self) -> list[Json]:
        """All DAGs."""
        return self._all("/dags", "dags")

    def unpause(self, dag_id: str) -> None:
        """Let a DAG run."""
        self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def pause(self, dag_id: str) -> None:
        """Keep a DAG from starting runs."""
        self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": True})

    def backfill(self, dag_id: str, since: datetime, until: datetime) -> int:
        """Ask for a run of every tick of a DAG's schedule from ``since`` to ``until``; returns the backfill's id."""
        body = {"dag_id": dag_id, "from_date": since.isoformat(), "to_date": until.isoformat()}
        return int(self._call("POST", "/backfills", json=body)["id"])

    def import_errors(self) -> list[Json]:
        """DAG files that do not load: ``filename`` and ``stack_trace``."""
        return self._all("/importErrors", "import_errors")

    def dag_runs(self, dag_id: str = "~", state: str | None = None) -> list[Json]:
        """Runs of a DAG, or of all, oldest first."""
        only = {"state": state} if state else {}
        return self._all(f"/dags/{dag_id}/dagRuns", "dag_runs", order_by="run_after", **only)

    def dag_run(self, dag_id: str, run_id: str) -> Json:
        """One run; ``state`` tells how it stands."""
        return self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")

    def task_instances(self, dag_id: str, run_id: str) -> list[Json]:
        """Tasks of a run in order of their start: ``state``, ``start_date``, ``end_date``, ``duration`` in seconds."""
        found = self._all(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", "task_instances")
        return sorted(found, key=lambda task: task["start_date"] or "~")

    def record(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Json | None:
        """The small record that a step handed back; None where there is none. Of a mapped task, that of one index."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        try:
            value = self._call("GET", path, params={"deserialize": False, "map_index": map_index})["value"]
        except AirflowApiError:
            return None
        return value if isinstance(value, dict) else None

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, *, attempt: int = 1, lines: int = 40, map_index: int = -1
    ) -> str:
        """The end of a task's log."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        entries = self._call("GET", path, params={"full_content": True, "map_index": map_index})["content"]
        texts = [entry if isinstance(entry, str) else str(entry.get("event", "")) for entry in entries]
        return "\n".join("\n".join(texts).splitlines()[-lines:])

    def asset_events(self, asset: str | None = None) -> list[Json]:
        """Events of the asset with this name, or of all, oldest first; ``extra`` holds what the event carries."""
        events = self._all("/assets/events", "asset_events", order_by="timestamp")
        return [event for event in events if asset is None or event["name"] == asset]

    def make_pool(self, name: str, slots: int) -> None:
        """Make a pool unless it is there."""
        self._call("POST", "/pools", json={"name": name, "slots": slots}, accept=(_CONFLICT,), extensions={AGAIN: True})

    def questions(self, dag_id: str = "~", run_id: str = "~") -> list[Json]:
        """Tasks that wait for a person: ``subject``, ``body``, ``options``, ``assigned_users``, ``task_instance``."""
        asked = self._all(f"/dags/{dag_id}/dagRuns/{run_id}/hitlDetails", "hitl_details", response_received=False)
        return [question for question in asked if question["task_instance"]["state"] == "awaiting_input"]

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str, reason: str | None = None) -> Json:
        """Answer a waiting task, for instance with ``Approve`` or ``Reject``; ``reason`` where its form has one."""
        task = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        path = f"{task}/-1/hitlDetails"
        # Airflow 3.3 fails a task that goes on before its executor has reported that it paused, some 0.5 s later.
        asked_at = datetime.fromisoformat(self._call("GET", path)["created_at"])
        begun_at = self._call("GET", task).get("queued_when")
        if begun_at and datetime.fromisoformat(begun_at) > asked_at:
            asked_at = datetime.now(UTC)  # asked again: when it paused this time, nobody tells
        time.sleep(max(0.0, _SETTLED_S - (datetime.now(UTC) - asked_at).total_seconds()))
        form = {} if reason is None else {"reason": reason}
        return self._call("PATCH", path, json={"chosen_options": [option], "params_input": form})

    def clear(self, dag_id: str, run_id: str, task_ids: Sequence[str]) -> None:
        """Forget how tasks of a run ended, so that they run again."""
        body = {"dag_run_id": run_id, "task_ids": list(task_ids), "dry_run": False, "only_failed": False}
        self._call("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def wait_for_dags(self, dag_ids: Sequence[str], deadline_s: float = 60) -> None:
        """Wait until the DAG processor has read these DAGs.

        Raises:
            RunNotFinishedError: some are missing; the message holds the import errors.
        """
        deadline = time.monotonic() + deadline_s
        while missing := set(dag_ids) - {dag["dag_id"] for dag in self.dags()}:
            if time.monotonic() > deadline:
                errors = "\n".join(f"{error['filename']}: {error['stack_trace']}" for error in self.import_errors())
                raise RunNotFinishedError(f"no such DAG: {', '.join(sorted(missing))}\n{errors}")
            time.sleep(0.5)

    def wait(
        self,
        dag_id: str,
        run_id: str,
        deadline_s: float,
        progress: Callable[[Json], None] = lambda _: None,
        every_s: float = 0.5,
    ) -> Json:
        """Wait for the end of a run; ``progress`` is called with a task each time its state changes. Returns the run.

        Raises:
            RunNotFinishedError: the time is up.
        """
        deadline = time.monotonic() + deadline_s
        seen: dict[tuple[str, int], str | None] = {}
        while True:
            run = self.dag_run(dag_id, run_id)
            for task in self.task_instances(dag_id, run_id):
                one = (task["task_id"], task["map_index"])
                if task["state"] != seen.get(one):
                    seen[one] = task["state"]
                    progress(task)
            if run["state"] in FINAL:
                return run
            if time.monotonic() > deadline:
                raise RunNotFinishedError(f"{dag_id} {run_id} is still {run['state']} after {deadline_s:.0f} s: {seen}")
            time.sleep(every_s)

    def wait_for_next(self, dag_id: str, known: Sequence[str] = (), deadline_s: float = 60) -> str:
        """Wait for a run that is not among ``known``, such as the one an asset event starts; returns its run id.

        Raises:
            RunNotFinishedError: none came.
        """
        deadline = time.monotonic() + deadline_s
        while True:
            fresh = [run["dag_run_id"] for run in self.dag_runs(dag_id) if run["dag_run_id"] not in known]
            if fresh:
                return str(fresh[0])
            if time.monotonic() > deadline:
                raise RunNotFinishedError(f"no new run of {dag_id} within {deadline_s:.0f} s")
            time.sleep(0.5)

    def _all(self, path: str, key: str, **query: Any) -> list[Json]:
        """Every page of a list; Airflow gives at most 100 at a time."""
        found: list[Json] = []
        while True:
            page = self._call("GET", path, params={"limit": 100, "offset": len(found), **query})
            found += page[key]
            if not page[key] or len(found) >= page.get("total_entries", 0):
                return found

    def _call(self, method: str, path: str, accept: Sequence[int] = (), **request: Any) -> Json:
        answer = self._send(method, f"/api/v2{path}", **request)
        if answer.status_code == httpx.codes.UNAUTHORIZED:  # no token yet, or an old one
            self._token = self._log_in()
            answer = self._send(method, f"/api/v2{path}", **request)
        if answer.is_error and answer.status_code not in accept:
            raise AirflowApiError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        result: Json = answer.json() if answer.content else {}
        return result

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            return self._tried(method, path, **request)
        except httpx.HTTPError as error:
            what = f"Airflow at {self._client.base_url} does not answer {method} {path}: {type(error).__name__} {error}"
            raise AirflowAwayError(what.rstrip(), hint="run it again; logs/ in FTCORE_HOME tells more") from error

    def _log_in(self) -> str:
        answer = self._send("POST", "/auth/token", json=self._login, extensions={AGAIN: True})
        if answer.is_error:
            raise AirflowApiError(f"login as {self._login['username']}: {answer.status_code} {answer.text[:200]}")
        return str(answer.json()["access_token"])

    @retry(
        # A POST whose answer was lost must not be sent twice; one that never connected may. A server whose database is
        # locked for a moment says 500, and one on a busy machine is late.
        retry=retry_if_exception(_was_lost) | retry_if_result(_may_pass),
        wait=wait_exponential(0.2, max=3),
        stop=_is_over,
        retry_error_callback=_last,
    )
    def _tried(self, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return self._client.request(method, path, headers=headers, **request)
