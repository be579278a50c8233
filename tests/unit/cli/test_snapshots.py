"""``ftcore snapshots show`` and ``diff`` are read by people; with --json by programs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from ftcore.data import snapshot, snapshot_diff
from ftcore.store.store import read_json, write_json

if TYPE_CHECKING:
    from conftest import Product


def ftcore(*words: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "ftcore", *words], capture_output=True, text=True, check=True, encoding="utf-8"
    ).stdout


def shown(*words: str) -> str:
    """What the command prints, with white space folded."""
    return "\n".join(" ".join(line.split()) for line in ftcore("snapshots", *words).split("\n"))


def publish(product: Product, run_id: str, count: int, positive: int) -> str:
    words = "abcdefghijklmnopqrstuvwxyz"
    rows = [
        (f"film {words[n % 26]} {words[n // 26]} was {'good' if n % positive else 'bad'} [markup]", "positive")
        if n % positive
        else (f"film {words[n % 26]} {words[n // 26]} was bad", "negative")
        for n in range(count)
    ]
    product.write_rows([*rows, rows[0], ("a film of another label", "bilng"), ("write to ann@example.org", "positive")])
    for step in ("ingest", "prepare", "validate"):
        record = product.run(step, run_id)
    return str(record.figures["snapshot"])


def test_snapshots_are_shown_and_compared_for_people_and_for_programs(product: Product) -> None:
    first, second = publish(product, "r1", 60, 2), publish(product, "r2", 80, 4)
    name, manifest = str(product.path), snapshot.manifest(product.shelf, second)
    page = shown("show", name)
    for line in (
        f"snapshot {second}, current",
        f"rows {manifest['rows']} of 83 that came in",
        "left out 1 exact duplicates, 1 quarantined",
        "quarantined 1 × label 'bilng' is none of task.labels: negative, positive",
        f"sources files:rows {manifest['rows']}",
        "personal data EMAIL_ADDRESS 1",
    ):
        assert f"{line}\n" in page
    assert "labels positive 61 (train " in page
    assert "{" not in page, "no JSON"
    assert json.loads(ftcore("snapshots", "show", name, second, "--json")) == manifest
    assert f"snapshot {first}\n" in shown("show", name, first)
    found, told = snapshot_diff.diff(product.shelf, first, second), shown("diff", name, first, second)
    assert f"added {found['added']} rows\n" in told
    assert "moved 0 rows\n" in told
    assert "label shares negative 49.2% → " in told
    assert json.loads(ftcore("snapshots", "diff", name, first, second, "--json")) == found


def test_a_snapshot_of_an_earlier_version_is_shown_as_far_as_it_is_known(product: Product) -> None:
    identity = product.publish(range(20))
    path = snapshot.folder(product.shelf, identity) / "manifest.json"
    old = read_json(path)
    write_json(path, {key: old[key] for key in ("snapshot", "created_at", "rows", "files")})
    assert "rows 20\n" in shown("show", str(product.path), identity)
