"""Subjects that are forgotten: one file each in ``STORE/RECIPE/state/forgotten/``, honoured by every ingest.

An entry names nobody. It holds a keyed hash of the subject's key, which a later row can be compared with, and ids of
rows. The hashes are keyed with a salt made at random for the recipe and, where it is set when the first subject is
forgotten, with the secret ``FTCORE_PSEUDONYM_KEY``: without the secret, who can read the store can still test a guess.
"""

from __future__ import annotations

import hmac
import html
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from ftcore.data.snapshot import TEXTS, source_key, text_key
from ftcore.errors import ConfigurationError
from ftcore.recipe.canonical import canonical, sha256
from ftcore.store.store import RecipeStore, log, read_json, write_json

if TYPE_CHECKING:
    import pyarrow as pa
    from upath import UPath

SECRET_VARIABLE = "FTCORE_PSEUDONYM_KEY"  # noqa: S105 - its name, not its value
SALT = "salt.json"
WORD = re.compile(r"[\w@+.\-]+")
REMEMBERED = 2**16
"""Words and groups whose answers are kept: most rows repeat those of others."""


class Entry(BaseModel):
    """One forgotten subject."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    subject: str
    """Keyed hash of the subject's key, as a row's group is compared with it; names the file."""
    text: str = ""
    """Keyed hash of the key's words; empty where texts are not searched for it."""
    words: int = 0
    """How many words the key has."""
    reread: bool = False
    """Whether snapshots may hold the key under a mask: incremental sources are then read from the beginning, because
    rows carried over from a snapshot could not be told."""
    row_ids: tuple[str, ...] = ()
    """Rows that are the subject's whatever their group: of its key in each source, and those found when it was
    forgotten."""
    sources: tuple[str, ...] = ()
    """Sources in which the key was looked up as a row's own key."""
    at: datetime
    """When the subject was forgotten first, UTC."""
    reason: str = ""


@dataclass
class Suppression:
    """All forgotten subjects of a recipe, and how many of their rows were left out."""

    key: bytes
    entries: tuple[Entry, ...]
    suppressed: int = 0

    @property
    def state(self) -> str:
        """Hash of what is suppressed; empty where nothing is."""
        told = [one.model_dump(mode="json", exclude={"at", "reason"}) for one in self.entries]
        return sha256(canonical(told)) if told else ""

    @property
    def rereads(self) -> list[str]:
        """Subjects because of which incremental sources are read from the beginning, once."""
        return [one.subject for one in self.entries if one.reread]

    def keep(self, rows: pa.Table) -> pa.Table:
        """The rows that are no forgotten subject's."""
        import pyarrow as pa

        if not self.entries:
            return rows
        self._warn(rows)
        hit = self.matches(rows)
        self.suppressed += sum(hit)
        return rows.filter(pa.array([not one for one in hit], pa.bool_())) if any(hit) else rows

    def matches(self, rows: pa.Table) -> list[bool]:
        """Whether each row is a forgotten subject's: by its id, its group, or a text."""
        columns = (rows[name].to_pylist() for name in ("row_id", "source", "group"))
        hit = [
            row in self._row_ids or (group is not None and self._is_subject(source, group))
            for row, source, group in zip(*columns, strict=True)
        ]
        for name in [n for n in TEXTS if self._texts and n in rows.column_names]:
            hit = [one or self._in(text or "") for one, text in zip(hit, rows[name].to_pylist(), strict=True)]
        return hit

    def hash(self, kind: str, text: str) -> str:
        """Keyed hash of a text: one for what differs only in case, width or spacing, or as ``12`` and ``12.0``."""
        folded = text_key(text) if kind == "text" else source_key(text_key(text))
        return hmac.digest(self.key, f"{kind}\x00{folded}".encode(), "sha256").hex()[:32]

    def entry(self, key: str, at: datetime, *, in_text: bool, **more: Any) -> Entry:
        """An entry for a subject's key, which it does not hold."""
        parts = words(key) if in_text else []
        text = self.hash("text", " ".join(parts)) if parts else ""
        return Entry(subject=self.hash("subject", key), text=text, words=len(parts), at=at, **more)

    @cached_property
    def _row_ids(self) -> frozenset[str]:
        return frozenset(row for one in self.entries for row in one.row_ids)

    @cached_property
    def _texts(self) -> dict[int, set[str]]:
        """Hashes to look for by their number of words."""
        sizes = {one.words for one in self.entries if one.text}
        return {size: {one.text for one in self.entries if one.words == size and one.text} for size in sizes}

    @cached_property
    def _is_subject(self) -> Callable[[str | None, str], bool]:
        subjects = {one.subject for one in self.entries}

        @lru_cache(REMEMBERED)
        def told(source: str | None, group: str) -> bool:
            forms = {group, group.removeprefix(f"{source}:")}
            return any(self.hash("subject", form) in subjects for form in forms)

        return told

    @cached_property
    def _is_told(self) -> Callable[[int, str], bool]:
        return lru_cache(REMEMBERED)(lambda size, text: self.hash("text", text) in self._texts[size])

    def _in(self, text: str) -> bool:
        parts = words(text)
        return any(
            self._is_told(size, " ".join(parts[start : start + size]))
            for size in self._texts
            for start in range(len(parts) - size + 1)
        )

    def _warn(self, rows: pa.Table) -> None:
        for source in rows["source"].unique().to_pylist():
            if source not in self._warned and any(source not in one.sources for one in self.entries):
                log.warning("%s is newer than a forgotten subject, recognized there by group and text only", source)
            self._warned.add(source)

    @cached_property
    def _warned(self) -> set[str]:
        return set()


