"""Batch scoring by the champion, the prediction log, and the true labels that come back."""

from __future__ import annotations

import logging
import math
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot
from ftcore.data.cleaning.rows import Rows
from ftcore.errors import DataRejectedError, FtcoreError
from ftcore.progress import progress
from ftcore.recipe.canonical import sha256
from ftcore.registry import served
from ftcore.registry.no_champion import why_no_champion
from ftcore.serving import cleaned, request_ids, requests
from ftcore.serving import model as models
from ftcore.store.records import now
from ftcore.store.store import read_table, write_bytes
from ftcore.tracking.client import Tracking

if TYPE_CHECKING:
    import pyarrow as pa
    from upath import UPath

    from ftcore.recipe.model import Recipe
    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore

LOG = (
    "request_id",
    "at",
    "text",
    "context",
    "label",
    "score",
    "model_version",
    "latency_ms",
    "group",
    "part",
    "split_key",
)
"""Columns of the prediction log. ``text`` and ``context`` are cleaned and masked as what the model was trained on;
``group`` keeps what belongs together on one side of the split, under a pseudonym where it is personal data;
``split_key`` is taken from what came in. ``request_id`` is the caller's own key and stays as it is, or labels could not
come back by it. ``context`` and ``group`` may be null, ``score`` is where the model gives no
probability, and ``part`` where the task has no parts."""
REFUSAL = "refusal"
"""Column after those of the log: why a row has no prediction."""
BEFORE = "scored_before"
"""Key of the table's metadata: rows whose request the log had a prediction for. It is no column, so that scoring a file
again writes the same output."""

log = logging.getLogger(__name__)
SCORE_TOLERANCE = 1e-3
"""How far a score may be from the logged one, by the order of additions alone."""
SHOWN_REQUESTS = 3
"""Requests that a warning names."""
MOST_LABELS = 20
"""More than these are not counted one by one: they are texts that the model wrote."""


def log_schema() -> pa.Schema:
    """Arrow schema of the prediction log."""
    import pyarrow as pa

    kinds = {
        "at": pa.timestamp("ms", "UTC"),
        "score": pa.float32(),
        "model_version": pa.int32(),
        "latency_ms": pa.float32(),
    }
    return pa.schema([pa.field(name, kinds.get(name, pa.string())) for name in LOG])


def score(
    recipe: Recipe, shelf: RecipeStore, settings: Settings, file: Path, handed: requests.Handed | None = None
) -> pa.Table:
    """Score a file's texts with the champion's serving export and append them to the prediction log.

    The file is in any format of the source ``files``. Its columns are those that a source of the recipe maps, or
    ``text`` and, if wanted, ``context``, ``request_id`` and ``group``; where the task has several parts, a column
    ``part`` says which one is asked.
    Without request ids, they are made from the file's content, so that scoring the same file with the same champion
    again adds nothing to the log.

    Args:
        recipe: whose champion.
        shelf: where the log is.
        settings: where the registry is.
        file: what to score.
        handed: what the person says about the file.

    Returns:
        The predictions, in the file's order, with the columns of ``LOG`` and ``refusal``: why a row has none. Rows that
        the task cannot read, or that the model's template refuses, cost one row each. ``scored_before`` in the table's
        metadata is the number of rows that the log had a prediction for already.

    Raises:
        FtcoreError: there is no champion yet, or the registry's is not the ledger's.
        ChangedArtefactError: what serves is not what was promoted.
        DataRejectedError: the file cannot be read, lacks ``text``, or uses a request id that names another request.
    """
    import pyarrow as pa

    tracking = Tracking(settings, recipe.name)
    champion = served.champion(shelf, tracking)
    if champion is None:
        raise FtcoreError(*why_no_champion(shelf, tracking))
    rows = requests.read(file, recipe, handed)
    model = models.load(recipe, tracking, champion, models.flavours(recipe)[0])
    made = cleaned.clean(model.card, rows, shelf, recipe.prepare.personal_data)
    before = request_ids.check(file, shelf, made.rows)
    request_ids.warn(file, made.rows, cleaned.settings(model.card, recipe.prepare.personal_data))
    asked = made.asked
    made.refused.update({asked[place]: why for place, why in model.unreadable(made.examples(asked)).items()})
    at, answers = now(), _predicted(recipe, model, made)
    table = pa.Table.from_pylist(
        [
            {**row, "at": at, "model_version": champion.number, **answers.get(place, {})}
            for place, row in enumerate(made.rows)
        ],
        schema=log_schema(),
    )
    scored_before = str(sum(row["request_id"] in before for row in made.rows))
    return _logged(shelf, table, made, at).replace_schema_metadata({BEFORE: scored_before})


