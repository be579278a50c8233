"""Stub."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftcore._find import Config as Base


class Config(Base):
    """Stub."""

    kind: Literal["value_drift"] = "value_drift"
    column: str = "score"
