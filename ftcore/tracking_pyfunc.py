"""The model as MLflow loads it: this file lies beside the weights and reads them from its own folder."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd  # noqa: TID253 - MLflow reads the types of predict, and warns where it cannot
from mlflow.models import set_model  # noqa: TID253 - MLflow runs this file, nobody imports it
from mlflow.pyfunc import PythonModel  # noqa: TID253

FOLDER = Path(__file__).parent


class Model(PythonModel):  # type: ignore[misc] # mlflow is skipped by mypy
    """Raw texts to answers, by the task that the model was trained for."""

    def load_context(self, context: Any) -> None:
        """Load the weights with the task's own predictor."""
        from ftcore._find import find

        del context
        card = json.loads((FOLDER / "ftcore.json").read_text(encoding="utf-8"))
        task = find("tasks", card["task"]["kind"])
        config = task.Config.model_validate(card["task"])
        self.predict_texts = task.predictor(config, FOLDER, card["max_length_tokens"])
        self.answers = partial(task.answers, config)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """``answer`` and ``score``, a row for each text."""
        from ftcore.outputs import Example

        del context, params
        fields = {"text": "text", "context": "context", "part": "source"}
        names = [name for name in fields if name in model_input.columns]
        asked = zip(*(model_input[name] for name in names), strict=True)
        rows = [Example(**dict(zip((fields[name] for name in names), row, strict=True))) for row in asked]
        answers, scores = self.answers(self.predict_texts(rows))
        return pd.DataFrame({"answer": answers, "score": scores.astype(float)})


set_model(Model())
