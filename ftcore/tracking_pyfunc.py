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
        self.card, self.clean = card, find("serving", "cleaned").examples
        self.predict_texts = task.predictor(config, FOLDER, card["max_length_tokens"])
        self.answers = partial(task.answers, config)
        self.unreadable: Any = lambda rows: {}
        if hasattr(task, "unreadable"):
            from transformers import AutoTokenizer

            self.unreadable = partial(task.unreadable, config, AutoTokenizer.from_pretrained(FOLDER))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """``answer`` and ``score``, a row for each text; a text that the task cannot read has neither.

        Texts are cleaned and masked as the model was trained on.
        """
        del context, params
        given = [
            {name: value for name, value in row.items() if isinstance(value, str)}
            for row in model_input.to_dict("records")
        ]
        rows, refused = self.clean(self.card, given)
        refused |= self.unreadable(rows)
        asked = [place for place in range(len(rows)) if place not in refused]
        found = pd.DataFrame({"answer": [""] * len(rows), "score": [float("nan")] * len(rows)})
        if asked:
            answers, scores = self.answers(self.predict_texts([rows[place] for place in asked]))
            found.loc[asked, "answer"], found.loc[asked, "score"] = list(answers), scores.astype(float)
        return found


set_model(Model())
