"""Values as Python, NumPy and LangChain print them, where a source wrote ``str(value)`` instead of JSON."""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import Any

_KEPT = ("content", "role", "name", "tool_calls", "tool_call_id", "additional_kwargs")
"""Arguments of a printed LangChain message that a conversation can use."""


def loaded(text: str) -> Any:
    """The value that a text is as JSON or as Python prints it; None where it is none."""
    for parse in (json.loads, value):
        try:
            return parse(text)
        except (ValueError, RecursionError):
            continue
    return None


def value(text: str) -> Any:
    """The value, as JSON would hold it: lists and objects, no tuples; a LangChain message is an object of its type.

    Raises:
        ValueError: the text is none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in other people's strings
            # NumPy parts objects by line ends; within a string Python prints none.
            tree = ast.parse(re.sub(r"\}\s*\n\s*\{", "}, {", text.strip()), mode="eval")
        return json.loads(json.dumps(_evaluated(tree.body)))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"no value that Python prints: {error}") from None


def _evaluated(node: ast.expr) -> Any:
    if isinstance(node, ast.List | ast.Tuple):
        return [_evaluated(one) for one in node.elts]
    if isinstance(node, ast.Dict):
        keys = [_evaluated(key) if key else _refused(node) for key in node.keys]
        return dict(zip(keys, map(_evaluated, node.values), strict=True))
    if isinstance(node, ast.Call):
        return _called(node)
    return ast.literal_eval(node)


def _called(node: ast.Call) -> Any:
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    if name == "array" and len(node.args) == 1:
        return _evaluated(node.args[0])
    if name.removesuffix("Chunk").endswith("Message"):
        found = {one.arg: _evaluated(one.value) for one in node.keywords if one.arg in _KEPT}
        if node.args:
            found["content"] = _evaluated(node.args[0])
        return {"type": name, **found}
    return _refused(node)


def _refused(node: ast.expr) -> Any:
    raise ValueError(ast.unparse(node)[:60])
