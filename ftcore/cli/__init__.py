"""The command ``ftcore``. Every command imports what it needs itself, so that ``--help`` is there at once."""

from __future__ import annotations

import errno
import gc
import json
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO, cast

import typer

from ftcore.cli import (
    backup,
    evidence,
    ledger,
    lineage,
    local,
    login,
    models,
    privacy,
    profile,
    recipes,
    runs,
    search,
    snapshots,
)
from ftcore.cli._help import group
from ftcore.cli._plain import Plain, PlainFormatter, printable
from ftcore.cli._shared import AsJson, Params, RecipeName, open_kept, open_recipe, params_of, path_of, sentence, show
from ftcore.errors import TransientError

if TYPE_CHECKING:
    from types import FrameType

    from ftcore.store.records import Record

HandedSource = Annotated[str, typer.Option("--source", help="Source whose mapping of columns holds for the file.")]
HandedDelimiter = Annotated[str, typer.Option("--delimiter", help="Character between the cells of a CSV file.")]
HandedEncoding = Annotated[str, typer.Option("--encoding", help="Encoding of a text file, such as cp1252.")]

READ_ONLY = "make the folder writable, or name another one; nothing is half written"
YOUNG = 20_000
"""Objects made before Python looks for garbage: importing torch makes millions that live, and looking costs a tenth."""

app = group(
    "Fine-tune language models on your own data and look after them for the rest of their lives.",
    """Examples:

    ftcore new recipe reviews --data reviews.csv

    ftcore run reviews

    ftcore models show reviews

Each command has examples of its own: ftcore COMMAND --help. A recipe is named by its file in dags/recipes/ or by
a path. Settings are variables of the environment, FTCORE_*: docs/reference/settings.md.""",
)


