"""A number of the ledger's chain: its line, the hash of the line before it, and the platform's signature."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ftcore.recipe.canonical import canonical, sha256
from ftcore.store import keys
from ftcore.store.files import as_json, mapping
from ftcore.store.keys import Keyring

FOLDER, HEAD = "chain", "head.json"
ACKNOWLEDGE = "acknowledge"
"""Kind of the line that says who goes on although something is lost, and begins a new segment of the chain."""

PROMOTING_DECISIONS = {"promoted": "promote", "rolled back": "rollback", "lost": "registry", "taken over": "registry"}
"""Decisions of the ledger that say who is champion, with the kind of their lines."""


@dataclass(frozen=True)
class Slot:
    """A number of the chain, with its line."""

    recipe: str
    name: str
    """File name of the line."""
    line: dict[str, Any]
    key: str = ""
    """Public key that signed it, in hex."""
    signature: str = ""

    @property
    def n(self) -> int:
        """Its number."""
        return int(self.line["n"])

    @cached_property
    def hash(self) -> str:
        """SHA-256 of what is signed."""
        return sha256(canonical({"recipe": self.recipe, "name": self.name, "line": self.line}))

    @property
    def data(self) -> bytes:
        """The bytes of its file."""
        parts = {"recipe": self.recipe, "name": self.name, "line": self.line}
        return as_json(parts | {"key": self.key, "signature": self.signature})

    @property
    def head(self) -> dict[str, Any]:
        """What is kept of it elsewhere, to tell whether the chain was cut off."""
        return {"n": self.n, "hash": self.hash, "key": self.key, "signature": self.signature}

    @property
    def lost(self) -> list[tuple[int, int]]:
        """First and last of the numbers that a line says are lost, and after which it begins anew."""
        told = self.line.get("lost") if self.line.get("kind") == ACKNOWLEDGE else None
        return [(int(first), int(last)) for first, last in told or ()]

    def goes_on_after(self, n: int) -> bool:
        """Whether this line says that a number before it is lost, and the chain goes on all the same."""
        return any(first <= n <= last for first, last in self.lost)

    @property
    def crowns(self) -> bool:
        """Whether it says who is champion."""
        return crowns(self.line)

    def sign(self, ring: Keyring) -> Slot:
        """The same, signed."""
        key, signature = ring.sign(message(self.recipe, self.n, self.hash))
        return Slot(self.recipe, self.name, self.line, key, signature)

    def fault(self, trusted: frozenset[str]) -> str:
        """What is wrong with its signature, as a half sentence; empty where it holds."""
        if not keys.signed(self.key, self.signature, message(self.recipe, self.n, self.hash)):
            return "is not signed by the platform, or was changed"
        if self.key not in trusted:
            return f"is signed by the key {self.key[:16]}, which is not trusted here"
        return ""


def crowns(line: Mapping[str, Any]) -> bool:
    """Whether a line says who is champion."""
    return PROMOTING_DECISIONS.get(str(line.get("decision")), "") == line.get("kind")


def message(recipe: str, n: int, digest: str) -> bytes:
    """What is signed for a number."""
    return f"ftcore.ledger/1\n{recipe}\n{n}\n{digest}".encode()


def read(data: bytes, recipe: str) -> Slot | None:
    """A number's file; None where it is not written as the platform writes it, to the last byte."""
    try:
        slot = Slot(**mapping(data))
        n, before, _ = slot.line["n"], slot.line["before"], slot.lost
        texts = [slot.recipe, slot.name, before, slot.key, slot.signature, slot.line["kind"], slot.line["decision"]]
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    fits = slot.recipe == recipe and type(n) is int and n >= 0 and all(isinstance(text, str) for text in texts)
    return slot if fits and slot.data == data else None


def number(n: int) -> str:
    """File name of a number."""
    return f"{n:08d}.json"


def position(name: str) -> int | None:
    """The number that a file name stands for; None for any other name."""
    return int(name[:8]) if re.fullmatch(r"[0-9]{8}\.json", name) else None


def order(line: Mapping[str, Any]) -> tuple[int, str, str]:
    """Where a line stands: by its number, whatever the clock was; those without one first, by their time."""
    n = line.get("n")
    return n if type(n) is int else -1, str(line.get("at")), str(line.get("kind"))


def signed_head(text: bytes | str | None, recipe: str) -> dict[str, Any] | None:
    """A head that somebody signed; None for anything else."""
    head = mapping(text)
    n, parts = head.get("n"), [head.get(name) for name in ("hash", "key", "signature")]
    if type(n) is not int or not all(isinstance(part, str) for part in parts):
        return None
    return head if keys.signed(head["key"], head["signature"], message(recipe, n, head["hash"])) else None
