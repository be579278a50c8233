"""Expectations of our own, for what Great Expectations has none: shares, personal data, the quarantine.

Each judges all rows at once. ``result`` holds counts and shares and never a text; ``details.why`` is what is wrong,
for people.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.execution_engine import ExecutionEngine, PandasExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation, ColumnAggregateExpectation
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider

from ftcore.data.cleaning.personal import Finder
from ftcore.data.conversations import turns as conversation
from ftcore.data.snapshot import label_shares

SHOWN_ROWS = 20
BATCH = 50_000


class ExpectColumnValueSharesToBeNear(ColumnAggregateExpectation):  # type: ignore[misc]
    """No value's share of the rows differs by more than ``max_change`` from the share that is given for it.

    Shares are differences of fractions of the rows that have a value. A value that is not named had the share 0.
    """

    shares: dict[str, float]
    max_change: float
    origin: str = "what is expected"
    """What the shares were taken from."""

    metric_dependencies: ClassVar[tuple[str, ...]] = ("column.value_counts",)  # type: ignore[misc]
    success_keys: ClassVar[tuple[str, ...]] = ("shares", "max_change", "origin")  # type: ignore[misc]
    args_keys: ClassVar[tuple[str, ...]] = ("column", "shares", "max_change")

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: ExecutionEngine | None = None,
    ) -> dict[str, Any]:
        counts = metrics["column.value_counts"]
        new = label_shares({str(value): int(count) for value, count in counts.items()})
        moved = {value: (self.shares.get(value, 0.0), new.get(value, 0.0)) for value in sorted({*self.shares, *new})}
        said = "; ".join(
            f"the share of {self.column} {value!r} went from {old:.1%} in {self.origin} to {now:.1%}, a change of "
            f"{self.max_change:.1%} is allowed"
            for value, (old, now) in moved.items()
            if abs(now - old) > self.max_change
        )
        observed = ", ".join(f"{value} {now:.1%}" for value, (_, now) in moved.items())
        return {"success": not said, "result": {"observed_value": observed, "details": {"why": said}}}


class TablePersonalData(TableMetricProvider):  # type: ignore[misc]
    """Counts per entity, and the first row ids, of rows whose texts hold personal data."""

    metric_name = "table.personal_data"
    value_keys = ("columns", "entities", "phone_regions", "model", "code")

    @metric_value(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(
        cls,  # noqa: N805 - the decorator makes it a class method
        execution_engine: PandasExecutionEngine,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        **_: Any,
    ) -> dict[str, Any]:
        frame, _, _ = execution_engine.get_compute_domain(metric_domain_kwargs, MetricDomainTypes.TABLE)
        wanted = metric_value_kwargs
        finder = Finder(
            tuple(wanted["entities"]), tuple(wanted["phone_regions"]), wanted["model"], wanted["code"] == "clean"
        ).patterns_only
        counts: Counter[str] = Counter()
        rows: list[str] = []
        for column in (name for name in wanted["columns"] if name in frame and frame[name].notna().any()):
            for start in range(0, len(frame), BATCH):
                some = frame.iloc[start : start + BATCH]
                pieces, owners = conversation.flat([text or "" for text in some[column]])
                for place, found in finder.find(pieces).items():
                    rows.append(str(some["row_id"].iloc[owners[place]]))
                    counts.update(one.entity for one in found)
        return {"counts": dict(sorted(counts.items())), "rows": sorted(set(rows))[:SHOWN_ROWS]}


class ExpectTableToHoldNoPersonalData(BatchExpectation):  # type: ignore[misc]
    """No text of a row holds personal data of the kinds that the recipe removes, names and places apart."""

    columns: list[str]
    entities: list[str]
    phone_regions: list[str]
    model: str
    code: str = "clean"

    metric_dependencies: ClassVar[tuple[str, ...]] = ("table.personal_data",)  # type: ignore[misc]
    success_keys: ClassVar[tuple[str, ...]] = ("columns", "entities", "phone_regions", "model", "code")  # type: ignore[misc]
    args_keys: ClassVar[tuple[str, ...]] = ("columns", "entities")

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: ExecutionEngine | None = None,
    ) -> dict[str, Any]:
        found = metrics["table.personal_data"]
        said = ", ".join(f"{count:,} × {entity} is still in the texts" for entity, count in found["counts"].items())
        rows = f" (rows {', '.join(found['rows'])})" if found["rows"] else ""
        return {
            "success": not said,
            "result": {"observed_value": sum(found["counts"].values()), "details": {"why": said + rows}},
        }


class ExpectTableSplitsToBeLearnable(BatchExpectation):  # type: ignore[misc]
    """Splits and labels have the rows that a training needs; ``why`` is what they lack, counted before."""

    why: str = ""

    metric_dependencies: ClassVar[tuple[str, ...]] = ("table.row_count",)  # type: ignore[misc]
    success_keys: ClassVar[tuple[str, ...]] = ("why",)  # type: ignore[misc]
    args_keys: ClassVar[tuple[str, ...]] = ("why",)

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: ExecutionEngine | None = None,
    ) -> dict[str, Any]:
        rows = metrics["table.row_count"]
        return {"success": not self.why, "result": {"observed_value": rows, "details": {"why": self.why}}}


class ExpectTableQuarantineToBeSmall(BatchExpectation):  # type: ignore[misc]
    """At most ``max_share`` of the rows that came in were set aside; those that the recipe left out do not count."""

    quarantined: int
    came_in: int
    """Rows before duplicates were removed, which would otherwise raise the share of few faulty rows."""
    max_share: float
    words: str = ""
    """Counts of the reasons, for people."""

    metric_dependencies: ClassVar[tuple[str, ...]] = ("table.row_count",)  # type: ignore[misc]
    success_keys: ClassVar[tuple[str, ...]] = ("quarantined", "came_in", "max_share", "words")  # type: ignore[misc]
    args_keys: ClassVar[tuple[str, ...]] = ("quarantined", "came_in", "max_share")

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: ExecutionEngine | None = None,
    ) -> dict[str, Any]:
        total = max(self.came_in, metrics["table.row_count"] + self.quarantined)
        share = self.quarantined / total if total else 1.0
        said = (
            f"{share:.1%} of {total:,} rows that came in would be quarantined, {self.max_share:.1%} are allowed: "
            f"{self.words}"
            if share > self.max_share
            else ""
        )
        return {"success": not said, "result": {"observed_value": f"{share:.1%}", "details": {"why": said}}}
