"""The door to Great Expectations: run a suite, keep its history and pages, say which rows failed and why."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.data.validation.data_docs import make_offline
from ftcore.data.validation.markup import disarmed, restored
from ftcore.data.validation.suite_results import SHOWN_EXAMPLES, as_json, exception, shortened, without_markup
from ftcore.errors import FtcoreError

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.checkpoint.checkpoint import CheckpointResult
    from great_expectations.core import RunIdentifier
    from great_expectations.core.expectation_validation_result import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )
    from great_expectations.data_context.data_context.abstract_data_context import AbstractDataContext

NAME = re.compile(r"[\w][\w.\-]*")
POSITION = "position"
"""Column added to the frame that Great Expectations sees: row ids can be null or repeat, positions cannot."""
SITE = "snapshots"
ENDINGS = {
    "reject": " Otherwise the snapshot is rejected.",
    "quarantine": " Rows that break this are set aside.",
    "warn": " Otherwise this is noted.",
}
"""What each ``on_failure`` means, said on the page after the description of its expectation."""


NAMING = (
    *("expect_column_", "expect_compound_columns_", "expect_multicolumn_", "expect_select_column_"),
    *("expect_table_row_count_to_be_", "expect_table_row_count_to_equal", "expect_table_splits_to_be_learnable"),
    *("expect_table_quarantine_to_be_small", "expect_table_to_hold_no_personal_data"),
)
"""Starts of the types of expectations that look at no column that they do not name."""


@dataclass(frozen=True)
class SuiteResult:
    """What a suite found in a frame."""

    success: bool
    """True where every expectation was met, warnings included. Whether to go on is the caller's decision, not this."""
    failures: dict[int, list[str]]
    """Reasons by the row's position in the frame (0 is the first), rows in order: exactly the rows to leave out.
    Of rows that share a row id only those after the first are here."""
    row_failures: dict[str, list[str]]
    """The same by row id. Rows that share an id share an entry, and a row without an id is ``#position``."""
    rejections: list[str]
    """What is wrong with the table as a whole, with numbers."""
    warnings: list[str]
    """What is odd but stops nothing, with numbers."""
    statistics: dict[str, Any]
    """Great Expectations' own counts: expectations evaluated, successful, unsuccessful, and their percentage."""
    result_json: dict[str, Any]
    """The whole checkpoint result as JSON values, at most 20 examples an expectation."""
    page: Path
    """The HTML page of this validation; its ``Home`` link leads to all validations of the site."""
    checks: list[dict[str, Any]]
    """Every expectation in its order: ``what``, ``on_failure``, ``met``, and what was ``seen``, all for people."""


