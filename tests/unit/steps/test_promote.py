"""promote: aliases, approvals, and the same end wherever it is killed on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from ftcore.registry import intents
from ftcore.registry.promotion import ModelRegistry
from ftcore.steps import promote
from ftcore.tracking.client import CANDIDATE, CHAMPION, PREVIOUS

if TYPE_CHECKING:
    from conftest import Product

    from ftcore.context import Outcome

CALLS = (
    "get_registered_model",
    "get_model_version",
    "set_registered_model_alias",
    "set_model_version_tag",
)


class Killed(BaseException):
    """Nothing can catch a kill."""


def judged(product: Product, candidate: int, champion: int | None, *, passed: bool = True, run_id: str = "r1") -> None:
    product.judge(candidate, champion, passed=passed, run_id=run_id)


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
    line = product.shelf.ledger("promote")[-1]
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
    product.promise(product.tracking.version(3))
    judged(product, 2, against)
    outcome = run(product)
    assert not outcome.proceed
    assert outcome.reason == "version 3 became champion after version 2 was judged; judge it again"
    assert aliases(product) == {CANDIDATE: 3, CHAMPION: 3, PREVIOUS: None}


def approve(product: Product, number: int, *people: str, run_id: str = "r1", started_by: str = "") -> None:
    product.approve(number, *people, run_id=run_id, started_by=[started_by] if started_by else [])


def test_no_approval_no_promotion_and_the_ledger_says_so_once(product: Product) -> None:
    product.change(approval={"required": 1})
    product.register("r1")
    judged(product, 1, None)
    for _ in range(2):
        outcome = run(product)
        assert not outcome.proceed
        assert outcome.reason == "version 1 needs 1 approval, and has none"
    assert aliases(product)[CHAMPION] is None
    assert "ftcore.approved_by" not in product.tracking.version(1).tags
    (line,) = product.shelf.ledger("promote")
    assert (line["decision"], line["reason"]) == ("refused", outcome.reason)


def test_who_approved_is_written_down(product: Product) -> None:
    product.change(approval={"required": 2, "assigned": ["mira", "jon", "ada"]})
    product.register("r1")
    judged(product, 1, None)
    approve(product, 1, "mira")
    assert run(product).reason == "version 1 needs 2 approvals, and has 1 (mira)"
    approve(product, 1, "jon")
    outcome = run(product)
    assert (outcome.proceed, outcome.figures["approved_by"]) == (True, "mira, jon")
    tags = product.tracking.version(1).tags
    assert (tags["ftcore.approved_by"], tags["ftcore.promoted_by"]) == ("mira, jon", "the loop")
    assert [line["decision"] for line in product.shelf.ledger("promote")] == ["refused", "promoted"]


def test_an_approval_of_somebody_who_left_does_not_count(product: Product) -> None:
    product.change(approval={"required": 1, "assigned": ["mira"]})
    product.register("r1")
    judged(product, 1, None)
    approve(product, 1, "mira")
    product.change(approval={"required": 1, "assigned": ["jon"]})
    assert run(product).reason == "version 1 needs 1 approval, and has none; mira may not approve"


def test_an_approval_that_comes_after_a_newer_champion_is_too_late(product: Product) -> None:
    product.change(approval={"required": 1})
    product.crown("r0")
    product.register("r1")
    judged(product, 2, 1)
    assert not run(product).proceed
    product.crown("r2")
    approve(product, 2, "mira")
    outcome = run(product)
    assert (outcome.proceed, aliases(product)[CHAMPION]) == (False, 3)
    assert outcome.reason == "version 3 became champion after version 2 was judged; judge it again"


def test_a_refusal_is_looked_at_again_and_a_promotion_is_not(product: Product) -> None:
    product.change(approval={"required": 1})
    product.register("r1")
    judged(product, 1, None)
    assert not product.run("promote").proceed
    approve(product, 1, "mira")
    promoted = product.run("promote")
    assert promoted.proceed
    assert product.run("promote") == promoted


def test_a_hold_stops_the_loop_until_it_is_released(product: Product) -> None:
    registrar = ModelRegistry(product.recipe, product.shelf, product.tracking)
    for number, run_id in enumerate(("r0", "r1"), start=1):
        product.register(run_id)
        judged(product, number, number - 1 or None, run_id=run_id)
        assert run(product, run_id).proceed
    registrar.rollback("mira", "complaints")
    product.register("r2")
    judged(product, 3, 1, run_id="r2")
    outcome = run(product, "r2")
    assert not outcome.proceed
    assert "is held since" in outcome.reason
    assert "by mira: complaints; ftcore models release" in outcome.reason
    registrar.release("mira")
    assert run(product, "r2").proceed
    assert aliases(product) == {CANDIDATE: 3, CHAMPION: 3, PREVIOUS: 1}


def test_what_was_rolled_back_does_not_come_back_by_itself(product: Product) -> None:
    registrar = ModelRegistry(product.recipe, product.shelf, product.tracking)
    for number, run_id in enumerate(("r0", "r1"), start=1):
        product.register(run_id)
        judged(product, number, number - 1 or None, run_id=run_id)
        run(product, run_id)
    registrar.rollback("mira", "complaints")
    registrar.release("mira")
    assert run(product, "r1").reason == "version 2 was rolled back by mira: complaints"
    assert aliases(product)[CHAMPION] == 1


def test_what_was_judged_must_still_be_there(product: Product, tmp_path: Path) -> None:
    """Days may pass between the gate and the approval."""
    folder = tmp_path / "onnx-int8"
    folder.mkdir()
    (folder / "model.onnx").write_text("graph")
    product.register("r1", folders=[folder])
    judged(product, 1, None)
    run_info = product.tracking.client.get_run(product.tracking.version(1).run).info
    stored = Path(urlsplit(run_info.artifact_uri).path) / "onnx-int8" / "model.onnx"
    stored.write_text("grapf")
    outcome = run(product)
    assert not outcome.proceed
    assert "version 1 has an artefact 'onnx-int8' that was changed: its hash differs" in outcome.reason
    assert aliases(product)[CHAMPION] is None
    stored.write_text("graph")
    assert run(product).proceed, "it is looked at again"


def test_a_lost_champion_is_not_taken_for_none(product: Product) -> None:
    from ftcore.tracking.registered import drop_alias

    product.register("r0")
    judged(product, 1, None, run_id="r0")
    run(product, "r0")
    drop_alias(product.tracking, CHAMPION)
    product.register("r1")
    judged(product, 2, None)
    outcome = run(product)
    assert not outcome.proceed
    assert outcome.reason.startswith("the registry has lost its champion, by the ledger version 1, since ")


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
        lines = [(li["decision"], li["version"], li.get("previous")) for li in product.shelf.ledger("promote")]
        assert not list(intents.pending(product.shelf))
        return (aliases(product), tags, lines, record.proceed, record.reason, record.figures), made

    expected, calls = end(None)
    assert calls >= 4
    for number in range(1, calls + 1):
        assert end(number)[0] == expected, f"killed at call {number} of {calls}"


def test_a_kill_before_the_ledger_line_is_made_good(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    from ftcore.store.store import RecipeStore

    product.crown("r0")
    product.register("r1")
    judged(product, 2, 1)

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RecipeStore, "add_to_ledger", die)
        with pytest.raises(Killed):
            product.run("promote")
    promoted_at = product.tracking.version(2).tags["ftcore.promoted_at"]
    product.run("promote")
    assert aliases(product) == {CANDIDATE: 2, CHAMPION: 2, PREVIOUS: 1}
    assert product.tracking.version(2).tags["ftcore.promoted_at"] == promoted_at
    assert [line["version"] for line in product.shelf.ledger("promote")] == [1, 2]
