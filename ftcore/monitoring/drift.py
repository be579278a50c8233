"""Compare a window with the champion's reference: one Evidently report over all detectors of a recipe."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ftcore.data.validation.markup import as_entities, disarmed, restored
from ftcore.errors import FtcoreError
from ftcore.monitoring.findings import Finding, Samples, Threshold, unmeasured

if TYPE_CHECKING:
    import pandas as pd
    from evidently.core.report import Snapshot

    from ftcore.recipe.sections import Detector

log = logging.getLogger(__name__)


def compare(
    reference: pd.DataFrame, current: pd.DataFrame, detectors: Sequence[Detector], *, folder: Path, seed: int
) -> list[Finding]:
    """Run every detector on the window and write the report.

    A detector that has nothing to compare, such as too few values or texts without words, does not stop the others:
    its finding has no score, and the reason.

    Args:
        reference: what the champion was judged on: ``text``, ``label`` (predicted), ``score`` (its probability).
        current: the window, with the same columns.
        detectors: the recipe's ``watch.detectors``.
        folder: gets ``drift.json``, and ``drift.html``, which needs no network, where anything was measured.
        seed: seeds the shuffles behind measured thresholds; the same seed gives the same findings.

    Returns:
        One finding a detector, in their order; none where there are no detectors, and then nothing is written.

    """
    if not detectors:
        return []
    os.environ.setdefault("DO_NOT_TRACK", "1")
    columns: dict[str, Samples] = {}
    measurable: dict[int, _Ready] = {}
    findings: dict[int, Finding] = {}
    for number, detector in enumerate(detectors):
        try:
            measurable[number] = _prepare(detector, reference, current, seed, columns)
        except FtcoreError as error:
            findings[number] = unmeasured(detector.kind, detector.column, str(error.args[0]))
            log.warning("%s", findings[number].summary)
    folder.mkdir(parents=True, exist_ok=True)
    evidently = None
    if measurable:
        snapshot = _report(columns, [one.metric for one in measurable.values()])
        for number, one in measurable.items():
            result: Any = snapshot.metric_results[one.metric.metric_id]
            findings[number] = one.detector.judge(one.samples, one.threshold, float(result.value))
            one.detector.redact(result.widget)
        page = folder / "drift.html"
        snapshot.save_html(str(page))
        page.write_text(as_entities(page.read_text(encoding="utf-8")), encoding="utf-8")
        evidently = restored(json.loads(snapshot.json()))
    ordered = [findings[number] for number in range(len(detectors))]
    saved = {"findings": [asdict(one) for one in ordered], "seed": seed, "evidently": evidently}
    (folder / "drift.json").write_text(json.dumps(saved, indent=2), encoding="utf-8")
    return ordered


class _Ready(NamedTuple):
    """A detector with its samples, its threshold and the metric that Evidently computes."""

    detector: Detector
    samples: Samples
    threshold: Threshold
    metric: Any


def _prepare(
    detector: Detector, reference: pd.DataFrame, current: pd.DataFrame, seed: int, columns: dict[str, Samples]
) -> _Ready:
    """Samples, threshold and metric of one detector; adds its column to ``columns``.

    Raises:
        NotEnoughDataError: too few values, or texts without words; names the counts.
        FtcoreError: the column is missing, or an earlier detector reads it as another type.
    """
    samples = detector.samples(reference, current, seed)
    threshold = detector.calibrate(samples, seed)
    first = columns.get(samples.column, samples)
    if (first.type, first.rows) != (samples.type, samples.rows):
        raise FtcoreError(
            f"another detector reads {samples.column!r} as {first.type} with {first.rows} values, this one as "
            f"{samples.type} with {samples.rows}",
            hint="give each of them a column of its own, or the same settings",
        )
    metric = detector.metric(samples, threshold)
    columns[samples.column] = first
    return _Ready(detector, samples, threshold, metric)


def _report(columns: dict[str, Samples], metrics: Sequence[Any]) -> Snapshot:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report

    def named(kind: str) -> list[str]:
        return [name for name, one in columns.items() if one.type == kind]

    definition = DataDefinition(
        text_columns=named("text"), numerical_columns=named("num"), categorical_columns=named("cat")
    )

    def dataset(side: str) -> Dataset:
        values = {name: getattr(one, side).reset_index(drop=True).map(disarmed) for name, one in columns.items()}
        return Dataset.from_pandas(pd.DataFrame(values), definition)

    with warnings.catch_warnings():
        # Evidently plots a correlation that a constant column does not have, and pandas says so.
        warnings.simplefilter("ignore")
        return Report(list(metrics), include_tests=True).run(
            reference_data=dataset("reference"), current_data=dataset("current")
        )
