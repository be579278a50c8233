"""Changes of the registry that a crash cannot leave half done.

A change touches aliases and tags in MLflow and a line in the ledger, and no transaction spans them. So its *intent* is
written first, with everything that will be true in the end; then tags, aliases, the ledger line, and the intent goes.
Whoever finds an intent carries it out again from the start: each of its writes gives the same result twice. It is
signed with the platform's key: what somebody else leaves there is never carried out. It says behind which line of the
ledger it was made: one that somebody kept and puts back later is out of date, and is not carried out either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ftcore.errors import DamagedFileError, FtcoreError, TransientError
from ftcore.recipe.canonical import canonical
from ftcore.registry import served
from ftcore.store import appending, trail
from ftcore.store.files import read_bytes, set_aside
from ftcore.store.store import log, write_json
from ftcore.tracking import registered
from ftcore.tracking.client import CHAMPION, Tracking

if TYPE_CHECKING:
    from upath import UPath

    from ftcore.store.slots import Slot
    from ftcore.store.store import RecipeStore

FOLDER = served.INTENTS
HEAD_TAG = served.HEAD_TAG


CHANGES = ("promote", "rollback", "hold", "release", "reject", "registry")
"""Kinds of the ledger's lines that change what an intent was decided on."""


class Intent(BaseModel):
    """A change of the registry, as it will be when it is done."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: str
    """Kind of the ledger's line: ``promote``, ``rollback``, ``reject``, ``hold``, ``release`` or ``registry``."""
    run_id: str
    """Run that decided, or a name of its own where a person did by hand."""
    decision: str
    reason: str
    by: str
    at: datetime
    """UTC."""
    was: int | None = None
    """Champion when this was decided."""
    version: int | None = None
    """Version that the tags go to."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Tags of the version, without ``ftcore.``."""
    model_tags: dict[str, str | None] = Field(default_factory=dict)
    """Tags of the registered model, without ``ftcore.``; None takes one away."""
    aliases: dict[str, int | None] = Field(default_factory=dict)
    """Who holds an alias in the end; None takes it away. Set in this order."""
    figures: dict[str, Any] = Field(default_factory=dict)
    """What else the ledger's line says."""
    after: int | None = None
    """Number of the ledger's newest line when this began, -1 where there was none; ``begin`` writes it."""
    after_hash: str = ""
    """Hash of that line."""

    @property
    def name(self) -> str:
        """File name without its end, that of the ledger's line."""
        return f"{self.kind}--{self.run_id}"


def carry_out(shelf: RecipeStore, tracking: Tracking, intent: Intent) -> dict[str, Any]:
    """Do what is intended, the intent first and the ledger's line last; the caller holds the registry's lock.

    Returns:
        The ledger's line.

    Raises:
        TransientError: MLflow went away, or what was set does not stand; the intent stays, and the next change or
            ``ftcore doctor`` finishes it.
    """
    return _finish(shelf, tracking, intent, begin(shelf, intent))


def begin(shelf: RecipeStore, intent: Intent) -> UPath:
    """Write an intent down, signed with the platform's key: whoever finds it carries it out. Returns its file.

    Raises:
        DamagedFileError: the ledger's chain was cut off, so that its line could not be added either.
    """
    appending.begin(shelf.chain)
    ring, last = shelf.chain.ring, trail.newest(shelf.chain)
    known = {"after": last.n if last else -1, "after_hash": last.hash if last else ""}
    stated = intent.model_dump(mode="json") | known
    key, signature = ring.sign(served.intent_message(shelf, stated))
    path = shelf.root / FOLDER / f"{intent.name}.json"
    write_json(path, {"intent": stated, "key": key, "signature": signature})
    return path


def pending(shelf: RecipeStore) -> Iterator[tuple[UPath, Intent | None]]:
    """Intents that have begun and not ended, by name; None for a file that is none, or that somebody else wrote."""
    folder = shelf.root / FOLDER
    if not folder.exists():
        return
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.endswith(".json") and path.name[0] != ".":
            yield path, _read(shelf, path)


