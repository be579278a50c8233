"""Stub."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftcore._find import Config as Base


class Config(Base):
    """Stub."""

    kind: Literal["classification"] = "classification"
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    """Label names; their order is the order of the model's outputs."""
