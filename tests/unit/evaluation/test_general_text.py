"""General texts: the losses of three models on the same texts."""

from __future__ import annotations

import numpy as np
import pytest

from ftcore.evaluation import general_text

TEXTS = ["four", "eight by", "the third one", "ü"]
BASE = np.array([[4.0, 2, 1], [6, 4, 0], [9, 5, 0], [2, 1, 0]])
WORSE = BASE * [1.5, 1, 1]


def test_what_each_token_costs_more_than_before() -> None:
    found = general_text.compared(TEXTS, {"base": BASE, "champion": BASE, "candidate": WORSE}, 200, 1)
    metrics, differences = found["metrics"], found["differences"]
    assert metrics["base"]["loss"]["value"] == pytest.approx(21 / 12)
    assert metrics["base"]["perplexity"]["value"] == pytest.approx(np.exp(21 / 12))
    assert metrics["base"]["bits_per_byte"]["value"] == pytest.approx(21 / np.log(2) / (4 + 8 + 13 + 2))
    assert differences["champion"]["loss"]["value"] == pytest.approx(0.5 * 21 / 12)
    assert differences["champion"]["loss"]["low"] > 0, "each text costs half as much again"
    assert differences["base"] == differences["champion"]
    assert "candidate" not in differences


def test_a_model_beside_itself_differs_by_nothing() -> None:
    found = general_text.compared(TEXTS, {"base": BASE, "candidate": BASE}, 200, 1)["differences"]["base"]
    assert all((one["value"], one["low"], one["high"]) == (0, 0, 0) for one in found.values())