@dataclass
class _Findings:
    failures: dict[int, list[str]] = field(default_factory=dict)
    rejections: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class _Words(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


def columns(suite: dict[str, Any], parameters: dict[str, Any], there: Sequence[str]) -> list[str]:
    """Which columns of a table a suite needs: the row id and those that it names; all where one may be about others.

    Args:
        suite: as for ``run_suite``.
        parameters: as for ``run_suite``.
        there: columns that the table has.
    """
    wanted = suite["expectations"]
    if not all(one["type"].startswith(NAMING) or one["kwargs"].get("exact_match") is False for one in wanted):
        return list(there)
    named = json.dumps([parameters, *(one["kwargs"] for one in wanted)])
    return [name for name in there if name == "row_id" or name in named]


def run_suite(
    frame: pd.DataFrame, suite: dict[str, Any], parameters: dict[str, Any], *, name: str, docs: Path
) -> SuiteResult:
    """Check every row of ``frame`` against ``suite`` through a Great Expectations checkpoint.

    Args:
        frame: the rows; must have no column called ``position``. An empty frame is allowed.
        suite: an ExpectationSuite as Great Expectations serialises it; ``meta`` of each expectation holds
            ``on_failure`` (``quarantine``, ``reject`` or ``warn``) and ``reason``, in which ``{observed}``,
            ``{missing}``, ``{unexpected}`` (a count) and the expectation's arguments are filled in.
        parameters: values of the suite's ``$PARAMETER`` entries.
        name: names this validation in the site; validating again under the same name replaces the page.
        docs: folder of the Data Docs site. The results of earlier validations live in it too, and its index lists them.

    Returns:
        What was found. An expectation that could not be evaluated, for want of a column, is a rejection.

    Raises:
        ValueError: ``name`` cannot be a file name, ``frame`` has a column ``position``, or a suite parameter lacks.
        FtcoreError: the page could not be rendered.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"name {name!r}: use letters, digits, dots, dashes and underscores")
    if POSITION in frame.columns:
        raise ValueError(f"the frame must not have a column called {POSITION!r}")
    missing = sorted(_asked(suite) - set(parameters))
    if missing:
        raise ValueError(f"suite {suite.get('name')!r} needs the parameters {', '.join(missing)}")
    context = _context(docs)
    checkpoint_result = _run(context, frame, suite, parameters, _run_id(context, name))
    result = next(iter(checkpoint_result.run_results.values()))
    page = _page(context, checkpoint_result, docs)
    found = _findings(result, frame)
    return SuiteResult(
        success=bool(result.success),
        failures=dict(sorted(found.failures.items())),
        row_failures=_by_row_id(found.failures, frame),
        rejections=found.rejections,
        warnings=found.warnings,
        statistics=dict(result.statistics),
        result_json=as_json(checkpoint_result),
        page=page,
        checks=[_check(one) for one in result.results],
    )


def _check(one: ExpectationValidationResult) -> dict[str, Any]:
    config: Any = one.expectation_config
    problem = exception(one)
    what = restored(config.description or "") or config.type.removeprefix("expect_").replace("_", " ")
    for ending in ENDINGS.values():
        what = what.removesuffix(ending)
    seen = problem or _seen(one) or ("" if one.success else _reason(one))
    return {"what": what, "on_failure": config.meta["on_failure"], "met": bool(one.success), "seen": seen}


def _seen(one: ExpectationValidationResult) -> str:
    """What was observed: how many rows break it, or the value where it is met; empty where the reason says more."""
    unexpected, rows = one.result.get("unexpected_count"), one.result.get("element_count")
    if unexpected is not None and rows is not None:
        return f"{unexpected:,} of {rows:,} rows break it"
    observed = one.result.get("observed_value")
    if isinstance(observed, list):
        observed = [value for value in observed if value != POSITION]
    return f"seen: {_said(observed)}" if one.success and observed is not None else ""


def _asked(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$PARAMETER"]} if "$PARAMETER" in value else set()
        return own.union(*(_asked(v) for v in value.values()))
    return set().union(*(_asked(v) for v in value)) if isinstance(value, list) else set()


def _context(docs: Path) -> AbstractDataContext:
    """A context that lives for this run; only validation results and pages outlive it, in ``docs``."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig, ProgressBarsConfig

    def files(folder: Path) -> dict[str, Any]:
        return {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.resolve())}

    stores = {
        f"{kind}_store": {"class_name": class_name, "store_backend": {"class_name": "InMemoryStoreBackend"}}
        for kind, class_name in [
            ("expectations", "ExpectationsStore"),
            ("checkpoint", "CheckpointStore"),
            ("validation_definition", "ValidationDefinitionStore"),
        ]
    }
    stores["validation_results_store"] = {
        "class_name": "ValidationResultsStore",
        "store_backend": files(docs / "results"),
    }
    config = DataContextConfig(
        config_version=4.0,
        expectations_store_name="expectations_store",
        checkpoint_store_name="checkpoint_store",
        validation_results_store_name="validation_results_store",
        stores=stores,
        data_docs_sites={
            SITE: {"class_name": "SiteBuilder", "show_how_to_buttons": False, "store_backend": files(docs)}
        },
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    store: Any = context.validation_results_store
    write = store.set
    # The checkpoint needs every unexpected row, the files must not hold them; the store's write is the only place
    # between the two, and the pages are rendered from what is stored.
    store.set = lambda key, value, **more: write(key=key, value=without_markup(shortened(value)), **more)
    return context


def _run_id(context: AbstractDataContext, name: str) -> RunIdentifier:
    """The identity of an earlier validation of that name, so that it is replaced; otherwise a new one."""
    from great_expectations.core import RunIdentifier

    keys: list[Any] = context.validation_results_store.list_keys()
    for key in keys:
        if key.run_id.run_name == name:
            return RunIdentifier(run_name=name, run_time=key.run_id.run_time)
    return RunIdentifier(run_name=name, run_time=datetime.now(UTC))


def _run(
    context: AbstractDataContext,
    frame: pd.DataFrame,
    suite: dict[str, Any],
    parameters: dict[str, Any],
    run_id: RunIdentifier,
) -> CheckpointResult:
    import great_expectations as gx
    from great_expectations.checkpoint.actions import UpdateDataDocsAction

    from ftcore.data.validation import custom_expectations  # noqa: F401 - registers them

    asset = context.data_sources.add_pandas("snapshot").add_dataframe_asset("rows")
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(
            name=suite["name"],
            data=asset.add_batch_definition_whole_dataframe("all"),
            suite=context.suites.add(gx.ExpectationSuite(**_worded(suite))),
        )
    )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name=suite["name"],
            validation_definitions=[definition],
            actions=[UpdateDataDocsAction(name="data docs", site_names=[SITE])],
            result_format={
                "result_format": "COMPLETE",
                "unexpected_index_column_names": [*(["row_id"] if "row_id" in frame.columns else []), POSITION],
                "return_unexpected_index_query": False,
                "partial_unexpected_count": SHOWN_EXAMPLES,
            },
        )
    )
    numbered = frame.assign(**{POSITION: range(len(frame))})
    return checkpoint.run({"dataframe": numbered}, expectation_parameters=parameters, run_id=run_id)


