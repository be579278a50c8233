"""Rows that MLflow keeps: a file logged with a run, a dataset named as a run's input, or traces of an application."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import model_validator

from ftcore.data.sources._base import Mapped
from ftcore.data.sources._mapping import Batch, Mapper, require
from ftcore.data.sources.files import Files
from ftcore.tracking.client import Tracking

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.context import Context

TRACE = ("trace_id", "request", "response", "inputs", "outputs", "at", "tags")


class Mlflow(Mapped):
    """A file or dataset of an MLflow run, or the traces of an experiment."""

    EXAMPLE: ClassVar[dict[str, Any]] = {
        "kind": "mlflow",
        "run": "0123456789abcdef0123456789abcdef",
        "artifact": "data/rows.csv",
    }

    kind: Literal["mlflow"] = "mlflow"
    run: str | None = None
    """MLflow's id of the run that logged the data."""
    artifact: str | None = None
    """File among the run's artefacts, in a format that ``files`` reads."""
    dataset: str | None = None
    """Name of a dataset that the run logged as its input and whose source is a file or URL."""
    experiment: str | None = None
    """Name of the experiment whose traces to read. Each is a row with the columns ``trace_id``, ``request``,
    ``response`` (text), ``inputs``, ``outputs`` (the same as values, for templates), ``at`` and ``tags``."""
    filter: str = ""
    """Which traces, in MLflow's filter language."""

    @model_validator(mode="after")
    def _names_one_place(self) -> Mlflow:
        if sum(map(bool, (self.artifact, self.dataset, self.experiment))) != 1:
            raise ValueError("give one of artifact, dataset and experiment")
        if (self.run is None) != (self.experiment is not None):
            raise ValueError("artifact and dataset need the run; experiment takes none")
        return self

    def source_name(self) -> str:
        """Name that the rows of this source carry."""
        return f"mlflow:{self.name or self.artifact or self.dataset or self.experiment}"

    def tables(self, context: Context) -> Iterator[pa.Table]:
        """Rows as a stream; a run's artefact is fetched into the step's scratch folder first.

        Raises:
            FtcoreError: no such run, artefact, dataset or experiment.
            DataRejectedError: the file cannot be read, or a column is missing.
            TransientError: MLflow does not answer.
        """
        mapper = Mapper.reading(self, context, self.source_name())
        batches = self._traces(context, mapper) if self.experiment else self._logged(context, mapper)
        for batch in batches:
            if batch.places:
                yield mapper.table(batch)
        mapper.finish()

    def _logged(self, context: Context, mapper: Mapper) -> Iterator[Batch]:
        from upath import UPath

        tracking = Tracking(context.settings, context.recipe.name)
        run = str(self.run)
        if self.artifact:
            path = UPath(tracking.artifact(run, self.artifact, context.scratch / "mlflow"))
        else:
            path = UPath(tracking.dataset_source(run, str(self.dataset)))
        where = f"mlflow:{run}/{self.artifact or self.dataset}"
        yield from Files(path=path.name).batches(path, mapper.columns, where)

    def _traces(self, context: Context, mapper: Mapper) -> Iterator[Batch]:
        where, numbers = f"mlflow:{self.experiment}", itertools.count(1)
        require(where, mapper.columns, TRACE)
        tracking = Tracking(context.settings, context.recipe.name)
        for page in tracking.traces(str(self.experiment), self.filter):
            rows = [
                {**trace, "inputs": _value(trace["request"]), "outputs": _value(trace["response"])} for trace in page
            ]
            columns = {name: [row[name] for row in rows] for name in TRACE}
            places = list(itertools.islice(numbers, len(rows)))
            yield Batch(columns, where, places, unit="trace", ids=[str(row["trace_id"]) for row in rows])


def _value(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        return text
