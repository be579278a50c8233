"""The model as MLflow loads it: ``MLmodel`` names this module, so that no code lies beside the weights.

What lay there would run without being compared with any hash, compiled code that somebody put there included.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd  # noqa: TID253 - MLflow alone imports this module
from mlflow.exceptions import MlflowException  # noqa: TID253


def _load_pyfunc(path: str) -> Model:
    """What MLflow asks a loader for."""
    return Model(Path(path))


class Model:
    """Raw texts to answers, by the task that the model was trained for, as ``ftcore score`` gives them."""

    def __init__(self, folder: Path) -> None:
        """Load the form of the model that lies in a folder: an export, or torch's."""
        # MLflow enters here, below serving, which imports tracking: so these are found by their names.
        model, cleaned = (import_module(f"ftcore.serving.{name}") for name in ("model", "cleaned"))
        self.model, self.task = model.of_folder(folder)
        self.clean = cleaned.examples

    def predict(self, model_input: pd.DataFrame) -> pd.DataFrame:
        """``answer`` and ``score``, a row for each text; a text that the task cannot read has neither.

        Texts are cleaned and masked as the model was trained on.

        Raises:
            MlflowException: a value is missing, no string, or names no part of the task.
        """
        rows = model_input.to_dict("records")
        for place, row in enumerate(rows):
            if fault := self._fault(row):
                raise MlflowException.invalid_parameter_value(
                    f"Failed to enforce schema of the model's input: row {place}: {fault}"
                )
        given = [{name: value for name, value in row.items() if isinstance(value, str)} for row in rows]
        examples, refused = self.clean(self.model.card, given)
        asked = [place for place in range(len(rows)) if place not in refused]
        unreadable = self.model.unreadable([examples[place] for place in asked])
        asked = [place for number, place in enumerate(asked) if number not in unreadable]
        found = pd.DataFrame({"answer": [""] * len(rows), "score": [float("nan")] * len(rows)})
        if asked:
            outputs = self.model.outputs([examples[place] for place in asked])
            answers, scores = self.task.answers(outputs)
            found.loc[asked, "answer"], found.loc[asked, "score"] = list(answers), scores.astype(float)
        return found

    def _fault(self, row: dict[str, Any]) -> str:
        """What of a row MLflow's own check lets through and the signature does not allow; empty for a good row."""
        parts = tuple(self.task.parts)
        for name in ("text", *(["part"] if parts else [])):
            if not isinstance(row.get(name), str):
                return f"column {name!r} is {row.get(name)!r}, and must be a string"
        more = row.get("context")
        if not isinstance(more, str) and more is not None and more is not pd.NA and more == more:  # noqa: PLR0124 - NaN
            return f"column 'context' is {more!r}, and must be a string or missing"
        if parts and row["part"] not in parts:
            return f"column 'part' is {row['part']!r}, and must be one of {', '.join(parts)}"
        return ""
