"""Whose approval counts."""

from __future__ import annotations

import pytest

from ftcore.approvals import Answer, counted, lacking, read, refusal
from ftcore.records import now
from ftcore.sections import Approval


def given(person: str, decision: str = "approve", reason: str = "", started_by: str = "", run_id: str = "r1") -> Answer:
    made = {"person": person, "decision": decision, "reason": reason, "started_by": started_by, "run_id": run_id}
    return Answer.model_validate({**made, "at": now()})


ONE, TWO = Approval(required=1), Approval(required=2)
CHOSEN = Approval(required=1, assigned=("mira", "jon"))


@pytest.mark.parametrize(
    ("answer", "before", "asked", "why"),
    [
        (given("mira"), [], ONE, ""),
        (given(""), [], ONE, "an answer needs a name"),
        (given("mira", started_by="mira"), [], ONE, "mira started this run"),
        (given("ada"), [], CHOSEN, "ada is not among those who may approve: mira, jon"),
        (given("mira"), [given("mira")], TWO, "mira has approved already"),
        (given("mira"), [given("mira")], ONE, ""),
        (given("jon"), [given("mira")], TWO, ""),
        (given("jon", "reject"), [], ONE, "jon rejected without a reason"),
        (given("jon", "reject", "worse", started_by="jon"), [], ONE, ""),
    ],
)
def test_which_answers_are_taken(answer: Answer, before: list[Answer], asked: Approval, why: str) -> None:
    said = refusal(answer, before, asked)
    assert said.startswith(why) if why else said == ""


def test_what_is_missing() -> None:
    assert lacking([], ONE) == "needs 1 approval, and nobody has given one"
    assert lacking([given("mira"), given("jon", "reject", "no")], TWO) == "needs 2 approvals, and has 1 (mira)"
    assert lacking([given("mira"), given("jon")], TWO) == ""
    assert lacking([], Approval()) == ""


def test_who_started_the_run_counts_for_none_even_when_told_later() -> None:
    answers = [given("mira"), given("jon", started_by="mira")]
    assert [answer.person for answer in counted(answers, ONE)] == ["jon"]


def test_answers_are_read_back_from_tags_whatever_else_is_there() -> None:
    mira = given("mira@example.org")
    tags = {f"ftcore.{mira.key}": mira.model_dump_json(), "ftcore.approval.x": "{", "other": "1"}
    assert read(tags) == [mira]


def test_a_recipe_that_asks_for_more_people_than_it_names_is_at_fault() -> None:
    with pytest.raises(ValueError, match="2 people must approve, and assigned names 1"):
        Approval(required=2, assigned=("mira", "mira"))