def _read(shelf: RecipeStore, path: UPath) -> Intent | None:
    try:
        intent = Intent.model_validate(served.intended(shelf, read_bytes(path) or b""))
    except ValidationError:
        return None
    return intent if path.name == f"{intent.name}.json" else None


def settle(shelf: RecipeStore, tracking: Tracking) -> list[str]:
    """Finish what a crash left half done; the caller holds the registry's lock.

    Returns:
        What was done, a sentence each.
    """
    return [_settle(shelf, tracking, path, intent) for path, intent in pending(shelf)]


def _settle(shelf: RecipeStore, tracking: Tracking, path: UPath, intent: Intent | None) -> str:
    if intent is None:
        log.warning("%s in the store is no intent that this platform signed: nothing of it is carried out", path.name)
        set_aside(path, "unsigned")
        return f"{path.name} was no intent of this platform, and is set aside as {path.name}.unsigned"
    there = line_of(shelf, intent)
    if there is not None or shelf.line(intent.kind, intent.run_id) is not None:
        if there is not None:
            shelf.chain.restore(there.n)
        witness(shelf, tracking)
        path.unlink()
        return f"{intent.kind} of run {intent.run_id} was done"
    overtaken = out_of_date(shelf, intent) or _overtaken(shelf, tracking, intent)
    if not overtaken:
        try:
            _finish(shelf, tracking, intent, path)
        except FtcoreError as error:
            if error.retryable:
                raise
            overtaken = str(error.args[0])
        else:
            said = f"{intent.kind} of run {intent.run_id} was half done and is finished: {intent.reason}"
            log.warning("%s", said)
            return said
    reason = f"left half done and given up: {overtaken}"
    shelf.add_to_ledger(intent.kind, intent.run_id, "abandoned", reason, by=intent.by, intended=intent.reason)
    _take_back(tracking, intent)
    path.unlink()
    return f"{intent.kind} of run {intent.run_id} was {reason}"


def line_of(shelf: RecipeStore, intent: Intent) -> Slot | None:
    """The line of an intent in the ledger's chain, also where its file was taken away; None where it is not done.

    Raises:
        DamagedFileError: the ledger's chain was cut off.
    """
    after = -1 if intent.after is None else intent.after
    return next((slot for slot in trail.behind(shelf.chain, after) if slot.name == f"{intent.name}.json"), None)


def out_of_date(shelf: RecipeStore, intent: Intent) -> str:
    """Why an intent is not what was decided last: the ledger went on since it began; empty where it did not.

    Raises:
        DamagedFileError: the ledger's chain was cut off.
    """
    if intent.after is None:
        return "it does not say behind which line of the ledger it began"
    first = shelf.chain.signed(intent.after)
    if first is not None and first.hash != intent.after_hash:
        return f"line {intent.after} of the ledger is another than when it began"
    since = next((slot for slot in trail.behind(shelf.chain, intent.after) if _changes(slot, intent)), None)
    return f"line {since.n} of the ledger ({since.line['kind']}) was written since it began" if since else ""


def told(shelf: RecipeStore, intent: Intent) -> tuple[str, str]:
    """What to say of an intent that has begun and not ended, and what to do about it."""
    what = f"{intent.kind} of run {intent.run_id} is half done"
    with suppress(DamagedFileError):  # the break is told by itself
        late = "" if line_of(shelf, intent) else out_of_date(shelf, intent)
        if late:
            return f"{what}, and {late}", "give it up; where no change was under way, find out who put it there"
    return f"{what} ({intent.reason})", "finish it, or abandon it where another version has become champion since"


def _changes(slot: Slot, intent: Intent) -> bool:
    """Whether a line changes what an intent was decided on, or says that such a line may be lost."""
    kind, decision, about = (slot.line.get(key) for key in ("kind", "decision", "version"))
    if any(last > (intent.after or 0) for _, last in slot.lost):
        return True
    if kind == "gate":
        return intent.version is not None and slot.line.get("candidate") == intent.version
    if kind == "approve":
        return decision != "approved" and intent.version is not None and about == intent.version
    return kind in CHANGES and decision != "abandoned"


