"""Compare a window with the champion's reference: one Evidently report over all detectors of a recipe."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore._find import find
from ftcore.detectors._finding import Finding, Samples
from ftcore.errors import FtcoreError

if TYPE_CHECKING:
    import pandas as pd
    from evidently.core.report import Snapshot

    from ftcore.sections import Detector


def compare(
    reference: pd.DataFrame, current: pd.DataFrame, detectors: Sequence[Detector], *, folder: Path, seed: int
) -> list[Finding]:
    """Ask every detector about the window and write the report.

    Args:
        reference: what the champion was judged on: ``text``, ``label`` (predicted), ``score`` (its probability).
        current: the window, with the same columns.
        detectors: the recipe's ``watch.detectors``.
        folder: gets ``drift.html``, which needs no network, and ``drift.json``.
        seed: seeds the shuffles behind measured thresholds; the same seed gives the same findings.

    Returns:
        One finding a detector, in their order; none where there are no detectors, and then nothing is written.

    Raises:
        NotEnoughDataError: a detector has too few rows or texts without words; names the counts.
        FtcoreError: a column is missing, or two detectors read the same one in different ways.
    """
    if not detectors:
        return []
    os.environ.setdefault("DO_NOT_TRACK", "1")
    kinds = [find("detectors", config.kind) for config in detectors]
    samples = [kind.samples(config, reference, current, seed) for kind, config in zip(kinds, detectors, strict=True)]
    columns = _columns(samples)
    asked = list(zip(kinds, detectors, samples, strict=True))
    thresholds = [kind.calibrate(config, found, seed) for kind, config, found in asked]
    metrics = [kind.metric(*rest, threshold) for (kind, *rest), threshold in zip(asked, thresholds, strict=True)]
    snapshot = _report(columns, metrics)
    findings = []
    for (kind, config, found), threshold, metric in zip(asked, thresholds, metrics, strict=True):
        result: Any = snapshot.metric_results[metric.metric_id]
        findings.append(kind.judge(config, found, threshold, float(result.value)))
        kind.redact(config, result.widget)
    folder.mkdir(parents=True, exist_ok=True)
    snapshot.save_html(str(folder / "drift.html"))
    saved = {"findings": [asdict(one) for one in findings], "seed": seed, "evidently": json.loads(snapshot.json())}
    (folder / "drift.json").write_text(json.dumps(saved, indent=2), encoding="utf-8")
    return findings


def _columns(samples: Sequence[Samples]) -> dict[str, Samples]:
    columns: dict[str, Samples] = {}
    for one in samples:
        first = columns.setdefault(one.column, one)
        if (first.type, first.rows) != (one.type, one.rows):
            raise FtcoreError(
                f"column {one.column!r} is read in one way by one detector and in another way by the next",
                hint="watch.detectors: give each of them a column of its own",
            )
    return columns


def _report(columns: dict[str, Samples], metrics: Sequence[Any]) -> Snapshot:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report

    def named(kind: str) -> list[str]:
        return [name for name, one in columns.items() if one.type == kind]

    definition = DataDefinition(
        text_columns=named("text"), numerical_columns=named("num"), categorical_columns=named("cat")
    )

    def dataset(side: str) -> Dataset:
        values = {name: getattr(one, side).reset_index(drop=True) for name, one in columns.items()}
        return Dataset.from_pandas(pd.DataFrame(values), definition)

    with warnings.catch_warnings():
        # Evidently plots a correlation that a constant column does not have, and pandas says so.
        warnings.simplefilter("ignore")
        return Report(list(metrics), include_tests=True).run(
            reference_data=dataset("reference"), current_data=dataset("current")
        )
