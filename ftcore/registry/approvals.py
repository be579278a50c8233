"""What people answered about a version: lines of the ledger, each with the record of who answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from ftcore.recipe.canonical import canonical, same_person, sha256
from ftcore.store.slots import order

if TYPE_CHECKING:
    from ftcore.recipe.sections import Approval
    from ftcore.store.store import RecipeStore
    from ftcore.tracking.client import Version

TAG = "approval."
"""Tag ``ftcore.approval.HASH`` of a version, which shows an answer in MLflow; the ledger's line is what counts."""
KIND = "approve"
"""Of the ledger's lines."""
KINDS = (KIND, "gate", "plan")
"""Kinds of lines that tell of answers, verdicts and starters."""
ASKED = "asked"
"""Decision of the line that says who started the run in which people are asked."""
WORDS: Mapping[str, Literal["approve", "reject"]] = {"approved": "approve", "rejected": "reject"}
"""Decisions of the ledger's lines that are answers."""


class Answer(BaseModel):
    """One person's answer about one version."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    person: str
    """User name in Airflow."""
    decision: Literal["approve", "reject"]
    at: datetime
    """UTC."""
    reason: str = ""
    run_id: str = ""
    """Run in which the question was asked."""
    started_by: tuple[str, ...] = ()
    """Who started that run, or the runs whose events started it; empty where a schedule did."""
    verdict: str = ""
    """SHA-256 of the verdict that the person was shown."""
    stale: bool = False
    """Whether the version was judged anew since, with another verdict."""
    witness: dict[str, Any] = {}
    """What Airflow recorded of the answer, or of the login; an answer without it does not count."""

    @field_validator("started_by", mode="before")
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        """Tags of earlier versions have one name, or none."""
        return ((value,) if value else ()) if isinstance(value, str) else value

    @property
    def key(self) -> str:
        """Key of the tag that shows it, without ``ftcore.``; a person has one."""
        return f"{TAG}{sha256(same_person(self.person))[:16]}"


def given(shelf: RecipeStore, version: Version) -> list[Answer]:
    """The answers on a version, oldest first: of each person the newest, as the ledger has it."""
    return of([line for kind in KINDS for line in shelf.ledger(kind)], version.number, version.tags)


def of(lines: Iterable[Mapping[str, Any]], number: int, tags: Mapping[str, str]) -> list[Answer]:
    """The answers on a version.

    Args:
        lines: of the ledger; of kinds and versions that do not matter, too.
        number: of the version.
        tags: of the version.
    """
    lines = sorted(lines, key=order)
    found, started = dict[str, Answer](), starters(lines, number, tags.get("ftcore.run", ""))
    for line in lines:
        if line.get("kind") == KIND and line.get("version") == number and line.get("decision") in WORDS:
            try:
                one = _answer(line)
            except (ValidationError, KeyError):
                continue
            found.pop(same_person(one.person), None)
            found[same_person(one.person)] = one
    verdict = judged(lines, number).get("verdict_sha256") or tags.get("ftcore.verdict.sha256")
    return [
        one.model_copy(
            update={
                "stale": verdict is not None and one.verdict != verdict,
                "started_by": tuple(sorted({*one.started_by, *started})),
            }
        )
        for one in found.values()
    ]


def starters(lines: Iterable[Mapping[str, Any]], number: int, run_id: str) -> set[str]:
    """Who started what made a version, by the ledger's lines of the plan, the question and the answers.

    Args:
        lines: of the ledger.
        number: of the version.
        run_id: its run by its tag; the runs that the ledger knows of it count whatever the tag says.
    """
    lines = list(lines)
    about = [line for line in lines if number in (line.get("version"), line.get("candidate"))]
    runs = {run_id, *(str(line.get("run_id")) for line in about)}
    return {str(name) for line in lines if line.get("run_id") in runs for name in line.get("started_by") or ()}


def judged(lines: Iterable[Mapping[str, Any]], number: int) -> Mapping[str, Any]:
    """The line of a version's newest verdict; an empty one where no gate has judged it."""
    about = [line for line in lines if line.get("kind") == "gate" and line.get("candidate") == number]
    return max(about, key=order, default={})


