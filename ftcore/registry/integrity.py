"""Whether registry, records and verdicts still are what the ledger says: what was changed by somebody else's hand.

The ledger's lines are signed, so they are right where something else says otherwise. A version's ``gate`` line seals
what its evidence is made of: the records of its runs, the hashes of its artefacts, and what MLflow keeps of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ftcore.data import erasures
from ftcore.errors import FtcoreError
from ftcore.recipe.canonical import canonical, same_person, sha256
from ftcore.registry import approvals, served, versions
from ftcore.registry.alternatives import PASSED
from ftcore.registry.artefacts import CHANGING
from ftcore.registry.intents import HEAD_TAG
from ftcore.store import ledger, run_recipe
from ftcore.store.files import mapping, names_in, read_bytes, read_many
from ftcore.store.ledger import HEADS, Break
from ftcore.store.slots import crowns, order
from ftcore.store.store import RUN_ID
from ftcore.tracking import registered
from ftcore.tracking.client import CANDIDATE, CHAMPION, PREVIOUS

if TYPE_CHECKING:
    from ftcore.registry.versions import ModelSummary
    from ftcore.store.store import RecipeStore
    from ftcore.tracking.client import Tracking, Version
    from ftcore.tracking.registered import Model

SEALS = ("records", "artefacts", "facts")
"""Figures of a ``gate`` line that seal what evidence is made of."""
DATA, FINETUNE = ("ingest", "prepare", "validate"), ("plan", "tune", "train", "export", "evaluate")
HOLDS = ("rollback", "hold", "release")
"""Kinds of lines that hold promotion, or end that."""
DECIDED = (*HOLDS, "reject", "promote")
"""Kinds of lines that are decisions about promotion."""
FACTS = ("ftcore.snapshot", "ftcore.run", "ftcore.git_commit", "ftcore.recipe", "ftcore.recipe_sha256")
"""Tags of a version that never change."""
Lines = list[dict[str, Any]]


def seals(shelf: RecipeStore, tracking: Tracking, version: Version, run_id: str) -> dict[str, Any]:
    """What a ``gate`` line seals: ``records`` and ``artefacts`` by name with their SHA-256, ``facts`` by tag.

    Raises:
        TransientError: MLflow does not answer.
    """
    run = registered.run_tags(tracking, version.run)
    facts = {key: version.tags[key] for key in FACTS if key in version.tags}
    facts |= {key: value for key, value in run.items() if key.startswith("env.")} | {"mlflow_run": version.run}
    read = ((name, read_bytes(path)) for name, path in _records(shelf, version, run_id))
    records = {name: sha256(data) for name, data in read if data is not None}
    return {"records": records, "artefacts": registered.hashes(run, but=CHANGING), "facts": facts}


def against(shelf: RecipeStore, version: Version, model: Model) -> list[str]:
    """Why a version must not be promoted: a broken ledger, or what MLflow tells otherwise than it, a sentence each.

    What somebody acknowledged speaks against nothing; another break in its place does.
    """
    audit = ledger.audit(shelf, model.tags.get(f"ftcore.{HEAD_TAG}"))
    broken = ledger.unacknowledged(audit.breaks)
    found = [f"the ledger is broken: {broken[0]}"] if broken else []
    line = approvals.judged(shelf.ledger("gate"), version.number)
    if line and line["decision"] not in PASSED:
        found.append(f"its verdict is {line['decision']!r}")
    found += [] if line else ["no gate has judged it"]
    if line and "n" not in line:
        found.append("its verdict is older than the ledger's chain; judge it again")
    if "artefacts" in line and dict(served.tagged(version)) != line["artefacts"]:
        found.append("its artefacts by MLflow are not those that were judged")
    decided = sorted((line for kind in DECIDED for line in shelf.ledger(kind)), key=order)
    breaks = (*_verdict(shelf, version, line), *_hold(model, decided), *_notes(version, decided))
    return found + [one.what for one in ledger.unacknowledged(audit.acknowledged(breaks))]


def check(shelf: RecipeStore, tracking: Tracking, only: Collection[int] | None = None) -> list[Break]:
    """Check the ledger's chain, and compare with it what store and registry say.

    Args:
        shelf: the recipe's part of the store.
        tracking: the recipe's registry.
        only: numbers of versions; None compares all of them.

    Returns:
        What does not hold, among it what was acknowledged: of the chain first, since what is compared with a broken one
        may only follow from that; then by the ledger's lines, and what has no line last.

    Raises:
        TransientError: MLflow does not answer.
    """
    book = versions.book(tracking)
    audit = ledger.audit(shelf, book.model.tags.get(f"ftcore.{HEAD_TAG}"))
    broken, lines = list(audit.breaks), audit.lines
    if not any("n" in line for line in lines):  # a store that nobody has written to since ledgers are chains
        return broken
    found = list(_model(book, lines))
    about: dict[int, Lines] = {}
    for line in lines:
        for key in {line.get("version"), line.get("candidate"), line.get("instead_of")}:
            if isinstance(key, int):
                about.setdefault(key, []).append(line)
    known = {line["run_id"]: line for line in lines if line["kind"] == "plan"}
    erased = erasures.read(shelf)
    for version in book.versions:
        if only is None or version.number in only:
            of_it = about.get(version.number, [])
            started = known.get(version.tags.get("ftcore.run", ""))
            name = f"version {version.number}"
            try:
                found += _version(shelf, version, [*([started] if started else []), *of_it])
                found += _sealed(shelf, tracking, version, of_it, erased)
                if version.number in book.model.aliases.values():
                    found += _place(tracking, version, of_it)
            except FtcoreError as error:  # one that cannot be compared hides no other
                if error.retryable:
                    raise
                what = f"{name} cannot be compared with the ledger: {error.args[0]}"
                found.append(Break(None, name, what, canonical(dict(version.tags))))
    return audit.acknowledged([*broken, *sorted(found, key=lambda one: (one.n is None, one.n or 0))])


def _version(shelf: RecipeStore, version: Version, lines: Lines) -> Iterator[Break]:
    """Verdict, answers, promotion and notes of a version."""
    tags = {key.removeprefix("ftcore."): value for key, value in version.tags.items()}
    yield from _verdict(shelf, version, approvals.judged(lines, version.number))
    yield from _answers(version, lines)
    yield from _promotion(shelf, version, tags, lines)
    yield from _notes(version, lines)


def _notes(version: Version, lines: Lines) -> Iterator[Break]:
    """Whether MLflow tells who rejected a version or rolled it back as the ledger does."""
    for key, kind, number in (
        (versions.REJECTED, "reject", "version"),
        (versions.ROLLED_BACK, "rollback", "instead_of"),
    ):
        decided = [
            line
            for line in lines
            if ((line["kind"], line.get(number)) == (kind, version.number) and line["decision"] != "abandoned")
            or (line["kind"], line["decision"], line.get("version")) == ("promote", "promoted", version.number)
        ]
        last = decided[-1] if decided and decided[-1]["kind"] == kind else None
        yield from _note(f"version {version.number}", key, version.tags.get(f"ftcore.{key}", ""), last)


def _verdict(shelf: RecipeStore, version: Version, line: Mapping[str, Any]) -> Iterator[Break]:
    """Whether a version's verdict in MLflow and in the store is the ledger's."""
    name, n = f"version {version.number}", line.get("n")
    word, digest = version.tags.get("ftcore.verdict", ""), version.tags.get("ftcore.verdict.sha256", "")
    if not line:
        if word:
            what = f"{name} is tagged with the verdict {word!r}, and the ledger has no line of one"
            yield Break(None, name, what, f"verdict {word}")
        return
    there = f"gate of {line['run_id']}"
    if digest != line.get("verdict_sha256", digest) or word != line["decision"]:
        what = f"the verdict of {name} in MLflow ({word or 'none'}) is not the ledger's ({line['decision']})"
        yield Break(n, there, what, f"verdict {word} {digest}")
    if (reason := version.tags.get("ftcore.verdict.reason", "")) != line["reason"][:5000]:
        what = f"the verdict of {name} has another reason in MLflow than in the ledger: {reason[:80]!r}"
        yield Break(n, there, what, f"reason {reason}")
    champion, other = str(line.get("champion") or ""), version.tags.get("ftcore.verdict.champion", "")
    if "champion" in line and other != champion:
        yield Break(
            n, there, f"{name} was judged against another champion than MLflow's tag names", f"champion {other}"
        )
    path = shelf.folder(line["run_id"], "gate") / "verdict.json"
    data = read_bytes(path)
    if data is None:
        if (path.parent / "record.json").exists():
            yield Break(n, "verdict.json", f"{shelf.relative(path)} is missing", "")
        return
    if (found := sha256(data)) != line.get("verdict_sha256"):
        yield Break(n, "verdict.json", f"{shelf.relative(path)} is not the verdict that the ledger has", found)


def _answers(version: Version, lines: Lines) -> Iterator[Break]:
    """Whether the tags of a version show the answers that the ledger has, and no others."""
    found = approvals.of(lines, version.number, version.tags)
    numbers = {
        same_person(line["by"]): line.get("n") for line in lines if line["kind"] == approvals.KIND and "by" in line
    }
    left = {key: value for key, value in version.tags.items() if key.startswith(f"ftcore.{approvals.TAG}")}
    name = f"version {version.number}"
    for one in found:
        shown, n = left.pop(f"ftcore.{one.key}", None), numbers.get(same_person(one.person))
        if not one.witness:  # of an earlier version, whose tags are written otherwise
            continue
        line, key = f"approve of {one.run_id}", f"{name}: {one.key}"
        if shown is None:
            yield Break(n, line, f"{name} has lost the tag of the answer of {one.person}", key)
        elif shown != approvals.shown(one):
            what = f"the tag of the answer of {one.person} about {name} was changed"
            yield Break(n, line, what, f"{key} {shown}")
    for key in sorted(left):
        if left[key]:
            what = f"{name} has the tag {key}, and the ledger has no such answer: {left[key][:80]}"
            yield Break(None, key, what, f"{name}: {left[key]}")


def _promotion(shelf: RecipeStore, version: Version, tags: Mapping[str, str], lines: Lines) -> Iterator[Break]:
    """Whether tags and record of a promotion are the ledger's."""
    name = f"version {version.number}"
    promoted = [
        line
        for line in lines
        if (line["kind"], line["decision"], line.get("version")) == ("promote", "promoted", version.number)
    ]
    if not promoted:
        if tags.get("promoted_at"):
            what = f"{name} is tagged as promoted, and the ledger has no line of it"
            yield Break(None, name, what, f"promoted {tags['promoted_at']}")
        return
    line = promoted[-1]
    there = f"promote of {line['run_id']}"
    told = {
        "promoted_by": line.get("by"),
        "approved_by": line.get("approved_by"),
        "promoted_at": line.get("decided_at"),
    }
    known = "decided_at" in line  # those of earlier versions do not tell all of it
    wrong = [key for key, value in told.items() if known and value is not None and tags.get(key, "") != value]
    if wrong:
        what = f"{name} has another {' and '.join(wrong)} than the ledger"
        yield Break(line.get("n"), there, what, canonical({key: tags.get(key) for key in wrong}))
    path = shelf.folder(line["run_id"], "promote") / "record.json"
    try:
        record = shelf.record(line["run_id"], "promote")
    except (FtcoreError, ValidationError):
        what = f"the record of promote in run {line['run_id']} cannot be read"
        yield Break(line.get("n"), "record.json", what, sha256(read_bytes(path) or b""))
        return
    figures = record.figures if record and record.proceed and "version" in record.figures else {}
    if figures and any(figures.get(key) != line.get(key) for key in ("version", "previous", "approved_by")):
        what = f"the record of promote in run {line['run_id']} is not what the ledger says"
        yield Break(line.get("n"), "record.json", what, sha256(read_bytes(path) or b""))


