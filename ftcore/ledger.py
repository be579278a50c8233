"""What the ledger's lines mean to the ring: which request to retrain is open, and how far monitoring has looked."""

from __future__ import annotations

from datetime import datetime

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
