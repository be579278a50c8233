"""approve: an answer is kept on the version and in the ledger, and the record says what is missing."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ftcore.errors import FtcoreError
from ftcore.registry import versions
from ftcore.steps import approve
from ftcore.store import keys
from ftcore.tracking.registered import tag_model

if TYPE_CHECKING:
    from conftest import Product

    from ftcore.context import Outcome

RUN = "finetune-1"
MOMENTS = itertools.count()


@pytest.fixture
def asked(product: Product) -> Product:
    """A product of which two people must approve the first version."""
    product.change(approval={"required": 2})
    product.register(RUN)
    product.judge(1, run_id=RUN)
    return product


def recorded(product: Product, person: str, option: str = "Approve", why: str = "", **more: Any) -> dict[str, str]:
    """What Airflow's task hands over: its record of an answer."""
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(MOMENTS))
    record = {
        "dag_id": f"finetune__{product.name}",
        "run_id": "1",
        "responded_at": at.isoformat(),
        "responded_by_user": {"id": person, "name": person},
        "chosen_options": [option],
        "params_input": {"reason": why},
        **more,
    }
    return {"answer": keys.ring(product.settings).seal(record)}


def run(product: Product, **params: str) -> Outcome:
    return approve.run(product.context("approve", RUN, **params))


def lines(product: Product) -> list[tuple[str, str]]:
    return [(line["decision"], line["reason"]) for line in product.shelf.ledger("approve")]


def test_where_nobody_is_asked_it_goes_on_and_says_so(asked: Product) -> None:
    asked.change(approval={"required": 0})
    for _ in range(2):
        outcome = run(asked)
        assert (outcome.proceed, outcome.reason) == (True, "the recipe asks for no approval")
    assert lines(asked) == [("not required", "the recipe asks for no approval")]


def test_two_are_two_different_people(asked: Product) -> None:
    before = run(asked)
    assert (before.proceed, before.figures["approvals"]) == (False, 0)
    assert "needs 2 approvals" in before.figures["request"]
    assert run(asked, **recorded(asked, "mira", why="fine")).figures["approvals"] == 1
    for name in ("mira", "Mira "):
        again = run(asked, **recorded(asked, name))
        said = f"{name} has approved already; the other approval must come from another person"
        assert again.figures["refused"] == said
        assert not again.proceed
    after = run(asked, **recorded(asked, "jon"))
    assert (after.proceed, after.reason) == (True, "version 1 is approved by mira, jon")
    assert [decision for decision, _ in lines(asked)] == ["approved", "refused", "refused", "approved"]
    assert lines(asked)[0][1] == "mira approved version 1: fine"
    line = asked.shelf.ledger("approve")[0]
    assert line["witness"]["responded_by_user"] == {"id": "mira", "name": "mira"}
    assert (line["by"], line["answered_at"]) == ("mira", line["witness"]["responded_at"])


def test_who_started_the_run_cannot_approve_it(asked: Product) -> None:
    outcome = run(asked, **recorded(asked, "mira", started_by=["ada", "mira"]))
    refused = "mira started this run and cannot approve its result"
    assert (outcome.figures["approvals"], outcome.figures["refused"]) == (0, refused)
    assert run(asked, **recorded(asked, "jon", started_by=["mira"])).figures["approvals"] == 1


def test_who_started_the_run_is_known_from_the_question_on(asked: Product) -> None:
    """The line of the question is signed: a tag that is taken away changes nothing."""
    told = {"dag_id": f"finetune__{asked.name}", "run_id": "1", "started_by": ["ada"]}
    run(asked, asked=keys.ring(asked.settings).seal(told))
    assert run(asked, **recorded(asked, "Ada")).figures["refused"].startswith("Ada started this run")


def test_a_typed_name_is_refused(asked: Product) -> None:
    with pytest.raises(FtcoreError, match="a typed name is no approval") as error:
        run(asked, person="mira", decision="approve")
    assert "ftcore login" in error.value.hint
    with pytest.raises(FtcoreError, match="there is no login"):
        run(asked, decision="approve")
    assert lines(asked) == []


def test_a_record_that_nobody_sealed_is_refused(asked: Product) -> None:
    good = recorded(asked, "mira")["answer"]
    for bad in ("{}", "x", good.replace('"mira"', '"jon"'), good.replace("Approve", "Reject"), good[:-3]):
        with pytest.raises(FtcoreError, match="is not signed by the platform's key"):
            run(asked, answer=bad)
    for other in ({"run_id": "2"}, {"dag_id": "finetune__other"}):
        with pytest.raises(FtcoreError, match="not this run"):
            run(asked, **recorded(asked, "mira", **other))
    assert lines(asked) == []


