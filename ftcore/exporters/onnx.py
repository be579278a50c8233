"""Stub."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftcore._find import Config as Base


class Config(Base):
    """Stub."""

    kind: Literal["onnx"] = "onnx"
    precisions: Annotated[tuple[Literal["fp32", "int8"], ...], Field(min_length=1)] = ("int8", "fp32")
