"""promote: aliases, approvals, and the same end wherever it is killed on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ftcore.records import Record, now
from ftcore.steps import promote
from ftcore.tracking import CANDIDATE, CHAMPION, PREVIOUS

if TYPE_CHECKING:
    from conftest import Product

    from ftcore.context import Outcome

CALLS = (
    "get_model_version",
    "get_model_version_by_alias",
    "set_registered_model_alias",
    "set_model_version_tag",
)


class Killed(BaseException):
    """Nothing can catch a kill."""


def judged(product: Product, candidate: int, champion: int | None, *, passed: bool = True, run_id: str = "r1") -> None:
    """Leave the record of a gate."""
    figures = {"passed": passed, "candidate": candidate, "champion": champion, "rules": []}
    product.shelf.write_record(
        Record(step="gate", recipe=product.name, run_id=run_id, fingerprint="", started_at=now(), figures=figures)
    )


def run(product: Product, run_id: str = "r1", **params: str) -> Outcome:
    return promote.run(product.context("promote", run_id, **params))


def aliases(product: Product) -> dict[str, int | None]:
    held = {alias: product.tracking.alias(alias) for alias in (CANDIDATE, CHAMPION, PREVIOUS)}
    return {alias: version.number if version else None for alias, version in held.items()}


def test_the_first_champion_has_no_one_before_it(product: Product) -> None:
    product.register("r1", "snap")
    judged(product, 1, None)
    outcome = run(product)
    assert (outcome.proceed, outcome.reason) == (True, "version 1 is champion")
    assert aliases(product) == {CANDIDATE: 1, CHAMPION: 1, PREVIOUS: None}
    assert outcome.inputs == {"snapshot": "snap"}
    tags = product.tracking.version(1).tags
    assert tags["ftcore.approved_by"] == "the recipe asks for no approval"
    assert tags["ftcore.promoted_at"]


def test_the_one_before_is_kept_within_reach(product: Product) -> None:
    product.crown("r0")
    product.register("r1")
    judged(product, 2, 1)
    outcome = run(product)
    assert outcome.reason == "version 2 is champion, after version 1"
    assert aliases(product) == {CANDIDATE: 2, CHAMPION: 2, PREVIOUS: 1}
    (line,) = product.shelf.ledger("promote")
    assert (line["decision"], line["version"], line["previous"]) == ("promoted", 2, 1)


def test_a_failed_candidate_is_not_promoted(product: Product) -> None:
    product.crown("r0")
    product.register("r1")
    judged(product, 2, 1, passed=False)
    outcome = run(product)
    assert (outcome.proceed, outcome.reason) == (False, "version 2 did not pass the gate")
    assert aliases(product)[CHAMPION] == 1


@pytest.mark.parametrize("against", [None, 1])
def test_who_was_judged_against_another_champion_is_judged_again(product: Product, against: int | None) -> None:
    for run_id in ("r0", "r1", "r2"):
        product.register(run_id)
    product.tracking.set_alias(CHAMPION, product.tracking.version(3))
    judged(product, 2, against)
    outcome = run(product)
    assert not outcome.proceed
    assert outcome.reason == "version 3 became champion after version 2 was judged; judge it again"
    assert aliases(product) == {CANDIDATE: 3, CHAMPION: 3, PREVIOUS: None}


@pytest.mark.parametrize("params", [{}, {"approved_by": ""}, {"approved_at": "2026-01-01"}])
def test_no_approval_no_promotion(product: Product, params: dict[str, str]) -> None:
    product.change(approval={"required": 1})
    product.register("r1")
    judged(product, 1, None)
    outcome = run(product, **params)
    assert not outcome.proceed
    assert outcome.reason == "version 1 needs an approval, and nobody has given one"
    assert aliases(product)[CHAMPION] is None
    assert "ftcore.approved_by" not in product.tracking.version(1).tags


def test_who_approved_is_written_down(product: Product) -> None:
    product.change(approval={"required": 1})
    product.register("r1")
    judged(product, 1, None)
    outcome = run(product, approved_by="mira", approved_at="2026-01-01T10:00:00+00:00")
    assert (outcome.proceed, outcome.figures["approved_by"]) == (True, "mira")
    tags = product.tracking.version(1).tags
    assert (tags["ftcore.approved_by"], tags["ftcore.approved_at"]) == ("mira", "2026-01-01T10:00:00+00:00")
    assert product.shelf.ledger("promote")[0]["approved_by"] == "mira"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("champion", [False, True], ids=["first", "second"])
def test_wherever_it_is_killed_the_end_is_the_same(
    new_product: Callable[[], Product], monkeypatch: pytest.MonkeyPatch, champion: bool, after: bool
) -> None:
    """Kill it at each of its calls to MLflow in turn, just before or just after the call, and run it again."""
    from mlflow import MlflowClient

    def end(kill_at: int | None) -> tuple[object, int]:
        product, made = new_product(), 0
        if champion:
            product.crown("r0")
        candidate = product.register("r1", "snap").number
        judged(product, candidate, candidate - 1 or None)

        def watched(name: str) -> Callable[..., Any]:
            original = getattr(MlflowClient, name)

            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal made
                made += 1
                if made == kill_at and not after:
                    raise Killed
                killed = made == kill_at
                try:
                    return original(*args, **kwargs)
                finally:
                    if killed:
                        raise Killed

            return call

        with monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(MlflowClient, name, watched(name))
            if kill_at is None:
                product.run("promote")
            else:
                with pytest.raises(Killed):
                    product.run("promote")
                assert product.shelf.record("r1", "promote") is None
        record = product.run("promote")
        tags = {k for v in product.tracking.versions() for k in v.tags}
        lines = [(li["decision"], li["version"], li["previous"]) for li in product.shelf.ledger()]
        return (aliases(product), tags, lines, record.proceed, record.reason, record.figures), made

    expected, calls = end(None)
    assert calls >= 4
    for number in range(1, calls + 1):
        assert end(number)[0] == expected, f"killed at call {number} of {calls}"


def test_a_kill_before_the_ledger_line_is_made_good(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    from ftcore.store import Shelf

    product.crown("r0")
    product.register("r1")
    judged(product, 2, 1)

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Shelf, "add_to_ledger", die)
        with pytest.raises(Killed):
            product.run("promote")
    promoted_at = product.tracking.version(2).tags["ftcore.promoted_at"]
    product.run("promote")
    assert aliases(product) == {CANDIDATE: 2, CHAMPION: 2, PREVIOUS: 1}
    assert product.tracking.version(2).tags["ftcore.promoted_at"] == promoted_at
    assert len(product.shelf.ledger("promote")) == 1
