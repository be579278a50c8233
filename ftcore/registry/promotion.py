"""What changes the registry: promotion, rollback, rejection, hold and release, each by somebody and for a reason."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError, TransientError
from ftcore.recipe.canonical import canonical, same_person
from ftcore.registry import alternatives, approvals, artefacts, integrity, intents, served, versions
from ftcore.registry.intents import Intent
from ftcore.registry.login import HINT, Person
from ftcore.registry.rights import named
from ftcore.store.records import now
from ftcore.tracking import registered
from ftcore.tracking.client import CANDIDATE, CHAMPION, PREVIOUS, Tracking, Version

if TYPE_CHECKING:
    from ftcore.recipe.model import Recipe
    from ftcore.registry.versions import Hold
    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore

LOCK = "registry"
NOBODY = "the recipe asks for no approval"


@dataclass(frozen=True)
class ModelRegistry:
    """Who changes one recipe's registry."""

    recipe: Recipe
    shelf: RecipeStore
    tracking: Tracking

    @classmethod
    def of(cls, recipe: Recipe, shelf: RecipeStore, settings: Settings) -> ModelRegistry:
        """The registrar of a recipe."""
        return cls(recipe, shelf, Tracking(settings, recipe.name))

    @contextmanager
    def at_work(self) -> Iterator[registered.Model]:
        """Hold the registry against this machine's other processes, finish what a crash left, and say how it stands.

        Raises:
            BusyError: another process is changing it.
            TransientError: MLflow does not answer.
        """
        with self.shelf.lock(LOCK, self.tracking.settings.lock_timeout_s):
            intents.settle(self.shelf, self.tracking)
            yield registered.model(self.tracking)

    def carry_out(self, intent: Intent) -> dict[str, Any]:
        """Do it, and give the ledger's line; inside ``at_work`` only."""
        return intents.carry_out(self.shelf, self.tracking, intent)

    def promote(
        self,
        number: int,
        by: str | Person,
        reason: str = "",
        needs: Sequence[str] = (),
        *,
        override: bool = False,
    ) -> dict[str, Any]:
        """Make a version champion by hand.

        Args:
            number: the version.
            by: who decides; somebody who is logged in approves by that, a name alone never does.
            reason: why; needed with ``override``.
            needs: artefacts without which a version cannot serve.
            override: promote although the verdict, an approval or a rejection speaks against it.

        Returns:
            The ledger's line.

        Raises:
            FtcoreError: no such version, it is champion already, something speaks against it, or what it serves with
                is not what was recorded, which nothing overrides.
        """
        person = by if isinstance(by, Person) else Person(by)
        by = person.name
        named(by, reason, needed=override)
        if override and self.recipe.approval.required and not person.logged_in:
            raise FtcoreError("the recipe asks for approvals, and to go on without them needs a login", hint=HINT)
        with self.at_work() as before:
            version = registered.version(self.tracking, number)
            self._champion(before, number)
            checked = self.fit_to_serve(version, needs)
            if self.recipe.approval.required and person.logged_in and not self._approved(version, by):
                self.answer(version, self._own(person, version, reason))
            model, version = self.reread(version)
            champion = self._champion(model, number)
            against = [*self._against(version, model), *(f"it {fault}" for fault in checked.others)]
            if against and not override:
                first = "" if person.logged_in or not self.recipe.approval.required else f"{HINT}, which approves; "
                raise FtcoreError(
                    f"version {number} is not promoted: {'; '.join(against)}",
                    hint=f"{first}--override --reason '…' promotes it all the same, and the ledger says so",
                )
            counted = approvals.counted(approvals.given(self.shelf, version), self.recipe.approval)
            nobody = "nobody" if self.recipe.approval.required else NOBODY
            intent = self.crowning(version, champion, by, ", ".join(one.person for one in counted) or nobody)
            told = [
                intent.reason,
                *([f"against: {'; '.join(against)}"] if against else []),
                *([reason] if reason else []),
            ]
            figures = {"override": bool(against), "against": against, "by_hand": True, "read": list(checked.read)}
            return self.carry_out(
                intent.model_copy(
                    update={"run_id": by_hand(), "reason": "; ".join(told), "figures": intent.figures | figures}
                )
            )

    def reread(self, version: Version) -> tuple[registered.Model, Version]:
        """The registry as it is after a version's artefacts were read, which takes long: hold, aliases, approvals.

        Raises:
            TransientError: meanwhile somebody changed the hashes that they were compared with.
        """
        model, now_ = registered.model(self.tracking), registered.version(self.tracking, version.number)
        if served.judged(self.shelf, now_) != served.judged(self.shelf, version):
            raise TransientError(
                f"version {version.number} was judged again while its artefacts were read, or its tag was changed",
                hint="look again, then decide; if it was not judged again, find out who changes the registry",
            )
        return model, now_

    def _champion(self, model: registered.Model, number: int | None) -> int | None:
        """The champion by registry and ledger, before ``number`` takes its place.

        Raises:
            FtcoreError: it is ``number`` itself, or the two disagree.
        """
        holder, known = model.aliases.get(CHAMPION), served.by_ledger(self.shelf)
        if known is not None and holder != known.version:
            hint = served.put_right(self.recipe.name, holder, known)
            raise FtcoreError(served.moved(self.recipe.name, holder, known), hint=hint)
        if known is not None and holder == number:
            raise FtcoreError(f"version {number} is champion already")
        return holder

    def crowning(self, version: Version, champion: int | None, by: str, approved: str) -> Intent:
        """The change that makes a version champion and keeps the one before it within reach."""
        at = now()
        ended = {key: "" for key in (versions.REJECTED, versions.ROLLED_BACK) if version.tags.get(f"ftcore.{key}")}
        aliases = {PREVIOUS: champion} if champion and champion != version.number else {}
        return Intent(
            kind="promote",
            run_id="",
            decision="promoted",
            reason=f"version {version.number} is champion" + (f", after version {champion}" if champion else ""),
            by=by,
            at=at,
            was=champion,
            version=version.number,
            tags={"promoted_at": at.isoformat(), "promoted_by": by, "approved_by": approved, **ended},
            aliases={**aliases, CHAMPION: version.number},
            figures={
                "previous": champion,
                "approved_by": approved,
                **served.facts(self.shelf, self.tracking, version),
            },
        )

    def rollback(self, by: str, reason: str, needs: Sequence[str] = ()) -> dict[str, Any]:
        """Bring ``previous`` back, and hold the loop's promotions until somebody releases them.

        Args:
            by: name of the person.
            reason: why.
            needs: artefacts without which a version cannot serve.

        Raises:
            FtcoreError: there is no previous version, or what it serves with is gone or not what was recorded;
                nothing was changed then.
        """
        named(by, reason)
        with self.at_work() as before:
            previous = before.aliases.get(PREVIOUS)
            champion = self._champion(before, previous)
            if previous is None:
                hint = alternatives.to_champion(self.tracking)
                raise FtcoreError(f"{self.recipe.name} has no previous version to go back to", hint=hint)
            if self.never_promoted(previous):
                raise FtcoreError(
                    f"version {previous} has the alias previous, and no ledger line ever promoted it",
                    hint=f"ftcore doctor {self.recipe.name} --fix restores the alias",
                )
            back = registered.version(self.tracking, previous)
            checked = self.fit_to_serve(back, needs)
            model, back = self.reread(back)
            if (model.aliases.get(CHAMPION), model.aliases.get(PREVIOUS)) != (champion, previous):
                raise TransientError("the champion changed while artefacts were read", hint="look again, then decide")
            at = now()
            note = canonical({"by": by, "reason": reason, "at": at.isoformat()})
            earlier = self.before(previous, champion)
            words = f"version {previous} is champion again" + (f", instead of version {champion}" if champion else "")
            intent = Intent(
                kind="rollback",
                run_id=by_hand(),
                decision="rolled back",
                reason="; ".join([f"{words}: {reason}", *(f"it {fault}" for fault in checked.others)]),
                by=by,
                at=at,
                was=champion,
                version=champion,
                tags={versions.ROLLED_BACK: note},
                model_tags={versions.HOLD: note},
                aliases={CHAMPION: previous, PREVIOUS: earlier},
                figures={
                    "version": previous,
                    "previous": earlier,
                    "instead_of": champion,
                    "read": list(checked.read),
                    **served.facts(self.shelf, self.tracking, back),
                },
            )
            return self.carry_out(intent)

    def reject(self, number: int, by: str, reason: str, run_id: str = "") -> dict[str, Any]:
        """Say no to a version: the loop will not promote it, and it is candidate no more.

        Raises:
            FtcoreError: no such version, or it is champion.
        """
        named(by, reason)
        with self.at_work() as model:
            registered.version(self.tracking, number)
            if model.aliases.get(CHAMPION) == number:
                hint = alternatives.to_champion(self.tracking)
                raise FtcoreError(f"version {number} is champion; put another in its place instead", hint=hint)
            at = now()
            intent = Intent(
                kind="reject",
                run_id=run_id or by_hand(),
                decision="rejected",
                reason=f"version {number} is rejected: {reason}",
                by=by,
                at=at,
                version=number,
                tags={versions.REJECTED: canonical({"by": by, "reason": reason, "at": at.isoformat()})},
                aliases={CANDIDATE: None} if model.aliases.get(CANDIDATE) == number else {},
            )
            return self.carry_out(intent)

    def hold(self, by: str, reason: str) -> dict[str, Any]:
        """Pause automatic promotion until somebody releases it; who is champion stays as it is.

        Raises:
            FtcoreError: promotion is held already.
        """
        named(by, reason)
        with self.at_work() as model:
            if hold := versions.hold_of(model):
                raise FtcoreError(str(hold), hint=f"ftcore models release {self.recipe.name} ends it")
            at = now()
            intent = Intent(
                kind="hold",
                run_id=by_hand(),
                decision="held",
                reason=f"automatic promotion is paused: {reason}",
                by=by,
                at=at,
                model_tags={versions.HOLD: canonical({"by": by, "reason": reason, "at": at.isoformat()})},
            )
            return self.carry_out(intent)

    def release(self, by: str, reason: str = "") -> dict[str, Any]:
        """End the hold, so that the loop may promote again.

        Raises:
            FtcoreError: nothing is held.
        """
        named(by, reason, needed=False)
        with self.at_work() as model:
            hold = versions.hold_of(model)
            if hold is None:
                raise FtcoreError(f"promotion of {self.recipe.name} is not held")
            intent = Intent(
                kind="release",
                run_id=by_hand(),
                decision="released",
                reason=f"the loop may promote again{f': {reason}' if reason else ''}; {hold}",
                by=by,
                at=now(),
                model_tags={versions.HOLD: None},
            )
            return self.carry_out(intent)

    def fit_to_serve(self, version: Version, needs: Sequence[str] = ()) -> artefacts.Checked:
        """Compare a version's artefacts with what was recorded of them.

        Raises:
            FtcoreError: what it serves with is gone, or is not what was recorded.
            TransientError: MLflow does not answer.
        """
        checked = artefacts.check(self.tracking, version, needs, self.shelf)
        if checked.serving:
            hint = f"restore the artefact, or name another version: ftcore models ls {self.recipe.name}"
            faults = "; it ".join(checked.serving)
            raise FtcoreError(f"version {version.number} {faults}, and could not serve", hint=hint)
        return checked

    def held(self) -> Hold | None:
        """The hold on promotions; None where the loop may promote."""
        return versions.held(self.tracking)

    def answer(self, version: Version, answer: approvals.Answer) -> str:
        """Keep a person's answer on the version and in the ledger.

        Returns:
            Why the answer was not taken, as a sentence; empty where it was. The ledger has a line either way.
        """
        lines = self.shelf.ledger("gate")
        verdict = approvals.judged(lines, version.number).get("verdict_sha256")
        verdict = answer.verdict or verdict or version.tags.get("ftcore.verdict.sha256", "")
        lines = [line for kind in approvals.KINDS for line in self.shelf.ledger(kind)]
        started = approvals.starters(lines, version.number, version.tags.get("ftcore.run", ""))
        known = tuple(sorted({*answer.started_by, *started}))
        answer = answer.model_copy(update={"verdict": verdict, "started_by": known})
        key = f"{answer.key.removeprefix(approvals.TAG)}-{answer.decision}-{answer.at:%Y%m%d%H%M%S%f}"
        taken = self.shelf.line(approvals.KIND, f"{answer.run_id}--{key}") is not None
        refused = "" if taken else approvals.refusal(answer, approvals.given(self.shelf, version), self.recipe.approval)
        decision, words = approvals.words(answer, version.number)
        kind, told = (key, words) if not refused else (f"{key}-refused", refused)
        decision = "refused" if refused else decision
        figures = {"version": version.number, **approvals.figures(answer)}
        self.shelf.add_to_ledger(approvals.KIND, answer.run_id, decision, told, key=kind, **figures)
        if not refused:
            self.tracking.tag(version, {answer.key: approvals.shown(answer)})
            self.witness()
        return refused

    def _approved(self, version: Version, name: str) -> bool:
        """Whether somebody has approved a version already."""
        counted = approvals.counted(approvals.given(self.shelf, version), self.recipe.approval)
        return same_person(name) in {same_person(one.person) for one in counted}

    def _own(self, person: Person, version: Version, reason: str) -> approvals.Answer:
        """The approval of somebody who promotes by hand."""
        run_id = version.tags.get("ftcore.run") or by_hand()
        return approvals.Answer(
            person=person.name, decision="approve", at=now(), reason=reason, run_id=run_id, witness=person.witness
        )

    def witness(self) -> None:
        """Keep the ledger's newest line on the registered model; the line itself stands in any case."""
        intents.witness(self.shelf, self.tracking)

    def turn_down(self, number: int, answer: approvals.Answer) -> None:
        """Reject a version because a person answered so; asked again it does nothing."""
        if not versions.decided_against(self.tracking.version(number)):
            self.reject(number, answer.person, answer.reason, run_id=answer.run_id)

    def _against(self, version: Version, model: registered.Model) -> list[str]:
        """What speaks against promoting a version by hand, a sentence each."""
        sentences, champion = integrity.against(self.shelf, version, model), model.aliases.get(CHAMPION)
        judged = approvals.judged(self.shelf.ledger("gate"), version.number)
        if judged and judged["decision"] in alternatives.PASSED and judged["champion"] != champion:
            sentences.append(f"it was judged against {_named(judged['champion'])}, and {_named(champion)} is champion")
        if decided := versions.decided_against(version):
            sentences.append(decided)
        if missing := approvals.lacking(approvals.given(self.shelf, version), self.recipe.approval):
            sentences.append(f"it {missing}")
        return sentences

    def never_promoted(self, number: int) -> bool:
        """Whether the ledger, which knows of others, says of no version of this number that it was champion."""
        known = served.promises(self.shelf)
        return bool(known) and number not in {one.version for one in known if one}

    def before(self, number: int, instead_of: int | None = None) -> int | None:
        """The champion before ``number`` by the ledger, so that one can go back further; None where none is left."""
        lines = [line for line in self.shelf.ledger("promote") if line.get("version") == number]
        found = next((line.get("previous") for line in reversed(lines) if line["decision"] == "promoted"), None)
        known = {version.number for version in self.tracking.versions()}
        return found if found in known and found not in (number, instead_of) else None


def by_hand() -> str:
    """A name for what a person decides outside of a run."""
    return f"hand-{now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def _named(number: int | None) -> str:
    return "no champion" if number is None else f"version {number}"
