"""Batch scoring by the champion, the prediction log, and the true labels that come back."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore._find import find
from ftcore.errors import DataRejectedError, FtcoreError
from ftcore.outputs import Example
from ftcore.progress import progress
from ftcore.records import now, sha256
from ftcore.serving import model as models
from ftcore.store import read_json, read_table, write_bytes
from ftcore.tracking import CHAMPION, Tracking

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.recipe import Recipe
    from ftcore.settings import Settings
    from ftcore.store import Shelf

LOG = ("request_id", "at", "text", "context", "label", "score", "model_version", "latency_ms", "group", "part")
"""Columns of the prediction log. ``context`` and ``group`` may be null; ``group`` keeps what belongs together on one
side of the split. ``score`` is null where nobody knows how sure the model is, ``part`` where the task has no parts."""

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


def score(recipe: Recipe, shelf: Shelf, settings: Settings, file: Path) -> pa.Table:
    """Score a file's texts with the champion's serving export and append them to the prediction log.

    The file is CSV, JSON Lines or Parquet with a column ``text`` and, if wanted, ``context``, ``request_id`` and
    ``group``; where the task has several parts, a column ``part`` says which one is asked.
    Without request ids, they are made from the file's content, so that scoring the same file with the same champion
    again adds nothing to the log.

    Args:
        recipe: whose champion.
        shelf: where the log is.
        settings: where the registry is.
        file: what to score.

    Returns:
        The predictions, in the file's order, with the columns of ``LOG``.

    Raises:
        FtcoreError: there is no champion yet.
        DataRejectedError: the file cannot be read, lacks ``text``, or uses a request id twice.
    """
    import pyarrow as pa

    tracking = Tracking(settings, recipe.name)
    champion = tracking.alias(CHAMPION)
    if champion is None:
        raise FtcoreError(*_no_champion(shelf, tracking))
    rows = _requests(file, recipe.parts)
    batch = sha256(f"{champion.number}\x00" + "\x00".join(f"{r['request_id']}\x00{_asked(r)}" for r in rows))[:16]
    model = models.load(recipe, tracking, champion, models.flavours(recipe)[0])
    clock = time.perf_counter()
    with progress("scoring", len(rows)) as advance:
        outputs = model.outputs([Example(row["text"], row["context"], source=row["part"]) for row in rows], advance)
    latency_ms = (time.perf_counter() - clock) * 1000 / len(rows)
    labels, scores = find("tasks", recipe.task.kind).answers(recipe.task, outputs)
    at = now()
    table = pa.Table.from_pylist(
        [
            {
                **row,
                "at": at,
                "label": labels[number],
                "score": None if math.isnan(scores[number]) else float(scores[number]),
                "model_version": champion.number,
                "latency_ms": latency_ms,
            }
            for number, row in enumerate(rows)
        ],
        schema=log_schema(),
    )
    return table if _append_once(shelf, "predictions", table, batch, at) else _logged(shelf, batch)


def _no_champion(shelf: Shelf, tracking: Tracking) -> tuple[str, str]:
    """Why there is no champion, as far as the newest version tells, and what to do."""
    name, versions = shelf.name, tracking.versions()
    if not versions:
        return f"{name} has no champion yet: no version was trained", f"ftcore run {name}"
    newest = max(versions, key=lambda version: version.number)
    verdict, reason = (newest.tags.get(f"ftcore.{tag}", "") for tag in ("verdict", "verdict.reason"))
    show = f"ftcore models show {name} {newest.number}"
    if verdict == "failed":
        judged = read_json(shelf.folder(newest.tags.get("ftcore.run", ""), "gate") / "verdict.json") or {}
        gates = [
            f"{rule['gate']}: {rule['reason']}" for rule in judged.get("rules", ()) if rule.get("passed") is not True
        ]
        said = f"gates refused version {newest.number}: {'; '.join(gates) or reason}"
        hint = (
            f"{show}; ftcore models promote {name} {newest.number} --by NAME --override --reason TEXT serves it anyway"
        )
    elif verdict:
        said = f"version {newest.number} passed the gate, and was not promoted: {reason}"
        hint = f"{show} tells whether it waits for approval; ftcore ledger {name} tells the decisions"
    else:
        said = f"version {newest.number} was not judged yet"
        run_id = newest.tags.get("ftcore.run", "")
        hint = f"ftcore run {name} --run {run_id} --only finetune" if run_id else f"ftcore run {name}"
    return f"{name} has no champion yet: {said}", hint


def feedback(recipe: Recipe, shelf: Shelf, file: Path) -> dict[str, int]:
    """Append true labels by request id to the feedback log.

    Args:
        recipe: its task's labels are the ones allowed.
        shelf: where the logs are.
        file: CSV, JSON Lines or Parquet with the columns ``request_id`` and ``label``.

    Returns:
        Counts: ``added``, ``known_already`` (with this very label), ``unknown_request`` (never scored here, left out).

    Raises:
        DataRejectedError: a label that the recipe does not have; nothing is added then.
    """
    import pyarrow as pa

    table = find("sources", "files").read_any(file)
    _columns(file, table, ("request_id", "label"))
    rows = [
        {"request_id": str(r["request_id"]), "label": None if r["label"] is None else str(r["label"])}
        for r in table.select(["request_id", "label"]).to_pylist()
    ]
    predictions = shelf.read_log("predictions")
    asked = dict[str, str | None]()
    if predictions is not None:
        parts = predictions["part"].to_pylist() if "part" in predictions.column_names else [None] * len(predictions)
        asked = dict(zip(predictions["request_id"].to_pylist(), parts, strict=True))
    told = [(row["label"], asked.get(row["request_id"] or "")) for row in rows]
    if bad := sorted({str(label) for label, part in told if not _valid(recipe, label, part)}):
        known = ", ".join(getattr(recipe.task, "labels", ()))
        raise DataRejectedError(
            f"{file} has labels that {recipe.name} does not know", bad, hint=known and f"its labels are {known}"
        )
    known_rows = [row for row in rows if row["request_id"] in asked]
    last = {row["request_id"]: row for row in known_rows}
    earlier = shelf.read_log("feedback")
    said = {row["request_id"]: row["label"] for row in earlier.sort_by("at").to_pylist()} if earlier is not None else {}
    new = [row for identity, row in last.items() if said.get(identity) != row["label"]]
    if new:
        at = now()
        schema = pa.schema([("request_id", pa.string()), ("label", pa.string()), ("at", pa.timestamp("ms", "UTC"))])
        # The time makes it a batch of its own: a label may be corrected, and corrected back.
        batch = sha256("\x00".join([at.isoformat(), *(f"{row['request_id']}\x00{row['label']}" for row in new)]))[:16]
        _append_once(
            shelf, "feedback", pa.Table.from_pylist([{**row, "at": at} for row in new], schema=schema), batch, at
        )
    return {
        "added": len(new),
        "known_already": len(known_rows) - len(new),
        "unknown_request": len(rows) - len(known_rows),
    }


def summary(table: pa.Table) -> dict[str, Any]:
    """What was scored, in a few numbers: rows, model version, labels where they are few, and rows per second."""
    counts = table["label"].value_counts().to_pylist()
    labels = {row["values"]: row["counts"] for row in counts} if len(counts) <= MOST_LABELS else {}
    latency_ms = table["latency_ms"][0].as_py()
    return {
        "rows": table.num_rows,
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


def _requests(file: Path, parts: Sequence[str]) -> list[dict[str, Any]]:
    table = find("sources", "files").read_any(file)
    _columns(file, table, ("text", "part") if parts else ("text",))
    if not table.num_rows:
        raise DataRejectedError(f"{file} has no row")
    rows = []
    names = ("request_id", "text", "context", "group", *(("part",) if parts else ()))
    wanted = [name for name in names if name in table.column_names]
    for number, found in enumerate(table.select(wanted).to_pylist()):
        row = dict.fromkeys(("request_id", "context", "group", "part")) | {
            n: v if v is None else str(v) for n, v in found.items()
        }
        row["text"] = row["text"] or ""
        row["request_id"] = row["request_id"] or sha256(f"{file.name}\x00{number}\x00{_asked(row)}")[:20]
        rows.append(row)
    if strange := sorted({str(row["part"]) for row in rows} - set(parts)) if parts else []:
        raise DataRejectedError(
            f"{file} asks for parts that the task does not have", strange, hint=f"its parts are {', '.join(parts)}"
        )
    twice = [identity for identity, count in Counter(row["request_id"] for row in rows).items() if count > 1]
    if twice:
        raise DataRejectedError(f"{file} uses a request_id twice", [f"request_id {identity}" for identity in twice])
    return rows


def _asked(row: dict[str, Any]) -> str:
    """What the model is given, as one string."""
    said = row["text"] if row["context"] is None else f"{row['text']}\x00{row['context']}"
    return said if row["part"] is None else f"{said}\x00{row['part']}"


def _valid(recipe: Recipe, label: str | None, part: str | None) -> bool:
    """Whether a label is one of the task, or of the part that was asked."""
    own = recipe.task_of(part) if part in recipe.parts else recipe.task
    return bool(find("tasks", own.kind).valid(own, label))


def _columns(file: Path, table: pa.Table, wanted: tuple[str, ...]) -> None:
    if missing := [name for name in wanted if name not in table.column_names]:
        raise DataRejectedError(f"{file} has no column {', '.join(missing)}; it has {', '.join(table.column_names)}")


def _append_once(shelf: Shelf, log: str, table: pa.Table, batch: str, at: datetime) -> bool:
    """Append under the day of ``at``, unless this very batch is in the log of any day."""
    if any(path.name == f"{batch}.parquet" for path in shelf.log_files(log)):
        return False
    return shelf.append(log, table, f"{at:%Y-%m-%d}", batch)


def _logged(shelf: Shelf, batch: str) -> pa.Table:
    return read_table(next(path for path in shelf.log_files("predictions") if path.name == f"{batch}.parquet"))
