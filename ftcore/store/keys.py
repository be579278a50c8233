"""The platform's key: an Ed25519 pair that signs the ledger and evidence, made on first use.

::

    FTCORE_HOME/keys/platform.pem         the private key, readable by its owner alone; FTCORE_SIGNING_KEY names another
    FTCORE_HOME/keys/platform.pem.pub     the public key, for those who verify
    FTCORE_HOME/keys/*.pub                other public keys that this machine trusts: the keys before a rotation

A key is known by its 32 public bytes in hex.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError
from ftcore.recipe.canonical import canonical
from ftcore.store.files import names_in, write_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from upath import UPath

    from ftcore.settings import Settings

NAME = "platform.pem"
HINT = "ftcore keys new FILE makes one"


def ring(settings: Settings) -> Keyring:
    """The keys of this machine."""
    from upath import UPath

    return Keyring(settings.home / "keys", settings.signing_key, UPath(settings.store_root))


@dataclass(frozen=True)
class Keyring:
    """The key that this machine signs with, and those that it trusts."""

    folder: Path
    """``FTCORE_HOME/keys``."""
    named: Path | None = None
    """File that ``FTCORE_SIGNING_KEY`` names."""
    store: UPath | None = None
    """Root of the store: where a ledger is signed, the platform has a key already."""

    @property
    def private(self) -> Path:
        """File of the private key."""
        return self.named or self.folder / NAME

    def make(self) -> Path:
        """Make the platform's key where it never had one, and return its file; one that is there stays.

        Raises:
            FtcoreError: ``FTCORE_SIGNING_KEY`` names a file that is not there, or the platform's key is elsewhere.
        """
        if not self.private.exists():
            elsewhere = self.is_elsewhere
            if self.named:
                hint = self.bring if elsewhere else HINT
                raise FtcoreError(f"the key {self.named} of FTCORE_SIGNING_KEY is not there", hint=hint)
            if elsewhere:
                raise FtcoreError("the platform's private key is not on this machine", hint=self.bring)
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            create(self.private)
        return self.private

    @property
    def is_elsewhere(self) -> bool:
        """Whether the private key is missing although there was one: another in its place would be trusted nowhere."""
        known = self._is_signed() or any(self.folder.glob("*.pub")) or any((self.folder / "heads").glob("*.json"))
        return known and not self.private.exists()  # looked at last: whoever makes one writes it first

    @property
    def bring(self) -> str:
        """What to do where the private key is elsewhere."""
        lost = "one that is lost for good: ftcore keys new FILE, and name FILE in FTCORE_SIGNING_KEY"
        return f"bring the platform's private key (FTCORE_SIGNING_KEY or {self.folder / NAME}); {lost}"

    def _is_signed(self) -> bool:
        """Whether a ledger of the store is a chain, which nobody writes without a key."""
        there = self.store is not None and self.store.exists()
        return there and any(names_in(one / "ledger" / "chain") for one in self.store.iterdir())  # type: ignore[union-attr]

    def sign(self, message: bytes) -> tuple[str, str]:
        """The key and its signature of a message, both in hex.

        Raises:
            FtcoreError: there is no key, or the file holds none.
        """
        key = _read(self.private)
        return key.public_key().public_bytes_raw().hex(), key.sign(message).hex()

    def own(self) -> str:
        """The public key of the private one, in hex; empty where it is not here."""
        return _read(self.private).public_key().public_bytes_raw().hex() if self.private.exists() else ""

    def trusted(self) -> frozenset[str]:
        """The public keys that this machine trusts: its own, and those of the folder."""
        files = self.folder.glob("*.pub") if self.folder.is_dir() else ()
        return frozenset({self.own(), *(public(file) for file in files)} - {""})

    def seal(self, value: Mapping[str, Any]) -> str:
        """A value as text that ``opened`` takes, signed with the platform's key, which is made where there is none."""
        self.make()
        key, signature = self.sign(_sealed(value))
        return canonical({"value": value, "key": key, "signature": signature})

    def opened(self, text: str) -> dict[str, Any]:
        """The value of ``seal``.

        Raises:
            FtcoreError: it was not sealed by a key that is trusted here.
        """
        try:
            found = json.loads(text)
            value, key = dict(found["value"]), found["key"]
            ours = key in self.trusted() and signed(key, found["signature"], _sealed(value))
        except (ValueError, TypeError, KeyError):
            ours, value = False, {}
        if not ours:
            hint = "Airflow's workers and the steps need the same FTCORE_HOME/keys, or FTCORE_SIGNING_KEY"
            raise FtcoreError("what was handed over is not signed by the platform's key", hint=hint)
        return value

    def public_is_its_own(self) -> bool:
        """Whether the public key's file, which is handed to those who verify, is of the private one; or one is gone."""
        file = self.private.with_name(f"{self.private.name}.pub")
        if not (self.private.exists() and file.exists()):
            return True
        return public(file) == self.own()

    def write_public(self) -> None:
        """Write the public key's file anew, from the private one."""
        write_bytes(self.private.with_name(f"{self.private.name}.pub"), _public_pem(self.own()))

    def trust(self, key: str) -> None:
        """Trust a public key, in hex, from now on.

        Raises:
            FtcoreError: it is none.
        """
        key = named(key)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_bytes(self.folder / f"{key[:16]}.pub", _public_pem(key))

    def replacement(self) -> str:
        """The key that ``replace`` puts in place; made once, so that a rotation that was cut short goes on with it."""
        draft = self._draft
        if not draft.exists():
            _write_private(draft)
        return _read(draft).public_key().public_bytes_raw().hex()

    def replace(self) -> None:
        """Sign with the replacement from now on; the key before it is kept, and trusted."""
        old = self.own()
        new = self.replacement()
        self.trust(old)
        kept = self.private.with_name(f"{self.private.name}.{old[:16]}")
        if not kept.exists():
            os.link(self.private, kept)
        self._draft.replace(self.private)
        write_bytes(self.private.with_name(f"{self.private.name}.pub"), _public_pem(new))

    @property
    def _draft(self) -> Path:
        return self.private.with_name(f"{self.private.name}.next")