def main() -> None:
    """Run the command line; an error of ours becomes one message and its exit code."""
    from ftcore.errors import FtcoreError, TransientError

    gc.set_threshold(YOUNG)
    try:
        with redirect_stdout(cast("TextIO", Plain(sys.stdout))):
            app()
    except FtcoreError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            print(
                f"error: {printable(str(error.filename or 'a file'))}: {error.strerror}\n  hint: {READ_ONLY}",
                file=sys.stderr,
            )
            raise SystemExit(FtcoreError.exit_code) from None
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        where = f" for {printable(str(error.filename))}" if error.filename else ""
        full = "a file may not become as large as this" if error.errno == errno.EFBIG else "the disk is full"
        print(
            f"error: {full}{where}\n  hint: make room and run it again; nothing is half written",
            file=sys.stderr,
        )
        raise SystemExit(TransientError.exit_code) from None


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to whatever stderr is at the moment: while a bar is shown, above it."""

    @property
    def stream(self) -> TextIO:
        """Where it writes."""
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        del value


def _version(shown: bool) -> None:
    """Print the installed version and the layout of stores that it writes."""
    if shown:
        from importlib.metadata import version

        from ftcore.store.layout import VERSION

        print(f"ftcore {version('ftcore')}, store layout {VERSION}")
        raise typer.Exit


@app.callback()
def _quiet(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Our own log goes to stderr; other packages' notes only where they warn of something that we did not expect."""
    handler = _Stderr()
    handler.setFormatter(PlainFormatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("ftcore")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.DEBUG if os.environ.get("FTCORE_DEBUG") else logging.INFO)
    if not os.environ.get("FTCORE_DEBUG"):
        warnings.simplefilter("ignore")
        os.environ.setdefault("TQDM_DISABLE", "1")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def run(
    recipe: RecipeName,
    only: Annotated[str, typer.Option(help="Comma-separated: data, finetune, monitor.")] = "data,finetune",
    run_id: Annotated[
        str, typer.Option("--run", help="Name of the run; give an interrupted run's name to go on with it.")
    ] = "",
    param: Params = [],
    as_json: AsJson = False,
) -> None:
    """Run a recipe's data and finetune pipelines locally, without Airflow.

    Examples:

        ftcore run sentiment

        ftcore run my/recipe.yaml --only monitor

        ftcore run sentiment --only data -p since=2026-01-01 -p until=2026-02-01      # what a backfill does

        ftcore run sentiment --run cli-20261121-101500      # goes on where that run stopped
    """
    from ftcore import pipeline
    from ftcore.errors import FtcoreError
    from ftcore.store.records import now

    chains = tuple(part.strip() for part in only.split(",") if part.strip())
    if unknown := set(chains) - set(pipeline.RING):
        raise FtcoreError(
            f"no such part of the ring: {', '.join(sorted(unknown))}", hint=f"known: {', '.join(pipeline.RING)}"
        )
    params = params_of(param)
    run_id, path = run_id or f"cli-{now():%Y%m%d-%H%M%S}", path_of(recipe)
    read, _, conf = open_recipe(recipe)
    recipes.ready(read, conf, path, chains)  # before hours are spent
    print(f"run {run_id}", file=sys.stderr)
    records = pipeline.run(path, run_id, chains, params, launch=_launch)
    if as_json:
        print(json.dumps([record.model_dump(mode="json") for record in records], indent=2))
        return
    from rich.table import Table

    table = Table("step", "", "seconds", "result", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for record in records:
        seconds = f"{record.work_s + record.import_s:.1f}"
        table.add_row(record.step, "✔" if record.proceed else "■", seconds, record.reason)
    show(table, markup=False)


def _stopped(number: int, frame: FrameType | None) -> None:
    """End a step by way of its own cleaning up, so that MLflow shows no run that nobody works on."""
    del number, frame
    print("error: stopped by a signal\n  hint: run it again; finished work is not repeated", file=sys.stderr)
    sys.exit(TransientError.exit_code)


def step(
    name: Annotated[
        str,
        typer.Argument(
            help="ingest, prepare, validate, plan, tune, train, export, evaluate, gate, approve, promote, watch, decide"
        ),
    ],
    recipe: RecipeName,
    run_id: Annotated[str, typer.Option("--run", help="Run that the step belongs to.")],
    param: Params = [],
    again: Annotated[
        bool, typer.Option("--again", help="Re-run a step that has completed; refused once its version was promoted.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run one step of the ring; what Airflow's tasks call.

    Examples:

        ftcore step train sentiment --run manual-1

        ftcore step shard sentiment --run manual-1  # what there is to share

        ftcore step ingest sentiment --run manual-1 -p shard=00-vader  # one worker's part of it

        ftcore step ingest sentiment --run manual-1  # the rest, and all parts joined

        ftcore step tune sentiment --run manual-1 -p shard=2  # the second worker of a search
    """
    from ftcore import pipeline
    from ftcore.errors import FtcoreError

    if name not in pipeline.STEPS:
        raise FtcoreError(f"no such step: {name}", hint=f"known: {', '.join(pipeline.STEPS)}")
    signal.signal(signal.SIGTERM, _stopped)
    record = pipeline.run_step(name, path_of(recipe), run_id, params_of(param), again=again)
    if as_json:
        print(record.model_dump_json())
    else:
        print(record.reason)


def score(
    recipe: RecipeName,
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV, JSON, JSON Lines, Parquet or text, with the columns that a source of the recipe maps, or text; "
            "request_id, context and group if wanted."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the predictions as CSV, JSON Lines or Parquet.")
    ] = None,
    source: HandedSource = "",
    delimiter: HandedDelimiter = "",
    encoding: HandedEncoding = "",
    new_ids: Annotated[
        bool, typer.Option("--new-ids", help="Make request ids instead of those of the file; -o writes them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Score a file with the champion and append the predictions to the prediction log.

    The predictions that -o writes come in the file's order, a line for each row, with its request_id and what the model
    was given; other columns of the file are not repeated: join them by request_id, or by position. A request id names
    one request for ever: used again with another text it is refused.

    Examples:

        ftcore score sentiment reviews.csv -o scored.csv

        ftcore score sentiment excel.csv --delimiter ";"
    """
    from ftcore.serving import requests, scoring

    read, shelf, conf = open_kept(recipe)
    table = scoring.score(read, shelf, conf, file, requests.Handed(source, delimiter, encoding, new_ids))
    if output:
        scoring.write(table, output)
    summary = scoring.summary(table)
    if as_json:
        print(json.dumps(summary))
        return
    before = summary.pop("scored_before", 0)
    print(sentence(summary))
    if before:
        print(f"{before:,} of {table.num_rows:,} were scored before: the prediction log has these requests already")


def feedback(
    recipe: RecipeName,
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV, JSON, JSON Lines or Parquet with request_id and label, or the label's mapped column."
        ),
    ],
    source: HandedSource = "",
    delimiter: HandedDelimiter = "",
    encoding: HandedEncoding = "",
    as_json: AsJson = False,
) -> None:
    """Append true labels that came back, by request id; the next snapshot learns from them.

    Example:

        ftcore feedback sentiment labels.csv
    """
    from ftcore.serving import requests, scoring
    from ftcore.tracking.client import Tracking

    read, shelf, conf = open_recipe(recipe)
    handed = requests.Handed(source, delimiter, encoding)
    counts = scoring.feedback(read, shelf, file, handed, Tracking(conf, read.name))
    print(json.dumps(counts) if as_json else sentence(counts))


SECTIONS: Mapping[str, Sequence[Callable[..., None]]] = {
    "Run": (run, step, score, feedback),
    "Recipes and data": (recipes.check, recipes.ls, recipes.new, recipes.schema, profile.profile),
    "Models and decisions": (ledger.ledger, lineage.lineage),
    "Proof and privacy": (evidence.doctor, evidence.evidence, evidence.verify, privacy.forget),
    "This machine": (local.up, local.down, local.demo, login.login, login.logout, login.whoami),
    "Move and save a store": (backup.backup, backup.restore, backup.relocate),
}
"""What the help lists under which heading; groups of commands come last in theirs."""

for section, commands in SECTIONS.items():
    for command in commands:
        app.command(rich_help_panel=section)(command)
app.add_typer(snapshots.app, name="snapshots", rich_help_panel="Recipes and data")
app.add_typer(search.app, name="search", rich_help_panel="Models and decisions")
app.add_typer(models.app, name="models", rich_help_panel="Models and decisions")
app.add_typer(evidence.keys, name="keys", rich_help_panel="Proof and privacy")
app.add_typer(runs.app, name="runs", rich_help_panel="Run")


def _launch(name: str, recipe: Path, run_id: str, params: Mapping[str, str]) -> Record:
    """Run a step in a process of its own, so that its memory is given back; its log goes to our stderr."""
    import subprocess

    from ftcore.store.records import Record

    words = [word for key, value in params.items() for word in ("--param", f"{key}={value}")]
    command = [sys.executable, "-m", "ftcore", "step", name, str(recipe), "--run", run_id, "--json", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        print(f"to go on where it stopped: ftcore run {recipe} --run {run_id}", file=sys.stderr)
        raise SystemExit(done.returncode if done.returncode > 0 else 128 - done.returncode)
    return Record.model_validate_json(done.stdout.splitlines()[-1])
