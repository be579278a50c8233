"""Split keys: what a row's split is drawn from, taken once from its raw group or text and kept with the row.

A key is a keyed hash, so it names nobody, and it is the same for the same group whatever source, file, request or label
it comes by. The secret behind it belongs to the recipe's part of the store, ``STORE/RECIPE/state/split.json``: derived
when the first row comes in, from ``FTCORE_PSEUDONYM_KEY`` where that is set and from the recipe's name where it is not,
and written once. Setting, losing or changing the variable later moves no row.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot
from ftcore.data.snapshot import SPLITS, source_key, text_key
from ftcore.errors import FtcoreError
from ftcore.store import hashes
from ftcore.store.store import RecipeStore, as_json, create_bytes, damaged, read_json

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
    from upath import UPath

    from ftcore.recipe.sections import Prepare

SECRET_VARIABLE = "FTCORE_PSEUDONYM_KEY"  # noqa: S105 - its name, not its value
ANEW_VARIABLE = "FTCORE_NEW_SPLIT_KEYS"
"""Names the recipe whose lost secret may be derived anew, although rows are published that were split by another."""
SECRET_BYTES = 32
SIZE_BYTES = 8
"""Length of a split key: 16 hex digits. Of ten million groups two have one key with a chance of 3 in a million."""
LETTERS = str.maketrans("0123456789", "ghijklmnop")
"""Letters only, so that no recogniser takes a pseudonym for a number."""
DRAWN = 16**13
"""A key's first 13 hex digits decide: see ``assign_split``."""


def normal_group(group: str | None) -> str:
    """A group as split keys are made of it: by ``source_key``, whatever its case, width and spacing; empty for none."""
    return source_key(text_key(group)) if group else ""


@dataclass(frozen=True)
class Raw:
    """What raw rows are drawn by, as keyed hashes, shape ``(rows,)`` each."""

    text: NDArray[np.uint64]
    group: NDArray[np.uint64]
    """0 where a row has none."""


@dataclass(frozen=True)
class SplitKeys:
    """Takes the split keys of a recipe's rows; small, and may travel to other processes."""

    secret: bytes
    """The recipe's own, 32 bytes."""
    guessable: bool = False
    """Whether the secret follows from the recipe's name, so that guesses at groups can be tested by anybody."""

    def of(self, groups: Sequence[str | None], texts: Iterable[str | None]) -> list[str]:
        """Split key of each row.

        Args:
            groups: raw group of each row; None, empty or blank where a row stands for itself.
            texts: raw text of each row, before any cleaning or masking.

        Returns:
            16 hex digits a row, the same for rows of one group, and for rows without a group of one text.
        """
        known: dict[str | None, str] = {group: self.of_group(group) for group in set(groups)}
        return [known[group] or self._text(text).hex() for group, text in zip(groups, texts, strict=True)]

    def raw(self, rows: pa.Table) -> Raw:
        """Keyed hashes of rows' raw texts and groups; rows that bring a split key were cleaned before and have none."""
        import numpy as np

        there, none = rows.column_names, np.zeros(rows.num_rows, np.uint64)
        if "split_key" in there and not rows["split_key"].null_count:
            return Raw(none, none)
        codes = b"".join([self._text(text) for text in rows["text"].to_pylist()])
        groups = self.group_numbers(rows["group"]) if "group" in there else none
        return Raw(np.frombuffer(codes, ">u8").astype(np.uint64), groups)

    def fill(self, rows: pa.Table, raw: Raw | None = None) -> pa.Table:
        """Rows with a split key each: their own where they have one, else that of their raw group or text.

        Args:
            rows: raw ones.
            raw: what ``raw`` gave of them, where it was called before.
        """
        import numpy as np
        import pyarrow.compute as pc

        there = rows.column_names
        if "split_key" in there and not rows["split_key"].null_count:
            return rows
        raw = raw or self.raw(rows)
        made = hashes.hexed(np.where(raw.group, raw.group, raw.text))
        if "split_key" not in there:
            return rows.append_column("split_key", made)
        own = rows["split_key"].combine_chunks()
        column = pc.if_else(pc.fill_null(pc.greater(pc.binary_length(own), 0), False), own, made)
        return rows.set_column(there.index("split_key"), rows.schema.field("split_key"), column)

    def pseudonym(self, group: str, word: str = "GROUP") -> str:
        """Name that stands for a group whose own name is personal data: groups stay apart, and no person is named."""
        return f"[{word} {self._hash('name', normal_group(group)).translate(LETTERS)}]"

    def within(self, split: str, seed: str, shares: Prepare) -> str:
        """A key that is drawn to ``split``: for rows whose split was published before rows kept their keys.

        Args:
            split: ``train``, ``validation`` or ``test``.
            seed: what rows share that shall have one key.
            shares: the recipe's shares, with which the key is drawn to that split.
        """
        test, both = shares.test, shares.test + shares.validation
        low, high = {"test": (0.0, test), "validation": (test, both)}.get(split, (both, 1.0))
        code = self._hash("kept", seed)
        # A little off the ends, where rounding might draw the neighbour.
        share = low + (high - low) * (0.001 + 0.998 * int(code[:13], 16) / DRAWN)
        return f"{int(share * DRAWN):013x}{code[13:]}"

    def of_group(self, group: str | None) -> str:
        """Split key of the rows of a group; empty for none."""
        named = normal_group(group)
        return self._hash("group", named) if named else ""

    def group_numbers(self, groups: pa.ChunkedArray) -> NDArray[np.uint64]:
        """Split keys of rows' groups as the numbers that they are; 0 where a row has none."""
        return hashes.of_each(groups, lambda group: int(self.of_group(group) or "0", 16))

    def _text(self, text: str | None) -> bytes:
        return blake2b(b"text\x00" + text_key(text or "").encode(), digest_size=SIZE_BYTES, key=self.secret).digest()

    def _hash(self, kind: str, text: str) -> str:
        return blake2b(f"{kind}\x00{text}".encode(), digest_size=SIZE_BYTES, key=self.secret).hexdigest()

    @cached_property
    def state(self) -> str:
        """Hash that tells secrets apart and gives none away."""
        return hmac.digest(self.secret, b"ftcore split", "sha256").hex()[:16]


