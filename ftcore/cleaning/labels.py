"""Likely label errors: cleanlab's confident learning over cross-validated predictions.

C. Northcutt, L. Jiang and I. Chuang (2021), *Confident Learning: Estimating Uncertainty in Dataset Labels*.
"""

from __future__ import annotations

from collections.abc import Sequence

FOLDS = 5
SEED = 17


def doubtful(texts: Sequence[str], labels: Sequence[str]) -> list[tuple[int, str, float]]:
    """Texts whose label a model trained on the others does not believe, the most doubtful first.

    Args:
        texts: at least one.
        labels: one a text.

    Returns:
        Position, the label the model would give, and its probability of the given label, 0 to 1; nothing where a label
        has fewer rows than folds.
    """
    import numpy as np
    from cleanlab.filter import find_label_issues
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    names, codes = np.unique(np.array(labels, dtype=object).astype(str), return_inverse=True)
    if len(names) < 2 or np.bincount(codes).min() < FOLDS:
        return []
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=100_000), LogisticRegression(max_iter=500)
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    sure = cross_val_predict(model, list(texts), codes, cv=folds, method="predict_proba")
    issues = find_label_issues(codes, sure, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [(int(i), str(names[sure[i].argmax()]), float(sure[i, codes[i]])) for i in issues]