def _note(what: str, key: str, text: str, line: Mapping[str, Any] | None) -> Iterator[Break]:
    """Whether a note of who decided against something, and when, is the ledger's."""
    note = mapping(text)
    by, at, reason = (str(note.get(part) or "") for part in ("by", "at", "reason"))
    by = by or text[:80]
    words = {versions.HOLD: "held"}.get(key, key.replace("_", " "))
    if line is None:
        if text:
            told = f"{what} is tagged as {words} by {by}, and the ledger has no line of it"
            yield Break(None, what, told, f"{key} {text}")
        return
    told = f"{what} is {words} by {line['by']}, and MLflow's tag names {by or 'no person'}"
    if by == line.get("by") and at == line.get("decided_at", at):
        told = f"{what} is {words} for another reason than MLflow's tag gives" if reason not in line["reason"] else ""
    if told:
        yield Break(line.get("n"), f"{line['kind']} of {line['run_id']}", told, f"{key} {text}")


def _model(book: ModelSummary, lines: Lines) -> Iterator[Break]:
    """Whether the registered model's tags and aliases are the ledger's."""
    tags = {key.removeprefix("ftcore."): value for key, value in book.model.tags.items()}
    crowned = [line for line in lines if crowns(line)]
    if any("decided_at" in line for line in crowned) and not tags.get(HEAD_TAG):
        yield Break(crowned[-1].get("n"), HEADS, "the registered model has lost the ledger's newest line", "")
    yield from _hold(book.model, lines)
    champion: int | None = None
    previous: int | None = None
    known = {version.number for version in book.versions}
    for line in crowned:
        champion = line.get("version")
        if line["kind"] == "rollback":
            previous = line.get("previous", previous) if "previous" in line else book.model.aliases.get(PREVIOUS)
        elif line["kind"] == "promote" and line.get("previous") not in (None, champion):
            previous = line["previous"]
    n = crowned[-1].get("n") if crowned else None
    for alias, number in ((CHAMPION, champion), (PREVIOUS, previous)):
        if crowned and book.model.aliases.get(alias) != number and number in {None, *known}:
            there = _named(book.model.aliases.get(alias))
            yield Break(n, alias, f"{alias} is {there} in MLflow, and {_named(number)} by the ledger", there)
    newest = [line for line in lines if (line["kind"], line.get("candidate")) == ("gate", book.model.newest)]
    turned_down = [line for line in lines if (line["kind"], line.get("version")) == ("reject", book.model.newest)]
    if newest and not turned_down and CANDIDATE not in book.model.aliases:
        told = f"MLflow has no candidate, and {_named(book.model.newest)} is"
        yield Break(newest[-1].get("n"), CANDIDATE, told, "")
    if (candidate := book.model.aliases.get(CANDIDATE)) not in (None, book.model.newest):
        told = f"candidate is {_named(candidate)} in MLflow, and version {book.model.newest} is the newest"
        yield Break(None, CANDIDATE, told, told)