def words(text: str) -> list[str]:
    """Words as they are compared: folded, without punctuation around them; an address is one word."""
    folded = text_key(html.unescape(text) if "&" in text else text)
    return [word for one in WORD.findall(folded) if (word := one.strip("+.-"))]


def load(shelf: RecipeStore, environment: Mapping[str, str]) -> Suppression:
    """Everybody who was forgotten in this recipe.

    Raises:
        ConfigurationError: the secret that the hashes were made with is not in the environment.
    """
    salt = read_json(_folder(shelf) / SALT)
    if salt is None:
        return Suppression(b"", ())
    files = sorted((f for f in _folder(shelf).iterdir() if f.name.endswith(".json")), key=lambda f: f.name)
    entries = [Entry.model_validate(read_json(f)) for f in files if f.name[0] != "." and f.name != SALT]
    return Suppression(_key(salt, environment), tuple(entries))


def opened(shelf: RecipeStore, environment: Mapping[str, str], *, keep: bool) -> Suppression:
    """The same, with a salt made where there is none yet; ``keep`` stores it."""
    if read_json(_folder(shelf) / SALT) is None:
        secret = environment.get(SECRET_VARIABLE, "")
        salt = {"salt": secrets.token_hex(16), "secret": _check(secret)}
        if not keep:
            return Suppression(_key(salt, environment), ())
        write_json(_folder(shelf) / SALT, salt)
    return load(shelf, environment)


def add(shelf: RecipeStore, entry: Entry) -> Entry:
    """Write an entry, or widen the one that is there; its time and reason stay those of the first."""
    path = _folder(shelf) / f"{entry.subject}.json"
    before = read_json(path)
    if before is not None:
        old = Entry.model_validate(before)
        entry = old.model_copy(
            update={
                "text": old.text or entry.text,
                "words": old.words or entry.words,
                "reread": old.reread or entry.reread,
                "row_ids": tuple(sorted({*old.row_ids, *entry.row_ids})),
                "sources": tuple(sorted({*old.sources, *entry.sources})),
            }
        )
    if before is None or entry != old:
        write_json(path, entry.model_dump(mode="json"))
    return entry


def _folder(shelf: RecipeStore) -> UPath:
    return shelf.root / "state" / "forgotten"


def _check(secret: str) -> str:
    return hmac.digest(secret.encode(), b"ftcore forget", "sha256").hex()[:16] if secret else ""


def _key(salt: Mapping[str, str], environment: Mapping[str, str]) -> bytes:
    secret = environment.get(SECRET_VARIABLE, "") if salt["secret"] else ""
    if _check(secret) != salt["secret"]:
        raise ConfigurationError(
            f"forgotten subjects can be recognized only with the {SECRET_VARIABLE} that was set then",
            hint=f"set {SECRET_VARIABLE} as it was when the first subject was forgotten",
        )
    return hmac.digest(secret.encode(), bytes.fromhex(salt["salt"]), "sha256")
