"""From snapshots to versions and back, with a real registry, without one, and after retention took the data."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from ftcore import cli
from ftcore.compliance.lineage import Lineage
from ftcore.data import snapshot
from ftcore.errors import DataRejectedError, FtcoreError, TransientError
from ftcore.tracking.client import CHAMPION, RECIPE_TAG

if TYPE_CHECKING:
    from conftest import Product

    from ftcore.tracking.client import Version


def lineage(product: Product) -> Lineage:
    return Lineage(product.shelf, product.tracking)


def train(product: Product, run_id: str, identity: str) -> Version:
    """What ``train`` logs and registers."""
    tags = {"ftcore.snapshot": identity, "ftcore.git_commit": "c0ffee", RECIPE_TAG: "digest"}
    run = product.tracking.open_run(run_id, tags)
    product.tracking.log(run, params={"base": product.recipe.base})
    product.tracking.log_snapshot(run, identity, 10, "somewhere")
    return product.tracking.register(run_id, run, "model", tags)


def test_a_snapshot_leads_to_runs_and_versions(product: Product) -> None:
    first, second = product.publish(range(30)), product.publish(range(60))
    one = train(product, "r1", first)
    product.tracking.set_alias(CHAMPION, one)
    product.tracking.tag(one, {"approved_by": "ann", "promoted_at": "2026-01-01T00:00:00+00:00"})
    failed = product.tracking.open_run("r2", {})  # given the snapshot, and never came to a version
    product.tracking.log_snapshot(failed, first, 10, "somewhere")

    found = lineage(product).of(first)
    assert (found["snapshot"], found["current"], found["rows"]) == (first, False, 30)
    runs = {run["run_id"]: run for run in found["trained"]}
    assert set(runs) == {"r1", "r2"}
    assert runs["r2"]["versions"] == []
    (version,) = runs["r1"]["versions"]
    assert version == {
        "version": 1,
        "aliases": ["champion", "candidate"],
        "approved_by": "ann",
        "promoted_at": "2026-01-01T00:00:00+00:00",
    }
    every = {one["snapshot"]: one for one in lineage(product).of()["snapshots"]}
    assert set(every) == {first, second}
    assert every[second]["trained"] == []


def test_a_version_leads_back_to_all_that_made_it(product: Product) -> None:
    identity = product.publish(range(30))
    train(product, "r1", identity)
    product.shelf.add_to_ledger("promote", "r1", "promoted", "it passed", version=1)
    product.shelf.add_to_ledger("promote", "r9", "promoted", "another", version=9)
    found = lineage(product).of("candidate")
    assert found == lineage(product).of("1")
    assert (found["run_id"], found["base"], found["git_commit"]) == ("r1", product.recipe.base, "c0ffee")
    assert found["recipe_sha256"] == "digest"
    assert [line["reason"] for line in found["decisions"]] == ["it passed"]
    assert found["trained_on"]["snapshot"] == identity
    snapshot.folder(product.shelf, identity).joinpath("manifest.json").unlink()
    assert lineage(product).of("1")["trained_on"] == {"snapshot": identity, "gone": True}


def test_what_is_not_there_is_said(product: Product) -> None:
    assert lineage(product).of() == {"recipe": product.name, "snapshots": []}
    with pytest.raises(DataRejectedError, match="has no snapshot 'abc'"):
        lineage(product).of("abc")
    with pytest.raises(FtcoreError, match=r"has no version 7\n  hint: known versions: none"):
        lineage(product).of("7")
    with pytest.raises(FtcoreError, match="has no version champion"):
        lineage(product).of("champion")


def test_without_mlflow_the_data_half_is_told(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = product.publish(range(30))
    monkeypatch.setenv("FTCORE_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    found = lineage(product).of(identity)
    assert (found["snapshot"], found["trained"]) == (identity, None)
    assert found["models"] == "unknown: MLflow at http://127.0.0.1:9 does not answer"
    with pytest.raises(TransientError):
        lineage(product).of("1")


def test_the_command_prints_a_tree_or_json(product: Product, capsys: pytest.CaptureFixture[str]) -> None:
    identity = product.publish(range(30))
    train(product, "r1", identity)
    said = {}
    for words in ((), (identity,), ("1",), ("--json",)):
        sys.argv[1:] = ["lineage", product.name, *words]
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        said[words] = capsys.readouterr().out
    assert f"snapshot {identity}" in said[()]
    assert "version 1 · candidate" in said[identity,]
    assert f"base model {product.recipe.base}" in said["1",]
    assert json.loads(said["--json",]) == lineage(product).of()
