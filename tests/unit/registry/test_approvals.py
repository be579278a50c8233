"""Whose approval counts."""

from __future__ import annotations

from typing import Any

import pytest

from ftcore.recipe.canonical import same_person
from ftcore.recipe.sections import Approval
from ftcore.registry.approvals import Answer, counted, figures, lacking, of, refusal
from ftcore.store.records import now


def given(person: str, decision: str = "approve", reason: str = "", started_by: str = "", **more: Any) -> Answer:
    made = {"person": person, "decision": decision, "reason": reason, "started_by": started_by, "run_id": "r1"}
    return Answer.model_validate(made | {"at": now(), "witness": {"by": "airflow"}} | more)


ONE, TWO = Approval(required=1), Approval(required=2)
CHOSEN = Approval(required=1, assigned=("mira", "jon"))


@pytest.mark.parametrize(
    ("answer", "before", "asked", "why"),
    [
        (given("mira"), [], ONE, ""),
        (given(""), [], ONE, "an answer needs a name"),
        (given(" "), [], ONE, "an answer needs a name"),
        (given("mira", witness={}), [], ONE, "Airflow has no record that mira answered"),
        (given("mira", started_by="mira"), [], ONE, "mira started this run"),
        (given("Mira ", started_by="mira"), [], ONE, "Mira  started this run"),
        (given("mira"), [given("jon", started_by="MIRA")], ONE, "mira started this run"),
        (given("ada"), [], CHOSEN, "ada is not among those who may approve: mira, jon"),
        (given("mira"), [given("mira")], TWO, "mira has approved already"),
        (given(" MIRA"), [given("mira")], TWO, " MIRA has approved already"),
        (given("ｍｉｒａ"), [given("mira")], TWO, "ｍｉｒａ has approved already"),
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
    assert lacking([], ONE) == "needs 1 approval, and has none"
    assert lacking([given("mira"), given("jon", "reject", "no")], TWO) == "needs 2 approvals, and has 1 (mira)"
    assert lacking([given("mira"), given("jon")], TWO) == ""
    assert lacking([], Approval()) == ""
    unproven = "needs 1 approval, and has none; Airflow has no record of the answer of mira"
    assert lacking([given("mira", witness={})], ONE) == unproven


@pytest.mark.parametrize("other", ["mira", "Mira", " mira ", "MIRA\t"])
def test_two_spellings_of_one_person_are_one(other: str) -> None:
    assert same_person(other) == "mira"
    assert len(counted([given("mira"), given(other)], TWO)) == 1
    assert lacking([given("mira"), given(other)], TWO)


def test_who_started_the_run_counts_for_none_even_when_told_later() -> None:
    answers = [given("mira"), given("jon", started_by="mira")]
    assert [answer.person for answer in counted(answers, ONE)] == ["jon"]


def line(answer: Answer, n: int, **more: object) -> dict[str, Any]:
    decision = "approved" if answer.decision == "approve" else "rejected"
    return {"kind": "approve", "run_id": "r1", "n": n, "version": 1, "decision": decision} | figures(answer) | more


def test_who_started_the_run_is_known_whatever_the_tags_say() -> None:
    gate = {"kind": "gate", "run_id": "r1", "candidate": 1, "verdict_sha256": "v", "n": 2, "decision": "passed"}
    plan = {"kind": "plan", "run_id": "r1", "decision": "train", "n": 1, "started_by": ["mira"]}
    (found,) = of([plan, gate, line(given("mira", verdict="v"), 3)], 1, {"ftcore.run": "another"})
    assert lacking([found], ONE) == "needs 1 approval, and has none; mira may not approve"


def test_a_line_from_before_the_chain_approves_nothing() -> None:
    """Whoever empties a ledger can leave any line to be taken for an old one."""
    old = {key: value for key, value in line(given("mira"), 1).items() if key != "n"}
    assert "Airflow has no record of the answer of mira" in lacking(of([old], 1, {}), ONE)


def test_answers_are_the_ledgers_lines_and_no_tag() -> None:
    mira, jon = given("mira", verdict="v2"), given("jon", verdict="v1", reason="fine")
    gate = {"kind": "gate", "run_id": "r1", "candidate": 1, "verdict_sha256": "v2", "n": 1, "decision": "passed"}
    asked = {"kind": "approve", "run_id": "r1", "decision": "asked", "version": 1, "n": 2, "started_by": ["ada"]}
    tags = {"ftcore.run": "r1", "ftcore.approval.x": given("eve").model_dump_json(), "ftcore.verdict.sha256": "v1"}
    lines = [gate, asked, line(mira, 3), line(jon, 4), line(given("eve"), 5, decision="refused")]
    found = of([*lines, line(given("eve"), 6, version=2)], 1, tags)
    assert [(one.person, one.stale, one.started_by) for one in found] == [
        ("mira", False, ("ada",)),
        ("jon", True, ("ada",)),
    ]
    assert [one.person for one in counted(found, ONE)] == ["mira"]
    again = [*lines, line(given("Mira", "reject", "worse", verdict="v2"), 7)]
    assert [(one.person, one.decision) for one in of(again, 1, tags)] == [("jon", "approve"), ("Mira", "reject")]


def test_a_recipe_that_asks_for_more_people_than_it_names_is_at_fault() -> None:
    with pytest.raises(ValueError, match="2 people must approve, and assigned names 1"):
        Approval(required=2, assigned=("mira", "mira"))
    with pytest.raises(ValueError, match="2 people must approve, and assigned names 1"):
        Approval(required=2, assigned=("mira", "Mira "))
