"""The one operator: it runs a step as a process of its own, and knows nothing of what steps do."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from ftcore.local.processes import STEP
from ftcore.progress import MARK
from ftcore.store.store import run_name
from ftcore_airflow.assets import event_extra, was_emitted
from ftcore_airflow.retry import StepFailed, failure
from ftcore_airflow.settings import AirflowSettings
from ftcore_airflow.starters import asked

if TYPE_CHECKING:
    from airflow.sdk import Context

GRACE_S = 4.0
"""How long a step may take to end when asked to; Airflow's supervisor ends the operator itself after 5 s."""
ERROR_LINES = 20
"""Most lines of an error: ten failures, the report's path, the hint."""
FIGURES_BYTES = 8192
"""Larger figures stay in the store: XCom is a row of Airflow's database."""


class StepProcess:
    """Runs steps for an operator, each as a process that ends with it."""

    _process: subprocess.Popen[str] | None = None
    _state: Any = None

    if TYPE_CHECKING:
        dag_id: str
        task_id: str
        log: Any

    def run_step(self, context: Context, step: str, recipe_file: str, ask: Mapping[str, str]) -> dict[str, Any]:
        """Run ``ftcore step STEP`` for the DAG run's name in the store; returns its record.

        Raises:
            StepFailed: a second try would fail as well.
            StepInterrupted: a second try may succeed.
        """
        run_id = run_name(self.dag_id.partition("__")[0], context["dag_run"].run_id)
        self._state = context.get("task_state_store")
        asked = [f"--param={key}={value}" for key, value in ask.items() if value]
        return self._record([*AirflowSettings().command, "step", step, recipe_file, "--run", run_id, *asked, "--json"])

    def on_kill(self) -> None:
        """End the step and everything it started: ask first, insist after ``GRACE_S``."""
        process = self._process
        if process is None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        # Popen.wait cannot be used: this runs in a signal handler on top of the very wait that holds its lock.
        while time.monotonic() < deadline and not _has_ended(process.pid):
            time.sleep(0.05)
        _signal_group(process.pid, signal.SIGKILL)

    def _record(self, command: list[str]) -> dict[str, Any]:
        self.log.info("$ %s", " ".join(command))
        last_words = ErrorTail()
        with tempfile.TemporaryFile("w+", encoding="utf-8") as stdout:
            returncode = self._run(command, stdout, last_words)
            stdout.seek(0)
            output = stdout.read()
        if returncode != 0:
            raise failure(self.task_id, returncode, last_words.said, self._kills() if returncode < 0 else 0)
        try:
            record: dict[str, Any] = json.loads(output[output.index("{") :])
        except ValueError as error:
            raise StepFailed(f"{self.task_id} ended well but printed no record: {output[-200:]!r}") from error
        self.log.info("%s: %s\n%s", self.task_id, record["reason"], json.dumps(record, indent=2, ensure_ascii=False))
        return record

    def _kills(self) -> int:
        """How many tries of this task a signal ended, this one included; Airflow keeps the number."""
        kills = 1
        if self._state is not None:
            with suppress(Exception):
                kills += int(self._state.get("kills") or 0)
                self._state.set("kills", kills)
        return kills

    def _run(self, command: list[str], stdout: IO[str], last_words: ErrorTail) -> int:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=step_environment(),
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - no threads yet
        )
        reader = threading.Thread(target=self._stream, args=(self._process.stderr, last_words), daemon=True)
        reader.start()
        try:
            return self._process.wait()
        finally:
            # What the step left running would hold its end of the pipe open, and memory with it.
            _signal_group(self._process.pid, signal.SIGKILL)
            reader.join(timeout=GRACE_S)
            if not reader.is_alive() and self._process.stderr:
                self._process.stderr.close()
            self._process = None

    def _stream(self, lines: IO[str], last_words: ErrorTail) -> None:
        for line in lines:
            text = line.rstrip()
            if text.startswith(MARK):
                self._show(json.loads(text.removeprefix(MARK)))
            elif text:
                last_words.add(text)
                self.log.info("%s", text)

    def _show(self, progress: dict[str, Any]) -> None:
        """Log how far the step is, and keep it where Airflow shows it while the task runs."""
        self.log.info("%(what)s %(done)s/%(total)s, %(left_s)s s left  %(note)s", {"note": "", **progress})
        if self._state is not None:
            with suppress(Exception):  # a figure that nobody sees must not end a training
                self._state.set("progress", progress)


