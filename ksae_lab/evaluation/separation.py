"""How well a unit tells samples of a kind from the others; only the order of its scores counts."""

import numpy as np

from ksae_lab.nn import inputs


def area_under_curve(scores: np.ndarray, of_kind: np.ndarray) -> np.ndarray:
    """The area under the ROC curve of each unit (units,), for scores (samples, units).

    It is the chance that a sample of the kind, drawn at random, has a higher score than one that
    is not, where equal scores count by half: 1 is perfect, 0.5 is chance. `of_kind` (samples,) is
    true for samples of the kind. For one column it is scikit-learn's `roc_auc_score`.

    Raises `ValueError` for scores that are no numbers, or unless there are samples of both sorts.

    Source: Mann & Whitney (1947).
    Chapter 20.
    """
    from scipy.stats import rankdata

    scores = inputs.floats(scores, "scores")
    of_kind = np.asarray(of_kind, dtype=bool)
    if scores.ndim != 2 or of_kind.shape != scores.shape[:1]:
        raise ValueError(
            f"scores have shape {scores.shape} and of_kind {of_kind.shape}; expected "
            "(samples, units) and (samples,)."
        )
    count, others = np.count_nonzero(of_kind), np.count_nonzero(~of_kind)
    if not count or not others:
        raise ValueError(f"{count} samples are of the kind and {others} are not; expected both.")
    ranks = rankdata(scores, axis=0)[of_kind].sum(axis=0)
    area: np.ndarray = (ranks - count * (count + 1) / 2) / (count * others)
    return area
