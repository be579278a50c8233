"""approve: an answer is kept on the version and in the ledger, and the record says what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ftcore import registry
from ftcore.errors import FtcoreError
from ftcore.records import Record, now
from ftcore.steps import approve
from ftcore.tracking_models import tag_model

if TYPE_CHECKING:
    from conftest import Product

    from ftcore.context import Outcome


@pytest.fixture
def asked(product: Product) -> Product:
    """A product of which two people must approve the first version."""
    product.change(approval={"required": 2})
    product.register("r1")
    figures = {"passed": True, "candidate": 1, "champion": None, "rules": []}
    product.shelf.write_record(
        Record(step="gate", recipe=product.name, run_id="r1", fingerprint="", started_at=now(), figures=figures)
    )
    return product


def run(product: Product, **params: str) -> Outcome:
    return approve.run(product.context("approve", **params))


def lines(product: Product) -> list[tuple[str, str]]:
    return [(line["decision"], line["reason"]) for line in product.shelf.ledger("approve")]


def test_where_nobody_is_asked_it_goes_on(asked: Product) -> None:
    asked.change(approval={"required": 0})
    outcome = run(asked)
    assert (outcome.proceed, outcome.reason) == (True, "the recipe asks for no approval")


def test_two_are_two_different_people(asked: Product) -> None:
    before = run(asked)
    assert (before.proceed, before.figures["approvals"]) == (False, 0)
    assert "needs 2 approvals" in before.figures["request"]
    assert run(asked, person="mira", decision="approve", why="fine").figures["approvals"] == 1
    again = run(asked, person="mira", decision="approve")
    assert again.figures["refused"] == "mira has approved already; the other approval must come from somebody else"
    assert not again.proceed
    after = run(asked, person="jon", decision="approve")
    assert (after.proceed, after.reason) == (True, "version 1 is approved by mira, jon")
    assert [decision for decision, _ in lines(asked)] == ["approved", "refused", "approved"]
    assert lines(asked)[0][1] == "mira approved version 1: fine"


def test_who_started_the_run_cannot_approve_it(asked: Product) -> None:
    outcome = run(asked, person="mira", decision="approve", started_by="mira")
    assert (outcome.figures["approvals"], outcome.figures["refused"]) == (
        0,
        "mira started this run and cannot approve what came of it",
    )
    assert run(asked, person="jon", decision="approve", started_by="mira").figures["approvals"] == 1


def test_a_rejection_needs_a_reason_and_ends_it(asked: Product) -> None:
    run(asked, person="jon", decision="approve")
    unsaid = run(asked, person="mira", decision="reject", why="  ")
    assert (unsaid.figures["refused"], unsaid.figures["rejected"]) == (
        "mira rejected without a reason; a rejection needs one",
        False,
    )
    said = run(asked, person="mira", decision="reject", why="worse on short texts")
    assert (said.proceed, said.reason) == (False, "version 1 was rejected by mira: worse on short texts")
    assert run(asked).reason == said.reason
    assert asked.shelf.ledger("reject")[0]["by"] == "mira"


def test_an_answer_is_taken_once_however_often_the_task_is_tried(asked: Product) -> None:
    at = "2026-01-01T10:00:00+00:00"
    for _ in range(2):
        outcome = asked.run("approve", person="mira", decision="approve", answered_at=at)
        assert outcome.figures["approvals"] == 1
    assert [decision for decision, _ in lines(asked)][:1] == ["approved"]
    tags = [key for key in asked.tracking.version(1).tags if "approval." in key]
    assert len(tags) == 1


def test_clearing_the_task_does_not_forget_an_approval(asked: Product) -> None:
    for person in ("mira", "jon"):
        asked.run("approve", person=person, decision="approve")
    cleared = asked.run("approve", again=True)
    assert (cleared.proceed, cleared.figures["approvals"]) == (True, 2)


def test_silence_is_written_down_and_approves_nothing(asked: Product) -> None:
    outcome = run(asked, unanswered_h="72")
    assert (outcome.proceed, outcome.figures["approvals"]) == (False, 0)
    assert lines(asked) == [("no answer", "nobody answered for 72 h, so version 1 is not approved")]


def test_under_a_hold_nobody_is_asked_and_an_answer_is_kept(asked: Product) -> None:
    asked.change(approval={"required": 1})
    note = '{"by": "jon", "reason": "complaints", "at": "2026-11-21T05:00:00+00:00"}'
    tag_model(asked.tracking, {registry.HOLD: note})
    outcome = run(asked)
    assert (outcome.proceed, outcome.figures["held"], "request" in outcome.figures) == (False, True, False)
    assert outcome.reason.startswith("nobody is asked while promotion is held since 2026-11-21 05:00 UTC by jon")
    answered = run(asked, person="mira", decision="approve")  # it was asked before
    assert (answered.proceed, answered.figures["held"]) == (True, False)
    tag_model(asked.tracking, {registry.HOLD: None})
    assert run(asked).proceed


def test_after_the_release_the_question_is_asked(asked: Product) -> None:
    note = '{"by": "jon", "reason": "complaints", "at": "2026-11-21T05:00:00+00:00"}'
    tag_model(asked.tracking, {registry.HOLD: note})
    assert asked.run("approve").figures["held"]
    tag_model(asked.tracking, {registry.HOLD: None})
    assert "needs 2 approvals" in asked.run("approve").figures["request"], "a stop is not taken from the record"


def test_an_answer_is_yes_or_no(asked: Product) -> None:
    with pytest.raises(FtcoreError, match="approve or reject, not 'perhaps'"):
        run(asked, person="mira", decision="perhaps")


def test_an_approval_is_of_the_verdict_that_was_shown(asked: Product) -> None:
    asked.change(approval={"required": 1})
    asked.tracking.tag(asked.tracking.version(1), {"verdict.sha256": "a"})
    assert run(asked, person="mira", decision="approve").proceed
    asked.tracking.tag(asked.tracking.version(1), {"verdict.sha256": "b"})
    outcome = run(asked)
    assert not outcome.proceed
    missing = "version 1 needs 1 approval, and nobody has given one; mira approved an earlier verdict"
    assert outcome.reason == f"{missing}; to approve: ftcore models promote {asked.name} 1 --by NAME"
    assert run(asked, person="mira", decision="approve", why="again").proceed


def test_without_pages_it_says_which_command_approves(asked: Product) -> None:
    first = run(asked).reason
    assert first.endswith(f"ftcore step approve {asked.name} --run r1 -p person=NAME -p decision=approve gives one")
    second = run(asked, person="mira", decision="approve").reason
    assert second.endswith(f"has 1 (mira); to approve: ftcore models promote {asked.name} 1 --by NAME")
    assert "ftcore" not in run(asked, pages="/plugin/models/ftcore").reason, "the page asks"
