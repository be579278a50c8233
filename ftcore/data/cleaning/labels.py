"""Likely label errors: cleanlab's confident learning over cross-validated predictions.

C. Northcutt, L. Jiang and I. Chuang (2021), *Confident Learning: Estimating Uncertainty in Dataset Labels*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

FOLDS = 5
SEED = 17
EMBEDDING_C = 0.01
"""Inverse strength of the regularisation over standardised embeddings."""


def doubtful(
    texts: Sequence[str], labels: Sequence[str], embed: Callable[[Sequence[str]], np.ndarray] | None = None
) -> list[tuple[int, str, float]]:
    """Texts whose label a model trained on the others does not believe, the most doubtful first.

    Args:
        texts: at least one.
        labels: one a text.
        embed: gives embeddings ``[texts, size]``. Two logistic regressions are then asked, one over the embeddings and
            one over TF-IDF of words and pairs of words, and the mean of their probabilities counts: together they see
            more than either. Without it the words stand alone.

    Returns:
        Position, the label the model would give, and its probability of the given label, 0 to 1; nothing where a label
        has fewer rows than folds.
    """
    import numpy as np
    from cleanlab.filter import find_label_issues
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    names, codes = np.unique(np.array(labels, dtype=object).astype(str), return_inverse=True)
    if len(names) < 2 or np.bincount(codes).min() < FOLDS:
        return []
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    views: list[tuple[Any, Any]] = [(_words(), list(texts))]
    if embed:
        views.append((_meaning(), embed(texts)))
    sure = np.mean(
        [cross_val_predict(model, view, codes, cv=folds, method="predict_proba") for model, view in views], axis=0
    )
    issues = find_label_issues(codes, sure, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [(int(i), str(names[sure[i].argmax()]), float(sure[i, codes[i]])) for i in issues]


def _words() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=100_000)
    return make_pipeline(words, LogisticRegression(max_iter=500))


def _meaning() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, C=EMBEDDING_C))
