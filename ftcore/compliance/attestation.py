"""Signing a folder and proving it: an in-toto statement in a DSSE envelope, with an Ed25519 key.

The statement names every file with its SHA-256, in the order in which they are read; the envelope signs the statement.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.compliance import links
from ftcore.errors import FtcoreError, MissingExtraError
from ftcore.recipe.canonical import sha256
from ftcore.store.files import as_json, mapping, write_bytes

if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner, SSlibKey

STATEMENT, ENVELOPE = "statement.json", "evidence.dsse.json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"


def new_keys(path: Path) -> Path:
    """Make an Ed25519 key pair: the private key in ``path``, readable by its owner alone, the public in ``path.pub``.

    Returns:
        The public key's file.

    Raises:
        FtcoreError: one of the files is there already.
    """
    from cryptography.hazmat.primitives import serialization as ways
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = path.with_name(f"{path.name}.pub")
    if there := next((file for file in (path, public) if file.exists()), None):
        raise FtcoreError(f"{there} is there already", hint="a key that was replaced can sign nothing again")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(ways.Encoding.PEM, ways.PrivateFormat.PKCS8, ways.NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(private)
    write_bytes(public, key.public_key().public_bytes(ways.Encoding.PEM, ways.PublicFormat.SubjectPublicKeyInfo))
    return public


def check_private(path: Path) -> None:
    """Check that a key can sign, before anything is written.

    Raises:
        FtcoreError: it cannot be read or is no Ed25519 key.
    """
    _signer(path)


def seal(folder: Path, files: list[str], predicate: Mapping[str, Any], key: Path | None) -> bool:
    """Write the statement over some files of a folder and, where there is a key, the signed envelope.

    Returns:
        Whether it is signed.

    Raises:
        FtcoreError: the key cannot be read or is no Ed25519 key.
    """
    signer = _signer(key) if key else None
    subject = [{"name": name, "digest": {"sha256": sha256((folder / name).read_bytes())}} for name in files]
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": subject,
        "predicateType": links.V2,
        "predicate": dict(predicate),
    }
    payload = as_json(statement)
    write_bytes(folder / STATEMENT, payload)
    if signer is None:
        return False
    from securesystemslib.dsse import Envelope

    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(signer)
    write_bytes(folder / ENVELOPE, _written(envelope))
    return True


@dataclass(frozen=True)
class Proof:
    """What a folder of evidence is worth."""

    faults: tuple[str, ...]
    """What is not as it was collected, a sentence each, the first broken link first."""
    signature: str
    """``signed by KEY``, ``unsigned``, or ``not checked`` where no key was given."""
    gaps: tuple[str, ...] = ()
    """What was not there, did not hold or was not known when it was collected, a sentence each."""
    form: str = ""
    """What is to be said of the evidence's format; empty where it is the one of this version."""
    erased: tuple[str, ...] = ()
    """What was erased on a forgotten subject's request before it was collected, a sentence each."""
    about: str = ""
    """The version that it is evidence of, such as ``version 2 of sentiment``: a folder may bear any name."""
    acknowledged: tuple[str, ...] = ()
    """What did not hold when it was collected, with who went on all the same and why, a sentence each."""


def examine(folder: Path, key: Path | None = None) -> Proof:
    """Check a sealed folder: the signature, then every file in the statement's order, then the links between them.

    Args:
        folder: what ``ftcore evidence`` wrote.
        key: the signer's public key; without it files and links are checked against the statement that lies there,
            which proves nothing against somebody who wrote the statement anew.

    Raises:
        FtcoreError: there is no such folder, or the key cannot be read.
    """
    if not folder.is_dir():
        raise FtcoreError(f"there is no folder {folder}")
    if key is None:
        found, payload, signature = *_statement(folder), "unsigned"
        if (folder / ENVELOPE).is_file():
            signature = "not checked"
            envelope = _envelope(folder / ENVELOPE)
            if payload is not None and (envelope is None or envelope.payload != payload):
                found = [f"{STATEMENT} is not what {ENVELOPE} signs"]
    else:
        public = _public(key)
        found, payload = _signature(folder, public)
        signature = f"signed by {public.keyid[:16]}" if not found else "not proven"
    if payload is None or found:
        return Proof(tuple(found), signature)
    found, statement = _contents(folder, payload), mapping(payload)
    predicate = statement.get("predicate")
    told = predicate if isinstance(predicate, dict) else {}
    gaps = [str(one) for name in ("missing", "broken", "unknown") for one in _listed(told.get(name))]
    known = tuple(str(one) for one in _listed(told.get("acknowledged")))
    about = f"version {told.get('version')} of {told.get('recipe')}" if told.get("recipe") else ""
    rows = () if found else tuple(erased(folder))
    return Proof(tuple(found), signature, tuple(gaps), _form(statement), rows, about, known)


def _form(statement: Mapping[str, Any]) -> str:
    form = statement.get("predicateType")
    if form == links.V2:
        return ""
    if form == links.V1:
        return (
            f"this is the older format {form}: it holds no recipe, drift report, environment, licences or energy, and "
            "the ledger in it is no chain; the rest was checked"
        )
    return f"this version of ftcore does not know the format {form}: what it knows of the folder was checked"