def _hold(model: Model, lines: Lines) -> Iterator[Break]:
    """Whether promotion is held in MLflow as it is by the ledger."""
    held = [line for line in lines if line["kind"] in HOLDS and line["decision"] != "abandoned"]
    last = held[-1] if held and held[-1]["kind"] != "release" else None
    yield from _note("promotion", versions.HOLD, model.tags.get(f"ftcore.{versions.HOLD}", ""), last)


def _sealed(
    shelf: RecipeStore, tracking: Tracking, version: Version, lines: Lines, erased: Iterable[erasures.Erasure]
) -> Iterator[Break]:
    """Whether what a version's newest verdict was made of is still what it was."""
    line = approvals.judged(lines, version.number)
    if not line or "records" not in line:
        return
    n, name = line.get("n"), f"version {version.number}"
    for record, path in _records(shelf, version, line["run_id"]):
        digest = line["records"].get(record)
        data = read_bytes(path)
        there = "" if data is None else sha256(data)
        if digest and digest != there and not erasures.between(erased, shelf.relative(path), digest, there):
            yield Break(n, record, f"{shelf.relative(path)} {'was changed' if there else 'is missing'}", there)
    yield from _recipe(shelf, line, erased)
    late = (shelf.folder(line["run_id"], step) / "record.json" for step in ("gate", "approve", "promote"))
    early = (path for _, path in _records(shelf, version, line["run_id"]) if path.name == "record.json")
    for path in (*early, *late):
        if path.exists() and not shelf.is_ours(path):
            what = f"{shelf.relative(path)} was changed, or is none of the platform's"
            yield Break(n, path.parent.name, what, sha256(read_bytes(path) or b""))
    run = registered.run_tags(tracking, version.run)
    # A training that went on after an update has the commit of its beginning in its run: the version's own counts.
    now = {**run, **{key: version.tags.get(key) for key in FACTS}, "mlflow_run": version.run}
    env = {key for key in run if key.startswith("env.")} | {key for key in FACTS if key in version.tags}
    for key in sorted({*line["facts"], *env}):
        if line["facts"].get(key) != now.get(key):
            yield Break(n, key, f"the tag {key} of {name} was changed", str(now.get(key)))
    hashes = registered.hashes(run, but=CHANGING)
    tagged = served.tagged(version)
    for artefact in sorted({*line["artefacts"], *tagged, *hashes}):
        then = line["artefacts"].get(artefact, "")
        place = erasures.in_mlflow(version.run, artefact)
        logged = hashes.get(artefact, "")
        explained = logged == then or (then and erasures.between(erased, place, then, logged))
        if tagged.get(artefact, "") != then or not explained:
            what = f"the hash of artefact {artefact} of {name} is not the one that was judged"
            yield Break(n, artefact, what, f"{tagged.get(artefact, '')} {logged}")


