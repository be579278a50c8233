"""MLflow's metrics by training step. Beside ``tracking.py`` a door to MLflow; it only reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftcore.tracking.client import Tracking
from ftcore.tracking.server import plainly

if TYPE_CHECKING:
    from ftcore.settings import Settings


@plainly
def curves(settings: Settings, run: str, metrics: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
    """Values of a run's metrics by training step; a metric that was never logged is left out.

    Args:
        settings: tell where MLflow is.
        run: MLflow's run id.
        metrics: names of metrics.

    Returns:
        By name ``(step, value)``, in order of the steps.

    Raises:
        TransientError: MLflow does not answer.
        FtcoreError: there is no such run.
    """
    client = Tracking(settings, "").client
    found = {name: [(one.step, one.value) for one in client.get_metric_history(run, name)] for name in metrics}
    return {name: sorted(points) for name, points in found.items() if points}
