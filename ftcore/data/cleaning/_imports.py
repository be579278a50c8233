"""Keep an import from bringing along what is not needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hidden(*packages: str) -> Iterator[None]:
    """Let an import find some packages missing that it can do without; what is imported already is not hidden."""
    away = [name for name in packages if name not in sys.modules]
    sys.modules |= dict.fromkeys(away)  # type: ignore[arg-type] # None there means ModuleNotFoundError
    try:
        yield
    finally:
        for name in away:
            del sys.modules[name]