def _predicted(recipe: Recipe, model: models.Model, made: cleaned.Requests) -> dict[int, dict[str, Any]]:
    """``label``, ``score`` and ``latency_ms`` of the requests that the model can be asked, by position."""
    asked = made.asked
    if not asked:
        return {}
    clock = time.perf_counter()
    with progress("scoring", len(asked)) as advance:
        outputs = model.outputs(made.examples(asked), advance)
    latency_ms = (time.perf_counter() - clock) * 1000 / len(asked)
    answers = zip(asked, *recipe.task.answers(outputs), strict=True)
    return {
        place: {"label": label, "score": None if math.isnan(sure) else float(sure), "latency_ms": latency_ms}
        for place, label, sure in answers
    }


def _logged(shelf: RecipeStore, table: pa.Table, made: cleaned.Requests, at: datetime) -> pa.Table:
    """Append what was predicted to the log, once, and give it with what was refused, in the file's order."""
    import pyarrow as pa

    kept = [place for place in made.asked if place not in made.private]
    some = [made.rows[place] for place in kept]
    version = table["model_version"][0].as_py()
    batch = sha256(f"{version}\x00" + "\x00".join(f"{r['request_id']}\x00{requests.given(r)}" for r in some))[:16]
    if kept and not _append_once(shelf, "predictions", table.take(kept), batch, at):
        earlier = next(path for path in shelf.log_files("predictions") if path.name == f"{batch}.parquet")
        table = _as_logged(table, earlier)
    refusals = pa.array([made.refused.get(place) for place in range(table.num_rows)], pa.string())
    return table.append_column(REFUSAL, refusals)


def _as_logged(table: pa.Table, file: UPath) -> pa.Table:
    """Predictions that were logged before, with their time: scored again, a file has the same output.

    Whoever may write to the store can change the log. So a row is taken from it only where the champion predicts the
    same now; else what it predicts counts, with a warning.
    """
    import pyarrow as pa

    before = {row["request_id"]: row for row in read_table(file).to_pylist()}
    rows, other = [], []
    for row in table.to_pylist():
        logged = before.get(row["request_id"])
        same = logged is not None and _same(logged, row)
        rows.append({name: logged.get(name) for name in LOG} if logged and same else row)
        other += [str(row["request_id"])] if logged and not same else []
    if other:
        log.warning(
            "%s holds other predictions than the model makes now for %d of its requests: request_id %s; the output has "
            "those of now. Restore the file from a backup where no other machine has predicted them",
            file, len(other), ", ".join(other[:SHOWN_REQUESTS]),
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=log_schema())


