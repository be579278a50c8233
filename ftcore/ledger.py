"""What the ledger's lines mean to the ring: which request to retrain is open, and how far monitoring has looked."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from ftcore.store import Shelf


def open_request(shelf: Shelf, run_id: str) -> str | None:
    """Run id of the newest request to retrain that no plan, other than this run's own, has answered."""
    requests = [line["run_id"] for line in shelf.ledger("decide") if line["decision"] == "retrain"]
    answered = {line.get("answers") for line in shelf.ledger("plan") if line["run_id"] != run_id}
    still_open = [asked for asked in requests if asked not in answered]
    return str(still_open[-1]) if still_open else None


def looked_until(shelf: Shelf, run_id: str) -> datetime | None:
    """Time of the last prediction that a decision, other than this run's own, was made on; None before the first."""
    lines = [line for line in shelf.ledger("decide") if line["run_id"] != run_id]
    return max((datetime.fromisoformat(line["until"]) for line in lines), default=None)


_READ: dict[tuple[str, str], dict[str, Any]] = {}
"""Lines by store and path. They never change, so each is read once in the life of a process."""


def lines(shelf: Shelf) -> list[dict[str, Any]]:
    """Every decision of a recipe, the newest first; for a process that asks again and again, such as a page.

    What is no JSON is a line that says so, with the decision ``unreadable``.
    """
    place = shelf.root / "ledger"
    if not place.exists():
        return []
    paths = [path for path in map(str, place.fs.ls(place.path, detail=False)) if _is_line(path)]
    root = shelf.root.as_uri()
    missing = [path for path in paths if (root, path) not in _READ]
    if missing:  # an object store is asked for all of them at once
        for path, data in place.fs.cat(missing, on_error="omit").items():
            _READ[root, path] = _line(path, data)
    found = [_READ[root, path] for path in paths if (root, path) in _READ]
    return sorted(found, key=lambda line: (str(line["at"]), str(line["kind"])), reverse=True)


def _is_line(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith(".json") and not name.startswith(".")


def _line(path: str, data: bytes) -> dict[str, Any]:
    kind, _, run_id = path.rpartition("/")[2].removesuffix(".json").partition("--")
    blank = {"at": "", "kind": kind, "run_id": run_id, "decision": "unreadable", "reason": "this line is not JSON"}
    try:
        found = json.loads(data)
    except ValueError:
        return blank
    return blank | {"reason": "", "decision": ""} | found if isinstance(found, dict) else blank
