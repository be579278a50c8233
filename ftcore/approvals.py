"""What people answered about a version: kept on the version itself, one tag a person, so that nothing forgets it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ftcore.records import sha256

if TYPE_CHECKING:
    from ftcore.sections import Approval

TAG = "approval."
"""Tag ``ftcore.approval.HASH`` of a version; a hash, because MLflow's keys take no ``@``."""

STARTER = "ftcore.started_by"
"""Tag that names who started the run that made the version."""


class Answer(BaseModel):
    """One person's answer about one version."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    person: str
    """User name in Airflow, or the name that was given on the command line."""
    decision: Literal["approve", "reject"]
    at: datetime
    """UTC."""
    reason: str = ""
    run_id: str = ""
    """Run in which the question was asked."""
    started_by: str = ""
    """Who started that run; empty where a schedule or an asset did."""
    verdict: str = ""
    """SHA-256 of the verdict that the person was shown."""
    stale: bool = False
    """Whether the version was judged anew since, with another verdict."""

    @property
    def key(self) -> str:
        """Key of the tag that keeps it, without ``ftcore.``; a person has one."""
        return f"{TAG}{sha256(self.person)[:16]}"


def read(tags: Mapping[str, str]) -> list[Answer]:
    """The answers on a version, oldest first; a tag that is none of ours is passed over."""
    found = []
    for key, value in tags.items():
        if key.startswith(f"ftcore.{TAG}"):
            try:
                answer = Answer.model_validate_json(value)
                stale = answer.verdict != tags.get("ftcore.verdict.sha256", answer.verdict)
                starter = answer.started_by or tags.get(STARTER, "")
                found.append(answer.model_copy(update={"stale": stale, "started_by": starter}))
            except ValidationError:
                continue
    return sorted(found, key=lambda answer: (answer.at, answer.person))


def counted(answers: Sequence[Answer], asked: Approval) -> list[Answer]:
    """The approvals that count: of people who may still answer and did not start the run, about today's verdict."""
    starters = {answer.started_by for answer in answers} - {""}
    return [
        answer
        for answer in answers
        if answer.decision == "approve"
        and not answer.stale
        and answer.person not in starters
        and (not asked.assigned or answer.person in asked.assigned)
    ]


def refusal(answer: Answer, answers: Sequence[Answer], asked: Approval) -> str:
    """Why an answer cannot be taken, as a sentence; empty where it can."""
    person, others = answer.person, {one.person for one in counted(answers, asked)}
    if not person.strip():
        return "an answer needs a name"
    if answer.decision == "reject":
        return "" if answer.reason.strip() else f"{person} rejected without a reason; a rejection needs one"
    faults = {
        f"{person} started this run and cannot approve what came of it": person == answer.started_by,
        f"{person} is not among those who may approve: {', '.join(asked.assigned)}": bool(asked.assigned)
        and person not in asked.assigned,
        f"{person} has approved already; the other approval must come from somebody else": asked.required > 1
        and person in others,
    }
    return next((fault for fault, there in faults.items() if there), "")


def lacking(answers: Sequence[Answer], asked: Approval) -> str:
    """What is missing before the version may be promoted, as a sentence; empty where nothing is."""
    names = [answer.person for answer in counted(answers, asked)]
    if len(names) >= asked.required:
        return ""
    wanted = "1 approval" if asked.required == 1 else f"{asked.required} approvals"
    others = [answer for answer in answers if answer.decision == "approve" and answer.person not in names]
    said = f"has {len(names)} ({', '.join(names)})" if names else "nobody has given one"
    if stale := [answer.person for answer in others if answer.stale]:
        said += f"; {', '.join(stale)} approved an earlier verdict"
    if gone := [answer.person for answer in others if not answer.stale]:
        said += f"; {', '.join(gone)} may not approve"
    return f"needs {wanted}, and {said}"
