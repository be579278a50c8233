"""How a model is judged: predictions, metrics with intervals, slices, judges and gates."""
