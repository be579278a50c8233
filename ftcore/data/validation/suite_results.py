"""What is kept and shown of Great Expectations' results: few examples, each short, and no text that is markup."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from ftcore.data.validation.markup import disarmed

if TYPE_CHECKING:
    from great_expectations.checkpoint.checkpoint import CheckpointResult
    from great_expectations.core.expectation_validation_result import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
SHOWN_EXAMPLES = 20
"""Unexpected values kept per expectation in what is written; all of them only count in memory."""
SHOWN_CHARACTERS = 80
"""A text is personal data: what is written holds its beginning at most, and only of rows that failed."""


def shortened(result: ExpectationSuiteValidationResult) -> ExpectationSuiteValidationResult:
    """A copy with at most 20 examples an expectation and 80 characters an example."""
    short = copy.copy(result)
    short.results = []
    for one in result.results:
        kept = copy.copy(one)
        kept.result = _short(one.result)
        if problem := exception(one):
            # A traceback names the machine's folders and tells a reader of the report nothing.
            kept.exception_info = {"raised_exception": True, "exception_message": problem, "exception_traceback": ""}
        short.results.append(kept)
    return short


def without_markup(result: ExpectationSuiteValidationResult) -> ExpectationSuiteValidationResult:
    """A shortened result as pages are rendered from it: no text of it can be markup."""
    for one in result.results:
        one.result = disarmed(one.result)
        one.exception_info = disarmed(one.exception_info)
        if one.expectation_config is not None:
            one.expectation_config = copy.deepcopy(one.expectation_config)
            one.expectation_config.kwargs = disarmed(one.expectation_config.kwargs)
    result.suite_parameters = disarmed(result.suite_parameters)
    return result


def exception(one: ExpectationValidationResult) -> str:
    """The message of the exception that kept an expectation from being evaluated; empty where there was none."""
    info: Any = one.exception_info or {}
    for part in [info] if "raised_exception" in info else info.values():
        if part["raised_exception"]:
            return str(part["exception_message"]).strip().splitlines()[0].removeprefix("Error: ")
    return ""


def as_json(checkpoint_result: CheckpointResult) -> dict[str, Any]:
    """What is kept of a checkpoint's result, as JSON values."""
    return {
        "success": checkpoint_result.success,
        "run_id": checkpoint_result.run_id.to_json_dict(),
        "run_results": [_json(shortened(result)) for result in checkpoint_result.run_results.values()],
    }


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_short(inner) for inner in value[:SHOWN_EXAMPLES]]
    if isinstance(value, str) and len(value) > SHOWN_CHARACTERS:
        value = value[: SHOWN_CHARACTERS - 1] + "…"
    # A NUL would make the page a binary file to every tool that reads it.
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", value) if isinstance(value, str) else value


def _json(value: Any) -> Any:
    return value.to_json_dict()