def _statement(folder: Path) -> tuple[list[str], bytes | None]:
    """The statement of a folder as it lies there."""
    path = folder / STATEMENT
    if path.is_symlink() or not path.is_file():
        return [f"{STATEMENT} is {'a link' if path.is_symlink() else 'gone'}"], None
    return [], path.read_bytes()


def _listed(value: object) -> list[Any]:
    """A list of an unsigned statement, which anybody may have written; what is none is its own one item."""
    return value if isinstance(value, list) else [value] if value else []


def erased(folder: Path) -> list[str]:
    """What was erased from the evidence on a forgotten subject's request before it was collected, a sentence each.

    Only of a folder that ``examine`` finds nothing wrong with.
    """
    return [f"{one.place}: {one}" for one in links.erased(folder)]


def _signature(folder: Path, public: SSlibKey) -> tuple[list[str], bytes | None]:
    """Faults of the envelope, and the statement that it signs; None where it signs nothing of this key."""
    if not (folder / ENVELOPE).is_file():
        return [f"{ENVELOPE} is not there: this evidence is not signed"], None
    envelope = _envelope(folder / ENVELOPE)
    fault = f"{ENVELOPE} is no envelope" if envelope is None else _unsigned(envelope, public)
    if envelope is None or fault:
        return [fault], None
    # JSON and base64 have many spellings of one thing; only the one that was written counts, so that every byte does.
    if (folder / ENVELOPE).is_symlink() or (folder / ENVELOPE).read_bytes() != _written(envelope):
        return [f"{ENVELOPE} was changed: it is not written as it was signed"], None
    path = folder / STATEMENT
    if not path.is_file():
        return [f"{STATEMENT} is gone"], bytes(envelope.payload)
    same = not path.is_symlink() and path.read_bytes() == envelope.payload
    return [] if same else [f"{STATEMENT} is not what was signed"], bytes(envelope.payload)


def _envelope(path: Path) -> Envelope | None:
    from securesystemslib.dsse import Envelope

    try:
        return Envelope.from_dict(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _written(envelope: Envelope) -> bytes:
    return (json.dumps(envelope.to_dict(), indent=2) + "\n").encode()


def _unsigned(envelope: Envelope, public: SSlibKey) -> str:
    """Why the key did not sign this; empty where it did."""
    from securesystemslib.exceptions import VerificationError

    try:
        envelope.verify([public], 1)
    except VerificationError:
        if public.keyid in envelope.signatures:
            return f"{ENVELOPE} was changed: its signature does not hold"
        signed_by = ", ".join(keyid[:16] for keyid in envelope.signatures) or "nobody"
        return f"{ENVELOPE} is signed by {signed_by}, not by the key {public.keyid[:16]} that was given"
    if envelope.payload_type != PAYLOAD_TYPE:
        return f"{ENVELOPE} signs {envelope.payload_type}, which is no statement"
    return ""


def _contents(folder: Path, payload: bytes) -> list[str]:
    """What of a folder's files and links is not as its statement says, the first broken one first."""
    try:
        statement = json.loads(payload)
        known = {str(one["name"]): str(one["digest"]["sha256"]) for one in statement["subject"]}
        form, predicate = str(statement["predicateType"]), dict(statement["predicate"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return [f"{STATEMENT} is no statement: {type(error).__name__}: {error}"]
    there, found = set(links.names(folder)), []
    for name, digest in known.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            found.append(f"{name} is no file of this folder")
        elif not _is_file(path):
            found.append(f"{name} is gone")
        elif path.is_symlink() or sha256(path.read_bytes()) != digest:
            found.append(f"{name} was changed: its hash is not the one in the statement")
    found += [f"{name} does not belong here" for name in sorted(there - {*known, STATEMENT, ENVELOPE})]
    return found or links.faults(folder, predicate, form)


def _is_file(path: Path) -> bool:
    """Whether there is such a file; a name that cannot be one is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _signer(path: Path) -> CryptoSigner:
    from securesystemslib.signer import CryptoSigner

    private = _ways("load_pem_private_key", path, None)
    return CryptoSigner(private, _ed25519(private.public_key(), path))


def _public(path: Path) -> SSlibKey:
    return _ed25519(_ways("load_pem_public_key", path), path)


def _ways(name: str, path: Path, *arguments: object) -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    except ImportError as error:
        raise MissingExtraError("cryptography is not installed", hint="pip install 'ftcore[train]'") from error
    try:
        key = getattr(serialization, name)(path.read_bytes(), *arguments)
    except OSError as error:
        raise FtcoreError(f"the key {path} cannot be read: {error.strerror}", hint="ftcore keys new FILE") from error
    except (ValueError, TypeError) as error:
        kind = "public" if "public" in name else "private"
        raise FtcoreError(f"{path} is no {kind} key in PEM without a password", hint="ftcore keys new FILE") from error
    if not isinstance(key, Ed25519PrivateKey | Ed25519PublicKey):
        raise FtcoreError(f"{path} is a key, but no Ed25519 key", hint="ftcore keys new FILE")
    return key


def _ed25519(public: Any, path: Path) -> SSlibKey:
    try:
        from securesystemslib.signer import SSlibKey
    except ImportError as error:
        raise MissingExtraError(f"securesystemslib is needed for {path}", hint="pip install 'ftcore[train]'") from error
    return SSlibKey.from_crypto(public)