def create(path: Path) -> Path:
    """Make a key pair: the private key in ``path``, whole or not at all, the public one in ``path.pub``.

    Another process may be first: its key stays. Returns the public key's file.
    """
    public_file = path.with_name(f"{path.name}.pub")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    _write_private(draft)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    write_bytes(public_file, _public_pem(_read(path).public_key().public_bytes_raw().hex()))
    return public_file


def public(path: Path) -> str:
    """A public key, PEM, in hex.

    Raises:
        FtcoreError: it cannot be read or is no Ed25519 key.
    """
    from cryptography.hazmat.primitives import serialization as ways
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = ways.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise FtcoreError(f"the key {path} cannot be read: {error.strerror}", hint=HINT) from error
    except ValueError as error:
        raise FtcoreError(f"{path} is no public key in PEM", hint=HINT) from error
    if not isinstance(key, Ed25519PublicKey):
        raise FtcoreError(f"{path} is a key, but no Ed25519 key", hint=HINT)
    return key.public_bytes_raw().hex()


def named(text: str) -> str:
    """A public key as people name it: its file, PEM, or its 64 digits in hex.

    Raises:
        FtcoreError: it is none.
    """
    if (path := Path(text)).is_file():
        return public(path)
    if len(text) != 64 or set(text.lower()) - set("0123456789abcdef"):
        raise FtcoreError(f"{text!r:.80} is no public Ed25519 key in hex", hint="name its file, *.pub")
    return text.lower()


def signed(key: str, signature: str, message: bytes) -> bool:
    """Whether a key, in hex, signed a message."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _sealed(value: Mapping[str, Any]) -> bytes:
    return f"ftcore.sealed/1\n{canonical(value)}".encode()


def _read(path: Path) -> Ed25519PrivateKey:
    try:
        return _load(path.read_bytes())
    except OSError as error:
        raise FtcoreError(f"the key {path} cannot be read: {error.strerror}", hint=HINT) from error
    except (ValueError, TypeError) as error:
        raise FtcoreError(f"{path} is no private Ed25519 key in PEM without a password", hint=HINT) from error


@lru_cache(maxsize=8)
def _load(pem: bytes) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives import serialization as ways
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = ways.load_pem_private_key(pem, None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError
    return key


def _write_private(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as ways
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    made = Ed25519PrivateKey.generate()
    pem = made.private_bytes(ways.Encoding.PEM, ways.PrivateFormat.PKCS8, ways.NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())


def _public_pem(key: str) -> bytes:
    from cryptography.hazmat.primitives import serialization as ways
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    made = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
    return made.public_bytes(ways.Encoding.PEM, ways.PublicFormat.SubjectPublicKeyInfo)
