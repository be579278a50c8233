"""Stub."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftcore._find import Config as Base


class Config(Base):
    """Stub."""

    kind: Literal["vader"] = "vader"
    domain: Literal["movie", "tweets", "amazon", "nyt"]
    """Which of the four collections of rated sentences."""
    max_rows: Annotated[int, Field(ge=1)] | None = None
    """Keep only this many rows: those with the lowest row ids, so that the choice never changes."""
