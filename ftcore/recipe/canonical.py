"""One form for what is equal: values as JSON, bytes as a hash, and names of people."""

from __future__ import annotations

import hashlib
import json
import unicodedata


def sha256(data: bytes | str) -> str:
    """SHA-256 in hex of bytes, or of text as UTF-8, whatever name of a file or tag stands in it."""
    return hashlib.sha256(data.encode(errors="surrogatepass") if isinstance(data, str) else data).hexdigest()


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def same_person(name: str) -> str:
    """What is equal for two spellings of one user name: case, blanks and the forms of Unicode do not count."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
