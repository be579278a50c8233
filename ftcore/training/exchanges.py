"""Rows as words: what was asked, a good answer and a worse one; and models that can be asked what they think."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeAlias

from ftcore.models.outputs import Example

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.models.outputs import Outputs, Text

Prompt: TypeAlias = "str | list[dict[str, str]]"
"""A text to go on with, or a conversation of ``role`` and ``content``."""


class PreferenceExample(NamedTuple):
    """A row as words."""

    row_id: str
    prompt: Prompt
    good: str | None
    """The answer to learn; None where there is none."""
    worse: str | None = None
    """An answer that people liked less."""


class ReferenceModel(NamedTuple):
    """A model whose opinion is wanted."""

    predict: Callable[[Sequence[Text]], Outputs]
    """As its task predicts."""
    labels: tuple[str, ...]
    """Of its outputs, in their order; empty where they are no labels."""
    kind: str
    """Its task."""


def of(rows: pa.Table, prompt: Callable[[Example], Prompt]) -> Iterator[PreferenceExample]:
    """Exchanges of a snapshot's rows.

    Args:
        rows: with ``row_id``, ``text``, ``context``, ``label`` and ``rejected``.
        prompt: the task's own, from a row to what its model is asked.
    """
    names = ("row_id", "text", "context", "label", "rejected")
    for row_id, text, context, label, rejected in zip(*(rows[name].to_pylist() for name in names), strict=True):
        yield PreferenceExample(row_id, prompt(Example(text, context)), label, rejected)


def not_asked(reference: str) -> NoReturn:
    """For a job outside of a run."""
    raise LookupError(f"this job has no reference model to query for {reference}")