class ErrorTail:
    """Why a step ended: its own error with failures, report and hint, else the last lines that it printed."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        """Take one line of the step's log."""
        if line.startswith("error: "):
            self._lines = []
        is_error = bool(self._lines) and self._lines[0].startswith("error: ")
        self._lines = [*self._lines, line][:ERROR_LINES] if is_error else [*self._lines, line][-3:]

    @property
    def said(self) -> str:
        """What is left of it."""
        return "\n".join(self._lines).removeprefix("error: ")


class StepOperator(StepProcess, BaseOperator):
    """Runs ``ftcore step NAME RECIPE --run RUN_ID`` and hands back the small record.

    A record that says not to proceed makes the task skipped, which emits no asset event and stops the steps after it.

    Args:
        task_id: the step's name, unless ``step`` says another.
        recipe_file: path of the recipe.
        ask: what to ask of the step beyond its recipe, ``--param KEY=VALUE``; empty values are left out.
        shard: the part of the step that this task does, where several share it; what mapped tasks are expanded over.
        step: the step's name.
        hands_on: figure that is handed back in place of the record: a list that tasks after this one are mapped over.
        tells_starters: whether the step is told who started the run, for the ledger.
    """

    template_fields: Sequence[str] = ("ask", "recipe_file", "shard")
    template_fields_renderers: ClassVar[dict[str, str]] = {"ask": "json"}
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        recipe_file: str,
        ask: Mapping[str, str] | None = None,
        shard: str = "",
        step: str = "",
        mapped_output: str = "",
        tells_starters: bool = False,
        **kwargs: Any,
    ) -> None:
        """Keep what the process is started with."""
        super().__init__(**kwargs)
        self.recipe_file = recipe_file
        self.ask = dict(ask or {})
        self.shard = shard
        self.step = step or self.task_id
        self.mapped_output = mapped_output
        self.tells_starters = tells_starters

    def execute(self, context: Context) -> dict[str, Any] | list[str]:
        """Run the step; returns its small record, or the figure that it hands on.

        Raises:
            AirflowSkipException: the record says not to proceed.
            StepFailed: a second try would fail as well.
            StepInterrupted: a second try may succeed.
        """
        told = {"asked": asked(context)} if self.tells_starters else {}
        whole = self.run_step(context, self.step, self.recipe_file, {**self.ask, **told, "shard": self.shard})
        if self.mapped_output:
            return list(whole["figures"][self.mapped_output])
        record = small(whole)
        if not record["proceed"]:
            # A skipped task returns nothing, so its record is pushed by hand under the name a return value has.
            context["ti"].xcom_push(key="return_value", value=record)
            raise AirflowSkipException(record["reason"])
        for asset in list(self.outlets):
            try:
                extra = event_extra(asset, record)
            except KeyError as error:
                raise StepFailed(f"{self.task_id} left no figure {error} for {asset.name}") from error
            if was_emitted(context, self.task_id, asset, extra):
                self.log.info("an earlier try has emitted the event of %s already", asset.name)
                self.outlets = [one for one in self.outlets if one != asset]
            else:
                context["outlet_events"][asset].extra = extra
        return record


def step_environment() -> dict[str, str]:
    """The environment without Airflow's settings: steps need none, and its secrets are among them."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW__", "_AIRFLOW"))}
    return {**kept, "PYTHONUNBUFFERED": "1", "FTCORE_PROGRESS": "json", STEP: "1"}


def small(record: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a record that others need at once; the whole is in the store and in the log."""
    figures = dict(record.get("figures", {}))
    if len(json.dumps(figures)) > FIGURES_BYTES:
        figures = {key: value for key, value in figures.items() if not isinstance(value, dict | list)}
    kept = {key: record.get(key) for key in ("step", "run_id", "proceed", "reason", "work_s", "import_s")}
    return {**kept, "figures": figures}


def _has_ended(pid: int) -> bool:
    """Whether a child has ended, without taking its exit status from whoever waits for it."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    """Runs in the child: the kernel ends it when the operator dies without a chance to, as when memory runs out."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
