"""A promotion by override says so wherever it is told, and what spoke against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftcore.registry import versions
from ftcore.reports import card

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Product
    from tests.unit.cli.conftest import Done

WORDS = "by override, although: its verdict is 'failed'"


def test_it_is_told(product: Product, ftcore: Callable[..., Done]) -> None:
    product.edit(approval={"required": 0})
    product.register("r1")
    product.judge(1, passed=False)
    line = product.registrar.promote(1, "os:jon", "it is urgent", override=True)
    assert line["against"] == ["its verdict is 'failed'"]
    version = product.tracking.version(1)
    assert f"promoted {WORDS}" in ftcore("models", "ls", product.name).stdout
    shown = ftcore("models", "show", product.name, "1").stdout
    assert "promoted although its verdict is 'failed'" in shown
    assert WORDS in card.facts(product.shelf, version)["state"]
    told = versions.book(product.tracking).to_json(product.shelf.ledger())["versions"][0]
    assert told["promoted_although"] == "its verdict is 'failed'"


def test_any_other_promotion_has_none(product: Product) -> None:
    version = product.crown("r1")
    assert versions.although(product.shelf.ledger(), version.number) == ""
    older = {
        "kind": "promote",
        "decision": "promoted",
        "version": 1,
        "override": True,
        "reason": "against: a; b",
        "n": 9,
    }
    assert versions.although([older], 1) == "against: a; b", "one of an earlier version has its reason alone"
    later = {"kind": "promote", "decision": "promoted", "version": 1, "reason": "x", "n": 10}
    assert versions.although([later, older], 1) == ""