def redrawn(manifest: Mapping[str, Any], shares: Prepare) -> str:
    """What the recipe's shares change about the splits of a snapshot, in one sentence; empty where nothing."""
    before = (manifest.get("settings") or {}).get("prepare") or {}
    changed = [
        f"prepare.{name} is {getattr(shares, name):g} instead of {before[name]:g}"
        for name in ("test", "validation")
        if name in before and before[name] != getattr(shares, name)
    ]
    if not changed:
        return ""
    return (
        f"{' and '.join(changed)}, with which snapshot {manifest.get('snapshot')} was drawn: rows change their split, "
        "and those that a champion was trained or validated on are left out of what judges it"
    )


def load(shelf: RecipeStore, environment: Mapping[str, str] | None = None, *, keep: bool = True) -> SplitKeys:
    """What takes the split keys of a recipe, whichever step, source, holdout or request its rows come by.

    Args:
        shelf: the recipe's part of the store.
        environment: where the secret is looked for when the store has none yet; None means the process's own.
        keep: write a newly derived secret, so that it stays; of two processes at once the first one's counts for both.

    Raises:
        DamagedFileError: the file with the secret holds none.
        FtcoreError: the secret is not the one that the current snapshot's rows were split by; it was lost, say.
    """
    path = shelf.root / "state" / "split.json"
    there = read_json(path)
    if there is None:
        given = (os.environ if environment is None else environment).get(SECRET_VARIABLE, "")
        key = hmac.digest(given.encode(), b"ftcore split\x00" + shelf.name.encode(), "sha256").hex()
        there = {"key": key, "from": SECRET_VARIABLE if given else "the recipe's name"}
        if os.environ.get(ANEW_VARIABLE) == shelf.name:
            there["in_place_of"] = _published(shelf)
        _same_as_published(shelf, path, there)
        if keep:
            create_bytes(path, as_json(there))
            there = read_json(path) or there
    keys = _keys(path, there)
    _same_as_published(shelf, path, there)
    return keys


def _keys(path: UPath, there: Any) -> SplitKeys:
    try:
        secret = bytes.fromhex(there["key"])
        guessable = there["from"] != SECRET_VARIABLE
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, f"holds no secret of split keys: {error!r}") from error
    if len(secret) != SECRET_BYTES:
        raise damaged(path, f"holds a secret of {len(secret)} bytes instead of {SECRET_BYTES}")
    return SplitKeys(secret, guessable=guessable)


def _published(shelf: RecipeStore) -> str:
    """``SplitKeys.state`` of the keys of the current snapshot's rows; empty where none is known."""
    identity = snapshot.current(shelf)
    if not identity or not (snapshot.folder(shelf, identity) / "manifest.json").exists():
        return ""
    try:
        return str(snapshot.manifest(shelf, identity).get("split_keys") or "")
    except (FtcoreError, OSError):  # what happened to an old snapshot stops no new one
        return ""


def _same_as_published(shelf: RecipeStore, path: UPath, there: dict[str, Any]) -> None:
    """Draw no row by other keys than those that the snapshots' rows have: rows of one group would come apart."""
    published = _published(shelf)
    if published and published not in {_keys(path, there).state, there.get("in_place_of")}:
        was = "is not the one" if path.exists() else "is gone, and what would be derived now is not the one"
        raise FtcoreError(
            f"{path} {was} by which the rows of the current snapshot were split: new rows of their groups would be "
            "drawn to other splits",
            hint=f"restore it from a backup, or set {SECRET_VARIABLE} as it was; to accept new keys, delete the file "
            f"and set {ANEW_VARIABLE}={shelf.name} for the next run",
        )


def assign_split(split_key: str, shares: Prepare) -> str:
    """The split that a row belongs to, drawn from its split key alone.

    Returns:
        ``train``, ``validation`` or ``test``, with the recipe's shares. The draw depends on nothing else, so a row
        can never move.
    """
    drawn = int(split_key[:13], 16) / 16**13
    if drawn < shares.test:
        return "test"
    return "validation" if drawn < shares.test + shares.validation else "train"


def assign_splits(split_keys: NDArray[np.uint64], shares: Prepare) -> NDArray[np.int8]:
    """``assign_split`` of many rows, as positions in ``SPLITS``; keys are given as the numbers that they are."""
    import numpy as np

    drawn = (split_keys >> np.uint64(12)) / 16**13
    test, validation = SPLITS.index("test"), SPLITS.index("validation")
    others = np.where(drawn < shares.test + shares.validation, validation, SPLITS.index("train"))
    return np.where(drawn < shares.test, test, others).astype(np.int8)
