"""plan: train or not, and the reason in the ledger either way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ftcore.errors import DataRejectedError, FtcoreError
from ftcore.steps import plan
from ftcore.store import store

if TYPE_CHECKING:
    from conftest import Product

    from ftcore.context import Outcome


def decide(product: Product, run_id: str = "r1", **params: str) -> Outcome:
    return plan.run(product.context("plan", run_id, **params))


def line(product: Product, run_id: str = "r1") -> dict[str, Any]:
    (found,) = [line for line in product.shelf.ledger("plan") if line["run_id"] == run_id]
    return found


def train_rows(product: Product, numbers: range) -> int:
    return product.rows(numbers)["split"].to_pylist().count("train")


def test_without_a_snapshot_there_is_nothing_to_plan(product: Product) -> None:
    with pytest.raises(FtcoreError, match=f"{product.name} has no snapshot yet"):
        decide(product)
    with pytest.raises(DataRejectedError, match="has no snapshot 'abc'"):
        decide(product, snapshot="abc")
    assert product.shelf.ledger() == []


def test_without_a_champion_it_trains(product: Product) -> None:
    identity = product.publish(range(20))
    outcome = decide(product)
    assert (outcome.proceed, outcome.reason) == (True, "train: there is no champion yet")
    assert outcome.figures["snapshot"] == line(product)["snapshot"] == identity
    manifest = store.hash_file(product.shelf.root / "snapshots" / identity / "manifest.json")
    assert outcome.inputs == {"snapshot": identity, "manifest": manifest}


def test_the_champions_own_snapshot_is_not_trained_on_again(product: Product) -> None:
    identity = product.publish(range(20))
    product.crown("first", identity)
    outcome = decide(product)
    assert not outcome.proceed
    assert outcome.reason == f"do not train: the champion was trained on this very snapshot, {identity}"
    assert line(product)["decision"] == "skip"


@pytest.mark.parametrize("enough", [True, False])
def test_new_training_rows_count(product: Product, enough: bool) -> None:
    new = train_rows(product, range(50, 100))
    product.change(plan={"min_new_rows": new + (not enough)})
    product.crown("first", product.publish(range(50)))
    product.publish(range(100))
    outcome = decide(product)
    assert outcome.proceed is enough
    assert outcome.figures["new_rows"] == new
    assert f"{new} training rows are new" in outcome.reason


def test_a_snapshot_may_be_chosen(product: Product) -> None:
    first = product.publish(range(20))
    product.publish(range(40))
    assert decide(product, snapshot=first).figures["snapshot"] == first


def test_a_person_may_ask(product: Product) -> None:
    product.crown("first", product.publish(range(20)))
    outcome = decide(product, train="always")
    assert (outcome.proceed, outcome.reason) == (True, "train: requested by a person")


def test_a_request_is_answered_once(product: Product) -> None:
    product.crown("first", product.publish(range(20)))
    product.shelf.add_to_ledger("decide", "m0", "wait", "no drift", until="2026-01-01T00:00:00+00:00")
    assert not decide(product, "r0").proceed
    product.shelf.add_to_ledger("decide", "m1", "retrain", "drift", until="2026-01-02T00:00:00+00:00")
    outcome = decide(product, "r1")
    assert (outcome.proceed, outcome.figures["answers"]) == (True, "m1")
    assert "requested by monitoring in run m1" in outcome.reason
    assert not decide(product, "r2").proceed


def test_a_plan_that_is_run_again_does_not_change_its_mind(product: Product) -> None:
    identity = product.publish(range(20))
    first = decide(product)
    product.crown("r1", identity)
    again = decide(product)
    assert (again.proceed, again.reason) == (first.proceed, first.reason) == (True, "train: there is no champion yet")
    assert len(product.shelf.ledger("plan")) == 1


def test_a_champion_from_elsewhere_has_seen_none_of_the_rows(product: Product) -> None:
    product.change(plan={"min_new_rows": 5})
    product.crown("first")
    product.publish(range(40))
    outcome = decide(product)
    assert (outcome.proceed, outcome.figures["new_rows"]) == (True, train_rows(product, range(40)))


def test_a_hold_stops_training_and_leaves_the_request_open(product: Product) -> None:
    from ftcore.registry.promotion import ModelRegistry

    identity = product.publish(range(20))
    registrar = ModelRegistry(product.recipe, product.shelf, product.tracking)
    for run_id in ("r0", "r00"):
        number = product.register(run_id, identity).number
        registrar.promote(number, "mira", "first", override=True)
    registrar.rollback("mira", "complaints")
    product.shelf.add_to_ledger("decide", "m1", "retrain", "drift", until="2026-01-01T00:00:00+00:00")
    outcome = decide(product)
    assert not outcome.proceed
    assert "held since" in outcome.reason
    assert "by mira: complaints; ftcore models release" in outcome.reason
    registrar.release("mira")
    assert decide(product, "r2").reason == "train: requested by monitoring in run m1"


def test_a_person_may_train_during_a_hold(product: Product) -> None:
    from ftcore.registry.promotion import ModelRegistry

    identity = product.publish(range(20))
    registrar = ModelRegistry(product.recipe, product.shelf, product.tracking)
    for run_id in ("r0", "r00"):
        registrar.promote(product.register(run_id, identity).number, "mira", "first", override=True)
    registrar.rollback("mira", "complaints")
    assert decide(product, train="always").proceed


def test_a_champion_that_the_registry_lost_is_not_taken_for_none(product: Product) -> None:
    from ftcore.registry.promotion import ModelRegistry
    from ftcore.tracking.registered import drop_alias

    identity = product.publish(range(20))
    product.register("r0", identity)
    ModelRegistry(product.recipe, product.shelf, product.tracking).promote(1, "mira", "first", override=True)
    drop_alias(product.tracking, "champion")
    with pytest.raises(FtcoreError, match=r"lost its champion, by the ledger version 1(?s:.)*ftcore doctor"):
        decide(product)
