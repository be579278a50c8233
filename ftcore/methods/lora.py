"""Stub."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftcore._find import Config as Base


class Config(Base):
    """Stub."""

    kind: Literal["lora"] = "lora"
    rank: Annotated[int, Field(ge=1, le=1024)] = 16