def _same(logged: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether a row of the log is what is predicted now, but for when and how fast."""
    fixed = [name for name in LOG if name not in ("at", "score", "latency_ms")]
    if any(logged.get(name) != row[name] for name in fixed):
        return False
    then, score = logged.get("score"), row["score"]
    if then is None or score is None:
        return then is score
    return math.isclose(then, score, abs_tol=SCORE_TOLERANCE)


def feedback(
    recipe: Recipe,
    shelf: RecipeStore,
    file: Path,
    handed: requests.Handed | None = None,
    tracking: Tracking | None = None,
) -> dict[str, int]:
    """Append true labels by request id to the feedback log, those that people wrote cleaned and masked as the request.

    Args:
        recipe: its task's labels are the ones allowed.
        shelf: where the logs are.
        file: in any format of the source ``files``, with the columns ``request_id`` and ``label``, or the label as a
            source of the recipe maps it.
        handed: what the person says about the file.
        tracking: has the cards of the versions that predicted, which say what is masked; without it, and for a version
            that is gone, the recipe says it.

    Returns:
        Counts: ``added``, ``known_already`` (with this very label), ``repeated`` (the same line again in this file),
        ``superseded`` (by a later line of this file with another label), ``unknown_request`` (never scored here, left
        out); ``personal_data``, where labels hold some for which a row is left out.

    Raises:
        DataRejectedError: a label that the recipe does not have, or none of the requests was ever scored here; nothing
            is added then.
    """
    rows, predicted, asked = _labels_of(recipe, shelf, file, handed)
    known_rows = [row for row in rows if row["request_id"] in asked]
    last = {str(row["request_id"]): row for row in known_rows}
    requests_told, superseded = len(last), _superseded(file, known_rows, last)
    private = _clean_labels(recipe, shelf, tracking, [predicted[name] | row for name, row in last.items()], last)
    new = _new_labels(shelf, last)
    _append_labels(shelf, new)
    return {
        "added": len(new),
        "known_already": len(last) - len(new),
        "repeated": len(known_rows) - requests_told - superseded,
        "superseded": superseded,
        "unknown_request": len(rows) - len(known_rows),
        **({"personal_data": len(private)} if private else {}),
    }


def _labels_of(
    recipe: Recipe, shelf: RecipeStore, file: Path, handed: requests.Handed | None
) -> tuple[list[dict[str, str | None]], dict[str, dict[str, Any]], dict[str, str | None]]:
    """A file's labels, the predictions that they belong to by request id, and the part that each request asked.

    Raises:
        DataRejectedError: a label that the recipe does not have, or none of the requests was ever scored here.
    """
    rows = requests.labels(file, recipe, handed)
    named = {str(row["request_id"]) for row in rows}
    plain = {name: snapshot.source_key(name) for name in named}  # 12.0 where a table made numbers of the ids
    columns = ["part", "model_version", "text", "context"]
    predicted = {row["request_id"]: row for row in request_ids.logged(shelf, {*named, *plain.values()}, columns)}
    asked = {name: row["part"] for name, row in predicted.items()}
    rows = [row | {"request_id": name if (name := str(row["request_id"])) in asked else plain[name]} for row in rows]
    _read_labels(recipe, rows, asked)
    told = [(row["label"], asked.get(row["request_id"] or "")) for row in rows]
    if bad := sorted({str(label) for label, part in told if not _valid(recipe, label, part)}):
        known = ", ".join(recipe.task.labels)
        raise DataRejectedError(
            f"{file} has labels that {recipe.name} does not know", bad, hint=known and f"its labels are {known}"
        )
    if not asked:
        raise DataRejectedError(
            f"{file}: none of its {len(rows):,} labels belongs to a request in the prediction log of {recipe.name}",
            [f"request_id {name}" for name in sorted(named)],
            hint="`ftcore score RECIPE FILE -o scored.csv` writes the ids that were logged",
        )
    return rows, predicted, asked


def _new_labels(shelf: RecipeStore, last: dict[str, dict[str, str | None]]) -> list[dict[str, str | None]]:
    """Those of some labels, by request id, that are not what the feedback log says last."""
    earlier = shelf.read_log("feedback")
    said = {row["request_id"]: row["label"] for row in earlier.sort_by("at").to_pylist()} if earlier is not None else {}
    return [row for identity, row in last.items() if said.get(identity) != row["label"]]


def _append_labels(shelf: RecipeStore, rows: list[dict[str, str | None]]) -> None:
    """Append labels to the feedback log; a label may be corrected, and corrected back, so the time is in the name."""
    import pyarrow as pa

    if not rows:
        return
    at = now()
    schema = pa.schema([("request_id", pa.string()), ("label", pa.string()), ("at", pa.timestamp("ms", "UTC"))])
    batch = sha256("\x00".join([at.isoformat(), *(f"{row['request_id']}\x00{row['label']}" for row in rows)]))[:16]
    _append_once(shelf, "feedback", pa.Table.from_pylist([{**row, "at": at} for row in rows], schema=schema), batch, at)


def summary(table: pa.Table) -> dict[str, Any]:
    """What was scored, in a few numbers: rows, model version, labels where they are few, and rows per second.

    ``refused`` and ``scored_before`` are there where any row was refused, or had a prediction in the log already.
    """
    predicted = table.filter(table[REFUSAL].is_null()) if REFUSAL in table.column_names else table
    counts = predicted["label"].value_counts().to_pylist()
    labels = {row["values"]: row["counts"] for row in counts} if len(counts) <= MOST_LABELS else {}
    latency_ms = predicted["latency_ms"][0].as_py() if predicted.num_rows else None
    refused = table.num_rows - predicted.num_rows
    before = int((table.schema.metadata or {}).get(BEFORE.encode(), 0))
    return {
        "rows": table.num_rows,
        **({"refused": refused} if refused else {}),
        **({BEFORE: before} if before else {}),
        "model_version": table["model_version"][0].as_py(),
        "labels": dict(sorted(labels.items())),
        "rows_per_s": round(1000 / latency_ms, 1) if latency_ms else None,
    }


def write(table: pa.Table, output: Path) -> None:
    """Write predictions as CSV, JSON Lines or Parquet, by the file's ending.

    Raises:
        FtcoreError: another ending.
    """
    frame = table.to_pandas()
    if output.suffix == ".csv":
        data = frame.to_csv(index=False).encode()
    elif output.suffix == ".jsonl":
        data = frame.to_json(orient="records", lines=True, date_format="iso", force_ascii=False).encode()
    elif output.suffix == ".parquet":
        data = frame.to_parquet(index=False)
    else:
        raise FtcoreError(f"cannot write '{output.suffix}' files", hint="use .csv, .jsonl or .parquet")
    write_bytes(output, data)


def _read_labels(recipe: Recipe, rows: list[dict[str, str | None]], parts: dict[str, str | None]) -> None:
    """Bring labels into the task's own form, in place, as those of every source are."""
    nothing: list[str | None] = [None] * len(rows)
    texts: list[str | None] = [""] * len(rows)
    sources = [parts.get(row["request_id"] or "") for row in rows]
    read = Rows(texts, nothing, [row["label"] for row in rows], list(nothing), sources)
    recipe.task.parse_rows(read)
    for row, label in zip(rows, read.label, strict=True):
        row["label"] = label


def _clean_labels(
    recipe: Recipe,
    shelf: RecipeStore,
    tracking: Tracking | None,
    rows: list[dict[str, Any]],
    last: dict[str, dict[str, str | None]],
) -> list[str]:
    """Clean labels that people wrote, in place, and take those out that the settings leave out; gives their ids."""
    if recipe.task.TARGET in ("label", "labels", "number"):
        return []  # of a fixed set, or a number: checked already, and the registry need not answer
    private: list[str] = []
    for version in sorted({row["model_version"] for row in rows}):
        mine = [row for row in rows if row["model_version"] == version]
        card = (models.card(recipe, tracking, version) if tracking else None) or {
            "recipe": recipe.name,
            "task": recipe.task.model_dump(mode="json"),
        }
        labels, dropped = cleaned.labels(card, mine, shelf.name, recipe.prepare.personal_data)
        for row, label in zip(mine, labels, strict=True):
            last[row["request_id"]]["label"] = label
        private += [mine[place]["request_id"] for place in dropped]
    for name in private:
        del last[name]
    return private


def _superseded(file: Path, rows: list[dict[str, str | None]], last: dict[str, dict[str, str | None]]) -> int:
    """How many rows have another label than a later one of the same request in the file, which is said."""
    other = [row["request_id"] or "" for row in rows if row["label"] != last[str(row["request_id"])]["label"]]
    if other:
        names = list(dict.fromkeys(other))
        more = f" and {len(names) - SHOWN_REQUESTS:,} more" if len(names) > SHOWN_REQUESTS else ""
        log.warning(
            "%s: labels of %s requests contradict each other, and the last one holds: request_id %s%s",
            file,
            f"{len(names):,}",
            ", ".join(names[:SHOWN_REQUESTS]),
            more,
        )
    return len(other)


def _valid(recipe: Recipe, label: str | None, part: str | None) -> bool:
    """Whether a label is one of the task, or of the part that was asked."""
    own = recipe.task_of(part) if part in recipe.parts else recipe.task
    return own.valid(label)


def _append_once(shelf: RecipeStore, log: str, table: pa.Table, batch: str, at: datetime) -> bool:
    """Append under the day of ``at``, unless this very batch is in the log of any day."""
    if any(path.name == f"{batch}.parquet" for path in shelf.log_files(log)):
        return False
    return shelf.append(log, table, f"{at:%Y-%m-%d}", batch)
