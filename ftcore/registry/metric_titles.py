"""Metrics as people read them: F1, precision and recall say which class they are about, or what they are means over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OF_A_CLASS = frozenset({"f1", "precision", "recall"})
"""Metrics that mean nothing without the class that they are about."""
OVER = {"tagging": "whole entities", "qa": "words"}
"""What they are about in tasks that have no classes, by kind."""


def about(metric: str, task: Mapping[str, Any]) -> str:
    """Which class a metric is about, in words; empty for one that is about none.

    Args:
        metric: its name; ``PART/METRIC`` in a task of several parts, and after dots whatever it was measured on.
        task: a recipe's ``task`` as plain values: ``kind``, and ``labels`` or ``parts`` where the kind has them.
    """
    part, _, name = metric.rpartition("/")
    if name.rpartition(".")[2] not in OF_A_CLASS:
        return ""
    own = (task.get("parts") or {}).get(part.rpartition(".")[2]) if part else task
    own = own if isinstance(own, Mapping) else {}
    labels = own.get("labels") or ()
    if own.get("kind") == "classification" and labels:
        return f"of {labels[1]}" if len(labels) == 2 else "mean over labels"
    return OVER.get(str(own.get("kind")), "")


def title(metric: str, task: Mapping[str, Any]) -> str:
    """A metric with the class that it is about, such as ``f1 (of spam)``; its arguments are those of ``about``."""
    of = about(metric, task)
    return f"{metric} ({of})" if of else metric