def test_a_forged_tag_approves_nothing(asked: Product) -> None:
    """What anybody can write into MLflow: an answer with the verdict's hash and a name."""
    for name in ("eve", "eva"):
        digest = asked.tracking.version(1).tags["ftcore.verdict.sha256"]
        forged = {"person": name, "decision": "approve", "at": "2026-01-01T00:00:00+00:00", "verdict": digest}
        asked.tracking.tag(asked.tracking.version(1), {f"approval.{name}": str(forged).replace("'", '"')})
    outcome = run(asked)
    assert (outcome.proceed, outcome.figures["approvals"]) == (False, 0)


def test_a_rejection_needs_a_reason_and_ends_it(asked: Product) -> None:
    run(asked, **recorded(asked, "jon"))
    unsaid = run(asked, **recorded(asked, "mira", "Reject", why="  "))
    assert (unsaid.figures["refused"], unsaid.figures["rejected"]) == (
        "mira rejected without a reason; a rejection needs one",
        False,
    )
    said = run(asked, **recorded(asked, "mira", "Reject", why="worse on short texts"))
    assert (said.proceed, said.reason) == (False, "version 1 was rejected by mira: worse on short texts")
    assert run(asked).reason == said.reason
    assert asked.shelf.ledger("reject")[0]["by"] == "mira"


def test_an_answer_is_taken_once_however_often_the_task_is_tried(asked: Product) -> None:
    answer = recorded(asked, "mira")
    for _ in range(2):
        outcome = asked.run("approve", RUN, **answer)
        assert (outcome.figures["approvals"], outcome.figures["refused"]) == (1, "")
    assert [decision for decision, _ in lines(asked)] == ["approved"]
    tags = [key for key in asked.tracking.version(1).tags if "approval." in key]
    assert len(tags) == 1


def test_clearing_the_task_does_not_forget_an_approval(asked: Product) -> None:
    for person in ("mira", "jon"):
        asked.run("approve", RUN, **recorded(asked, person))
    cleared = asked.run("approve", RUN, again=True)
    assert (cleared.proceed, cleared.figures["approvals"]) == (True, 2)


def test_silence_is_written_down_and_approves_nothing(asked: Product) -> None:
    outcome = run(asked, unanswered_h="72")
    assert (outcome.proceed, outcome.figures["approvals"]) == (False, 0)
    assert lines(asked) == [("no answer", "no answer in 72 h, so version 1 is not approved")]


def test_under_a_hold_nobody_is_asked_and_an_answer_is_kept(asked: Product) -> None:
    asked.change(approval={"required": 1})
    note = '{"by": "jon", "reason": "complaints", "at": "2026-11-21T05:00:00+00:00"}'
    tag_model(asked.tracking, {versions.HOLD: note})
    outcome = run(asked)
    assert (outcome.proceed, outcome.figures["held"], "request" in outcome.figures) == (False, True, False)
    assert outcome.reason.startswith(
        "no approval is requested while promotion is held since 2026-11-21 05:00 UTC by jon"
    )
    answered = run(asked, **recorded(asked, "mira"))  # it was asked before
    assert (answered.proceed, answered.figures["held"]) == (True, False)
    tag_model(asked.tracking, {versions.HOLD: None})
    assert run(asked).proceed


def test_after_the_release_the_question_is_asked(asked: Product) -> None:
    note = '{"by": "jon", "reason": "complaints", "at": "2026-11-21T05:00:00+00:00"}'
    tag_model(asked.tracking, {versions.HOLD: note})
    assert asked.run("approve", RUN).figures["held"]
    tag_model(asked.tracking, {versions.HOLD: None})
    assert "needs 2 approvals" in asked.run("approve", RUN).figures["request"], "a stop is not taken from the record"


def test_an_answer_is_yes_or_no(asked: Product) -> None:
    with pytest.raises(FtcoreError, match="approve or reject, not 'perhaps'"):
        run(asked, decision="perhaps")


def test_an_approval_is_of_the_verdict_that_was_shown(asked: Product) -> None:
    asked.change(approval={"required": 1})
    shown = run(asked).figures["verdict"]
    assert run(asked, **recorded(asked, "mira", verdict=shown)).proceed
    asked.judge(1, 7, run_id=RUN)
    outcome = run(asked)
    assert not outcome.proceed
    missing = "version 1 needs 1 approval, and has none; mira approved an earlier verdict"
    assert outcome.reason == f"{missing}; to approve, after ftcore login: ftcore models promote {asked.name} 1"
    assert not run(asked, **recorded(asked, "ada", verdict=shown)).proceed, "the question showed another verdict"
    assert run(asked, **recorded(asked, "mira", why="again")).proceed


def test_without_pages_it_says_which_command_approves(asked: Product) -> None:
    first = run(asked).reason
    command = f"ftcore step approve {asked.name} --run {RUN} -p decision=approve"
    assert first.endswith(f"after ftcore login: {command} gives one")
    second = run(asked, **recorded(asked, "mira")).reason
    assert second.endswith(f"has 1 (mira); to approve, after ftcore login: ftcore models promote {asked.name} 1")
    assert "ftcore" not in run(asked, pages="/plugin/models/ftcore").reason, "the page asks"