def _answer(line: Mapping[str, Any]) -> Answer:
    return Answer(
        person=line["by"],
        decision=WORDS[line["decision"]],
        at=line["answered_at"],
        reason=line.get("why", ""),
        run_id=line["run_id"],
        started_by=line.get("started_by", ()),
        verdict=line.get("verdict_sha256", ""),
        witness=(line.get("witness") or {}) if "n" in line else {},  # what is older than the chain proves nothing
    )


def figures(answer: Answer) -> dict[str, Any]:
    """What the ledger's line of an answer says, beside the version."""
    return {
        "by": answer.person,
        "answered_at": answer.at.isoformat(),
        "why": answer.reason,
        "verdict_sha256": answer.verdict,
        "started_by": list(answer.started_by),
        "witness": answer.witness,
    }


def words(answer: Answer, number: int) -> tuple[str, str]:
    """Decision and reason of the ledger's line of an answer about a version."""
    decision = next(word for word, meant in WORDS.items() if meant == answer.decision)
    return decision, f"{answer.person} {decision} version {number}" + (f": {answer.reason}" if answer.reason else "")


def shown(answer: Answer) -> str:
    """An answer as the version's tag shows it in MLflow."""
    return canonical(answer.model_dump(mode="json", exclude={"stale", "witness", "started_by"}))


def counted(answers: Sequence[Answer], asked: Approval) -> list[Answer]:
    """The approvals that count: of people who may answer and did not start the run, about today's verdict; one each."""
    starters = {same_person(name) for answer in answers for name in answer.started_by}
    assigned = {same_person(name) for name in asked.assigned}
    found = {
        same_person(answer.person): answer
        for answer in answers
        if answer.decision == "approve"
        and not answer.stale
        and answer.witness
        and same_person(answer.person) not in starters
        and (not assigned or same_person(answer.person) in assigned)
    }
    return list(found.values())


def refusal(answer: Answer, answers: Sequence[Answer], asked: Approval) -> str:
    """Why an answer cannot be taken, as a sentence; empty where it can."""
    person, name = answer.person, same_person(answer.person)
    others = {same_person(one.person) for one in counted(answers, asked)}
    starters = {same_person(one) for one in (*answer.started_by, *(s for a in answers for s in a.started_by))}
    if not name:
        return "an answer needs a name"
    if answer.decision == "reject":
        return "" if answer.reason.strip() else f"{person} rejected without a reason; a rejection needs one"
    faults = {
        f"Airflow has no record that {person} answered": not answer.witness,
        f"{person} started this run and cannot approve its result": name in starters,
        f"{person} is not among those who may approve: {', '.join(asked.assigned)}": bool(asked.assigned)
        and name not in {same_person(one) for one in asked.assigned},
        f"{person} has approved already; the other approval must come from another person": asked.required > 1
        and name in others,
    }
    return next((fault for fault, there in faults.items() if there), "")


def lacking(answers: Sequence[Answer], asked: Approval) -> str:
    """What is missing before the version may be promoted, as a sentence; empty where nothing is."""
    names = [answer.person for answer in counted(answers, asked)]
    if len(names) >= asked.required:
        return ""
    wanted = "1 approval" if asked.required == 1 else f"{asked.required} approvals"
    others = [answer for answer in answers if answer.decision == "approve" and answer.person not in names]
    said = f"has {len(names)} ({', '.join(names)})" if names else "has none"
    if stale := [answer.person for answer in others if answer.stale]:
        said += f"; {', '.join(stale)} approved an earlier verdict"
    if unproven := [answer.person for answer in others if not answer.stale and not answer.witness]:
        said += f"; Airflow has no record of the answer of {', '.join(unproven)}"
    if gone := [answer.person for answer in others if not answer.stale and answer.witness]:
        said += f"; {', '.join(gone)} may not approve"
    return f"needs {wanted}, and {said}"