def _recipe(shelf: RecipeStore, line: Mapping[str, Any], erased: Iterable[erasures.Erasure]) -> Iterator[Break]:
    """Whether the recipe that a version's run went by is still kept as it was."""
    wanted, place = line["facts"].get(run_recipe.TAG), shelf.folder(line["run_id"], run_recipe.FILE)
    if not wanted:
        return
    names = (name for name in names_in(place.parent) if name.startswith("recipe"))
    kept = {name: sha256(data) for name, data in read_many(place.parent, names).items()}
    explained = (
        erasures.between(erased, shelf.relative(place.parent / name), wanted, found) for name, found in kept.items()
    )
    if wanted not in kept.values() and not any(explained):
        there = kept.get(run_recipe.FILE, "")
        told = f"{shelf.relative(place)} {'was changed' if there else 'is missing'}"
        yield Break(line.get("n"), run_recipe.FILE, told, there)


def _place(tracking: Tracking, version: Version, lines: Lines) -> Iterator[Break]:
    """Whether MLflow's own loaders load what was judged: they go by the version's source alone."""
    line = approvals.judged(lines, version.number)
    judged = line.get("artefacts", ())
    if judged and (place := registered.misplaced(tracking, version, judged)):
        what = f"the source of version {version.number} in MLflow is {place}, which is no artefact of its run"
        yield Break(line.get("n"), "source", what, place)


def _records(shelf: RecipeStore, version: Version, run_id: str) -> Iterator[tuple[str, Any]]:
    """Files that a version's verdict was made of, by name."""
    snapshot = version.tags.get("ftcore.snapshot", "")
    place = shelf.root / "snapshots" / snapshot / "manifest.json" if snapshot else None
    if place is not None:
        yield "snapshot/manifest.json", place
    made = str(mapping(read_bytes(place) if place is not None else None).get("run_id") or "")
    for chain, run, steps in (("data", made, DATA), ("finetune", run_id, FINETUNE)):
        for step in steps:
            if RUN_ID.match(run):
                yield f"{chain}/{step}", shelf.folder(run, step) / "record.json"
    yield "evaluation.json", shelf.folder(run_id, "evaluate") / "evaluation.json"


def _named(number: int | None) -> str:
    return "nobody" if number is None else f"version {number}"
