"""What changes the registry: promotion, rollback, rejection, hold and release, each by somebody and for a reason."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftcore import approvals, artefacts, intents, registry, served, tracking_models
from ftcore.errors import FtcoreError, TransientError
from ftcore.intents import Intent
from ftcore.records import canonical, now
from ftcore.tracking import CANDIDATE, CHAMPION, PREVIOUS, Tracking, Version

if TYPE_CHECKING:
    from ftcore.recipe import Recipe
    from ftcore.registry import Hold
    from ftcore.settings import Settings
    from ftcore.store import Shelf
    from ftcore.verdict import Verdict

LOCK = "registry"
NOBODY = "the recipe asks for no approval"
JUDGED_AGAINST = "ftcore.verdict.champion"
"""Tag of a version: the champion that its last verdict compared it with; empty for a first model."""


@dataclass(frozen=True)
class Registrar:
    """Who changes one recipe's registry."""

    recipe: Recipe
    shelf: Shelf
    tracking: Tracking

    @classmethod
    def of(cls, recipe: Recipe, shelf: Shelf, settings: Settings) -> Registrar:
        """The registrar of a recipe."""
        return cls(recipe, shelf, Tracking(settings, recipe.name))

    @contextmanager
    def at_work(self) -> Iterator[tracking_models.Model]:
        """Hold the registry against this machine's other processes, finish what a crash left, and say how it stands.

        Raises:
            BusyError: another process is changing it.
            TransientError: MLflow does not answer.
        """
        with self.shelf.lock(LOCK, self.tracking.settings.lock_timeout_s):
            intents.settle(self.shelf, self.tracking)
            yield tracking_models.model(self.tracking)

    def carry_out(self, intent: Intent) -> dict[str, Any]:
        """Do it, and give the ledger's line; inside ``at_work`` only."""
        return intents.carry_out(self.shelf, self.tracking, intent)

    def promote(
        self, number: int, by: str, reason: str = "", needs: Sequence[str] = (), *, override: bool = False
    ) -> dict[str, Any]:
        """Make a version champion by hand.

        Args:
            number: the version.
            by: name of the person.
            reason: why; needed with ``override``.
            needs: artefacts without which a version cannot serve.
            override: promote although the verdict, an approval or a rejection speaks against it.

        Returns:
            The ledger's line.

        Raises:
            FtcoreError: no such version, it is champion already, something speaks against it, or what it serves with
                is not what was recorded, which nothing overrides.
        """
        named(by, reason if override else "given")
        with self.at_work() as before:
            version = tracking_models.version(self.tracking, number)
            self._champion(before, number)
            checked = self.fit_to_serve(version, needs)
            model, version = self.reread(version)
            champion = self._champion(model, number)
            against = [*self._against(version, champion, by), *(f"it {fault}" for fault in checked.others)]
            if against and not override:
                raise FtcoreError(
                    f"version {number} is not promoted: {'; '.join(against)}",
                    hint="--override --reason '…' promotes it all the same, and the ledger says so",
                )
            counted = approvals.counted(approvals.read(version.tags), self.recipe.approval)
            intent = self.crowning(version, champion, by, ", ".join(one.person for one in counted) or by)
            told = [
                intent.reason,
                *([f"against: {'; '.join(against)}"] if against else []),
                *([reason] if reason else []),
            ]
            figures = intent.figures | {"override": bool(against), "by_hand": True, "read": list(checked.read)}
            return self.carry_out(
                intent.model_copy(update={"run_id": by_hand(), "reason": "; ".join(told), "figures": figures})
            )

    def reread(self, version: Version) -> tuple[tracking_models.Model, Version]:
        """The registry as it is after a version's artefacts were read, which takes long: hold, aliases, approvals.

        Raises:
            TransientError: meanwhile somebody changed the hashes that they were compared with.
        """
        model, now_ = tracking_models.model(self.tracking), tracking_models.version(self.tracking, version.number)
        if served.judged(now_) != served.judged(version):
            raise TransientError(
                f"the tag ftcore.artefacts of version {version.number} was changed while its artefacts were read",
                hint="somebody else changes the registry; find out who before you promote it",
            )
        return model, now_

    def _champion(self, model: tracking_models.Model, number: int) -> int | None:
        """The champion by registry and ledger, before ``number`` takes its place.

        Raises:
            FtcoreError: it is ``number`` itself, or the two disagree.
        """
        holder, known = model.aliases.get(CHAMPION), served.by_ledger(self.shelf)
        if known is not None and holder != known.version:
            hint = f"ftcore doctor {self.recipe.name} --mend"
            raise FtcoreError(served.moved(self.recipe.name, holder, known), hint=hint)
        if known is not None and holder == number:
            raise FtcoreError(f"version {number} is champion already")
        return holder

    def crowning(self, version: Version, champion: int | None, by: str, approved: str) -> Intent:
        """The change that makes a version champion and keeps the one before it within reach."""
        at = now()
        ended = {key: "" for key in (registry.REJECTED, registry.ROLLED_BACK) if version.tags.get(f"ftcore.{key}")}
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
            champion, previous = before.aliases.get(CHAMPION), before.aliases.get(PREVIOUS)
            if previous is None:
                hint = f"ftcore models promote {self.recipe.name} VERSION --by NAME names one by hand"
                raise FtcoreError(f"{self.recipe.name} has no previous version to go back to", hint=hint)
            back = tracking_models.version(self.tracking, previous)
            checked = self.fit_to_serve(back, needs)
            model, back = self.reread(back)
            if (model.aliases.get(CHAMPION), model.aliases.get(PREVIOUS)) != (champion, previous):
                raise TransientError("the champion changed while artefacts were read", hint="look again, then decide")
            at = now()
            note = canonical({"by": by, "reason": reason, "at": at.isoformat()})
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
                tags={registry.ROLLED_BACK: note},
                model_tags={registry.HOLD: note},
                aliases={CHAMPION: previous, PREVIOUS: self.before(previous, champion)},
                figures={
                    "version": previous,
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
            tracking_models.version(self.tracking, number)
            if model.aliases.get(CHAMPION) == number:
                hint = f"ftcore models rollback {self.recipe.name} --by NAME --reason '…'"
                raise FtcoreError(f"version {number} is champion; bring the one before it back instead", hint=hint)
            at = now()
            intent = Intent(
                kind="reject",
                run_id=run_id or by_hand(),
                decision="rejected",
                reason=f"version {number} is rejected: {reason}",
                by=by,
                at=at,
                version=number,
                tags={registry.REJECTED: canonical({"by": by, "reason": reason, "at": at.isoformat()})},
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
            if hold := registry.hold_of(model):
                raise FtcoreError(str(hold), hint=f"ftcore models release {self.recipe.name} ends it")
            at = now()
            intent = Intent(
                kind="hold",
                run_id=by_hand(),
                decision="held",
                reason=f"automatic promotion is paused: {reason}",
                by=by,
                at=at,
                model_tags={registry.HOLD: canonical({"by": by, "reason": reason, "at": at.isoformat()})},
            )
            return self.carry_out(intent)

    def release(self, by: str, reason: str = "") -> dict[str, Any]:
        """End the hold, so that the loop may promote again.

        Raises:
            FtcoreError: nothing is held.
        """
        named(by, "given")
        with self.at_work() as model:
            hold = registry.hold_of(model)
            if hold is None:
                raise FtcoreError(f"promotion of {self.recipe.name} is not held")
            intent = Intent(
                kind="release",
                run_id=by_hand(),
                decision="released",
                reason=f"the loop may promote again{f': {reason}' if reason else ''}; {hold}",
                by=by,
                at=now(),
                model_tags={registry.HOLD: None},
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
        return registry.held(self.tracking)

    def answer(self, version: Version, answer: approvals.Answer) -> str:
        """Keep a person's answer on the version and in the ledger.

        Returns:
            Why the answer was not taken, as a sentence; empty where it was. The ledger has a line either way.
        """
        refused = approvals.refusal(answer, approvals.read(version.tags), self.recipe.approval)
        answer = answer.model_copy(update={"verdict": version.tags.get("ftcore.verdict.sha256", "")})
        key = f"{answer.key.removeprefix(approvals.TAG)}-{answer.decision}-{answer.verdict[:8] or 'none'}"
        figures = {"version": version.number, "by": answer.person, "answered_at": answer.at.isoformat()}
        if refused:
            key = f"{key}-refused-{answer.at:%H%M%S%f}"
            self.shelf.add_to_ledger("approve", answer.run_id, "refused", refused, key=key, **figures)
            return refused
        self.tracking.tag(version, {answer.key: canonical(answer.model_dump(mode="json", exclude={"stale"}))})
        decision = "approved" if answer.decision == "approve" else "rejected"
        words = f"{answer.person} {decision} version {version.number}" + (f": {answer.reason}" if answer.reason else "")
        self.shelf.add_to_ledger("approve", answer.run_id, decision, words, key=key, **figures)
        return ""

    def turn_down(self, number: int, answer: approvals.Answer) -> None:
        """Reject a version because a person answered so; asked again it does nothing."""
        if not registry.decided_against(self.tracking.version(number)):
            self.reject(number, answer.person, answer.reason, run_id=answer.run_id)

    def _against(self, version: Version, champion: int | None, by: str) -> list[str]:
        """What speaks against promoting a version by hand, a sentence each."""
        found = registry.entry(version, tracking_models.Model(self.recipe.name))
        sentences = []
        if found["verdict"] not in {"passed", "asks"}:
            sentences.append(f"its verdict is {found['verdict']!r}" if found["verdict"] else "no gate has judged it")
        elif found["judged_against"] != champion:
            sentences.append(
                f"it was judged against {_named(found['judged_against'])}, and {_named(champion)} is champion"
            )
        if decided := registry.decided_against(version):
            sentences.append(decided)
        others = [answer for answer in approvals.read(version.tags) if answer.person != by]
        starter = version.tags.get(approvals.STARTER, "")
        own = approvals.Answer(person=by, decision="approve", at=now(), started_by=starter)
        if missing := approvals.lacking([*others, own], self.recipe.approval):
            sentences.append(f"it {missing}")
        return sentences

    def before(self, number: int, instead_of: int | None = None) -> int | None:
        """The champion before ``number`` by the ledger, so that one can go back further; None where none is left."""
        lines = [line for line in self.shelf.ledger("promote") if line.get("version") == number]
        found = next((line.get("previous") for line in reversed(lines) if line["decision"] == "promoted"), None)
        known = {version.number for version in self.tracking.versions()}
        return found if found in known and found not in (number, instead_of) else None


def record_verdict(tracking: Tracking, verdict: Verdict, digest: str) -> Version:
    """Keep a verdict on the version that was judged, with the hashes of all its artefacts but the card, which changes.

    Args:
        tracking: the registry of the recipe.
        verdict: what the gates said.
        digest: SHA-256 of ``verdict.json``.
    """
    version = tracking.version(verdict.candidate)
    tags = {
        "verdict.reason": verdict.reason[:5000],
        JUDGED_AGAINST.removeprefix("ftcore."): "" if verdict.champion is None else verdict.champion,
        "verdict.sha256": digest,
        "artefacts": canonical(tracking_models.hashes(tracking_models.run_tags(tracking, version.run), but=("card",))),
        "verdict": verdict.word,  # last: where MLflow goes away before it, the version is not judged
    }
    tracking.tag(version, tags)
    return version


def by_hand() -> str:
    """A name for what a person decides outside of a run."""
    return f"hand-{now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def named(by: str, reason: str) -> None:
    """Check that somebody says who they are and why.

    Raises:
        FtcoreError: a name or a reason is missing.
    """
    if not by.strip():
        raise FtcoreError("nobody is named", hint="--by NAME")
    if not reason.strip():
        raise FtcoreError("a reason is missing", hint="--reason '…'")


def _named(number: int | None) -> str:
    return "no champion" if number is None else f"version {number}"