def _take_back(tracking: Tracking, intent: Intent) -> None:
    """Take the tags away that were set for a change that was given up."""
    if intent.version is not None and intent.tags:
        version = tracking.version(intent.version)
        set_by_it = [key for key, text in intent.tags.items() if version.tags.get(f"ftcore.{key}") == text]
        tracking.tag(version, dict.fromkeys(set_by_it, ""))
    tags = registered.model(tracking).tags
    held = [key for key, text in intent.model_tags.items() if text and tags.get(f"ftcore.{key}") == text]
    registered.tag_model(tracking, dict.fromkeys(held))


def _check(shelf: RecipeStore, tracking: Tracking, intent: Intent) -> None:
    """Read back what was set.

    Raises:
        TransientError: it is not what was intended: somebody else changes the registry at the same time.
    """
    model = registered.model(tracking)
    faults = [
        f"the alias {alias} is {_at(model.aliases.get(alias))} and was set to {_at(number)}"
        for alias, number in intent.aliases.items()
        if model.aliases.get(alias) != number
    ]
    faults += _unset(model.tags, intent.model_tags)
    if intent.version is not None and intent.tags:
        faults += _unset(tracking.version(intent.version).tags, intent.tags)
    known = served.by_ledger(shelf)
    if CHAMPION in intent.aliases and known and known.version not in (intent.was, intent.aliases[CHAMPION]):
        faults.append(f"version {known.version} became champion meanwhile, by the ledger")
    if faults:
        raise TransientError(
            f"{intent.kind} of run {intent.run_id} is not done: {'; '.join(faults)}",
            hint=f"another process changes the registry; ftcore doctor {shelf.name} --fix finishes or abandons it",
        )


def _unset(tags: Mapping[str, str], intended: Mapping[str, str | None]) -> list[str]:
    """Tags that are not what was intended, a sentence each."""
    there = {key: tags.get(f"ftcore.{key}", "") for key in intended}
    return [
        f"the tag ftcore.{key} is not what was set" for key, one in intended.items() if there[key] != str(one or "")
    ]


def _at(number: int | None) -> str:
    return "nowhere" if number is None else f"version {number}"


def _overtaken(shelf: RecipeStore, tracking: Tracking, intent: Intent) -> str:
    """Why it is too late to finish: somebody else has changed the champion meanwhile."""
    if CHAMPION not in intent.aliases:
        return ""
    allowed, known = (intent.was, intent.aliases[CHAMPION]), served.by_ledger(shelf)
    if known and known.version not in allowed:
        return f"version {known.version} became champion meanwhile"
    champion = registered.model(tracking).aliases.get(CHAMPION)
    return "" if champion in allowed else f"version {champion} became champion meanwhile"


def _finish(shelf: RecipeStore, tracking: Tracking, intent: Intent, path: UPath) -> dict[str, Any]:
    """Set what is intended, see that it stands, and only then write the line that lets it serve."""
    if intent.model_tags:
        registered.tag_model(tracking, intent.model_tags)
    if intent.version is not None and intent.tags:
        tracking.tag(tracking.version(intent.version), intent.tags)
    for alias, number in intent.aliases.items():
        if number is None:
            registered.drop_alias(tracking, alias)
        else:
            tracking.set_alias(alias, tracking.version(number))
    _check(shelf, tracking, intent)
    figures = {"by": intent.by, "version": intent.version, "decided_at": intent.at.isoformat(), **intent.figures}
    line = shelf.add_to_ledger(intent.kind, intent.run_id, intent.decision, intent.reason, **figures)
    try:
        witness(shelf, tracking)
    except TransientError as error:  # it is done, and the next change says so on the model
        log.warning("%s", error)
    else:
        path.unlink(missing_ok=True)
    return line


def witness(shelf: RecipeStore, tracking: Tracking) -> None:
    """Keep the ledger's newest line on the registered model, so that a ledger that ends before it was cut off."""
    last = shelf.chain.newest()
    if last:
        registered.tag_model(tracking, {HEAD_TAG: canonical(last.head)})