def _worded(suite: dict[str, Any]) -> dict[str, Any]:
    """The suite with what happens on failure said in each description; Data Docs show no severity."""
    worded = copy.deepcopy(suite)
    for one in worded["expectations"]:
        if description := one.get("description"):
            one["description"] = disarmed(description + ENDINGS[one["meta"]["on_failure"]])
    return worded


def _findings(result: ExpectationSuiteValidationResult, frame: pd.DataFrame) -> _Findings:
    found = _Findings()
    unchecked: Counter[str] = Counter()
    for one in result.results:
        assert one.expectation_config is not None
        on_failure = one.expectation_config.meta["on_failure"]
        if problem := exception(one):
            unchecked[problem] += 1
            continue
        if one.success:
            continue
        reason = _reason(one)
        if on_failure == "quarantine":
            for position in _positions(one, frame):
                found.failures.setdefault(position, []).append(reason)
        else:
            (found.rejections if on_failure == "reject" else found.warnings).append(reason)
    found.rejections.extend(f"{count} expectations could not be checked: {why}" for why, count in unchecked.items())
    return found


def _reason(one: ExpectationValidationResult) -> str:
    assert one.expectation_config is not None
    kwargs, observed = one.expectation_config.kwargs, one.result.get("observed_value")
    words = _Words({key: _said(value) for key, value in kwargs.items()})
    if "partial_missing_list" in one.result:
        words["missing"] = _said(sorted(one.result["partial_missing_list"], key=str))
    elif isinstance(observed, list):
        words["missing"] = _said([value for value in kwargs.get("column_set", []) if value not in observed])
    words.update(observed=_said(observed), unexpected=_said(one.result.get("unexpected_count")))
    details = one.result.get("details") or {}
    if "why" in details:  # a suite that an earlier ftcore proposed calls it `said`
        words.update(why=details["why"], said=details["why"])
    return str(one.expectation_config.meta["reason"]).format_map(words)


def _said(value: Any) -> str:
    if isinstance(value, list):
        shown = ", ".join(str(v) for v in value[:SHOWN_EXAMPLES])
        return f"{shown} and {len(value) - SHOWN_EXAMPLES} more" if len(value) > SHOWN_EXAMPLES else shown
    return f"{value:,}" if isinstance(value, int) else str(value)


def _positions(one: ExpectationValidationResult, frame: pd.DataFrame) -> list[int]:
    positions = [int(row[POSITION]) for row in one.result.get("unexpected_index_list") or []]
    assert one.expectation_config is not None
    if one.expectation_config.type == "expect_column_values_to_be_unique":
        # Great Expectations names all rows that share a value; the first of them is worth keeping.
        again = frame[one.expectation_config.kwargs["column"]].duplicated(keep="first").to_numpy()
        return [position for position in positions if again[position]]
    return positions


def _by_row_id(failures: dict[int, list[str]], frame: pd.DataFrame) -> dict[str, list[str]]:
    ids = frame["row_id"] if "row_id" in frame.columns else None
    found: dict[str, list[str]] = {}
    for position, reasons in sorted(failures.items()):
        row_id = None if ids is None else ids.iloc[position]
        known = found.setdefault(row_id if isinstance(row_id, str) else f"#{position}", [])
        known.extend(reason for reason in reasons if reason not in known)
    return found


def _page(context: AbstractDataContext, checkpoint_result: CheckpointResult, docs: Path) -> Path:
    """Path of the page just written; it, the suite's page and the index are made to need no network."""
    key = next(iter(checkpoint_result.run_results))
    urls = context.get_docs_sites_urls(resource_identifier=key, site_name=SITE)
    if not urls[0]["site_url"]:
        # Great Expectations logs what went wrong while it rendered and goes on.
        raise FtcoreError("Great Expectations could not render the page of this validation", hint="its log says why")
    page = Path(urls[0]["site_url"].removeprefix("file://"))
    for written in (page, docs / "index.html", *(docs / "expectations").glob("*.html")):
        make_offline(written)
    return docs / page.relative_to(docs.resolve())
