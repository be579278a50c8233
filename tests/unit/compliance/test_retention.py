"""Old snapshots go; what is current, carried over from or trained on stays."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from ftcore.compliance import retention
from ftcore.data import snapshot, watermarks
from ftcore.errors import BusyError, TransientError
from ftcore.store.records import now
from ftcore.store.store import write_json, write_table

if TYPE_CHECKING:
    from conftest import Product


@pytest.fixture
def made(product: Product) -> list[str]:
    """Five snapshots: a version was trained on the first, a watermark holds the second, the fifth is current."""
    identities = [product.publish(range(20 + n)) for n in range(5)]
    product.crown("r1", identities[0])
    mark = {**watermarks.figure(1, "config"), "snapshot": identities[1]}
    write_json(product.shelf.root / "state" / "watermarks.json", {"sql:crm": mark})
    return identities


def left(product: Product) -> set[str]:
    return {one["snapshot"] for one in snapshot.ls(product.shelf)}


def test_what_is_needed_stays(product: Product, made: list[str]) -> None:
    found = retention.prune(product.shelf, product.settings, 1, dry_run=True)
    assert found["deleted"] == [made[2], made[3]]
    assert left(product) == set(made), "it was only looked"
    assert retention.prune(product.shelf, product.settings, 1, dry_run=False)["deleted"] == [made[2], made[3]]
    assert left(product) == {made[0], made[1], made[4]}
    again = retention.prune(product.shelf, product.settings, 1, dry_run=False)
    assert again["deleted"] == []
    assert again["kept"] == {
        made[0]: "version 1 was trained on it",
        made[1]: "an incremental source carries rows over from it",
    }


def test_the_newest_and_the_young_stay(product: Product, made: list[str]) -> None:
    assert retention.prune(product.shelf, product.settings, 2, dry_run=False)["deleted"] == [made[2]]
    assert retention.prune(product.shelf, product.settings, 1, 1, dry_run=False)["deleted"] == []
    path = snapshot.folder(product.shelf, made[3]) / "manifest.json"
    manifest = json.loads(path.read_text()) | {"created_at": (now() - timedelta(days=3)).isoformat()}
    path.write_text(json.dumps(manifest))
    assert retention.prune(product.shelf, product.settings, 1, 4, dry_run=False)["deleted"] == []
    assert retention.prune(product.shelf, product.settings, 1, 2, dry_run=False)["deleted"] == [made[3]]


def test_without_mlflow_nothing_is_deleted(product: Product, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTCORE_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TransientError, match="does not answer"):
        retention.prune(product.shelf, product.settings, 1, dry_run=False)
    assert left(product) == set(made)


def test_a_training_at_work_is_waited_for(product: Product, made: list[str]) -> None:
    with product.shelf.lock("train", 0), pytest.raises(BusyError):
        retention.prune(product.shelf, product.settings, 1, dry_run=False)
    assert left(product) == set(made)


def test_rows_of_old_runs_go_and_their_evidence_stays(product: Product) -> None:
    runs = product.shelf.root / "runs"
    for run in ("old", "young"):
        for file in ("ingest/parts/part-00000.parquet", "watch/window.parquet"):
            write_table(runs / run / file, product.rows(range(5)))
        write_json(runs / run / "ingest" / "record.json", {})
    long_ago = (now() - timedelta(days=9)).timestamp()
    for file in (runs / "old").rglob("*.parquet"):
        os.utime(file.path, (long_ago, long_ago))
    os.utime((runs / "young" / "watch" / "window.parquet").path, (long_ago, long_ago))
    assert retention.prune_runs(product.shelf, 8, dry_run=True)["runs"] == {"old": 2}
    assert len(list(runs.rglob("*.parquet"))) == 4
    assert retention.prune_runs(product.shelf, 8, dry_run=False)["size_bytes"] > 0
    assert {file.parts[-3] for file in runs.rglob("*.json")} == {"old", "young"}
    assert len(list(runs.rglob("*.parquet"))) == 2
    assert retention.prune_runs(product.shelf, 8, dry_run=False)["runs"] == {}
