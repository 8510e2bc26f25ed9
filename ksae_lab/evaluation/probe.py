"""What a linear classifier can read off a code: the usual test of what a code is good for.

The classifier is scikit-learn's logistic regression. It sees codes whose units are each divided by
their own standard deviation over the training codes, so that units with small values count as
much as others; no mean is taken away, so that zero stays zero.
"""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ksae_lab.nn import inputs
from ksae_lab.nn.checks import positive

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
SPARSE = 0.1  # where fewer numbers than this share are not zero, storing only those is faster

Labelled = tuple[np.ndarray, np.ndarray | None]  # codes (samples, n) and labels (samples,)


class Probe(NamedTuple):
    """What came of choosing C: the choice, and two shares of wrong answers, each a scalar.

    `wrong` (samples,) says of each test code whether it was put into a class not its label's.

    Chapter 15.
    """

    C: float
    validation: float
    test: float
    wrong: np.ndarray


def best_probe(
    train: Labelled,
    validation: Labelled,
    test: Labelled,
    scales: Sequence[np.ndarray | None] = (None,),
) -> Probe:
    """Fit a probe for each scale and each C of `STRENGTHS`; take what errs least in validation.

    `train`, `validation` and `test` are pairs of codes (samples, n) and labels (samples,);
    `scales` are as in `fitted`. The larger C, the closer the fit; of equals the first is taken, and
    so the smallest C. Test labels serve for the last number only.

    Raises what `fitted` and `error` raise.

    Chapter 15.
    """
    tried = [(C, fitted(train, C, scale)) for scale, C in product(scales, STRENGTHS)]
    errors = [error(probe, validation) for _, probe in tried]
    best = int(np.argmin(errors))
    C, probe = tried[best]
    wrong = mistakes(probe, test)
    return Probe(C, errors[best], float(wrong.mean()), wrong)


def fitted(train: Labelled, C: float, scale: np.ndarray | None = None) -> "LogisticRegression":
    """A logistic regression on codes (samples, n) and their labels (samples,), ready to `predict`.

    `scale` (n,) is what each unit is divided by while fitting, if not by its own standard
    deviation: that of many codes, say, where few have labels.
    scikit-learn's lbfgs stops where no slope is above 1e-4, or after 1,000 steps: within half a
    minute for 50,000 codes of 1,000 units.

    Raises `ValueError` if there are no labels, not one for each code, or all the same, and for a C
    that is not above 0, and what `ksae_lab.nn.inputs.real` raises.

    Chapter 15.
    """
    from sklearn.linear_model import LogisticRegression

    z, y = _labelled(train, "learn from")
    positive(C, "C")
    if len(np.unique(y)) < 2:
        raise ValueError("The labels are all the same; give those of two classes or more.")
    scale = z.std(axis=0) if scale is None else inputs.floats(scale, "scales")
    if scale.shape != z.shape[1:]:
        raise ValueError(f"The scales have shape {scale.shape}; expected {z.shape[1:]}.")
    scale = np.where(scale > 0, scale, 1).astype(z.dtype)
    probe = LogisticRegression(C=C, tol=1e-4, max_iter=1000).fit(_compact(z / scale), y)
    probe.coef_ /= scale  # from here on it takes codes as they are
    return probe


def error(probe: "LogisticRegression", test: Labelled) -> float:
    """The share, a scalar, of codes (samples, n) that `probe` puts into a class not their label's.

    Raises what `mistakes` raises.

    Chapter 15.
    """
    return float(mistakes(probe, test).mean())


def mistakes(probe: "LogisticRegression", test: Labelled) -> np.ndarray:
    """Which of the codes (samples, n) `probe` puts into a class not their label's: (samples,).

    Raises `ValueError` if there are no labels (samples,), or not one for each code, and for codes
    of other units than the probe has learned.

    Chapter 15.
    """
    z, y = _labelled(test, "compare with")
    inputs.rows(z, probe.coef_.shape[1], "codes")
    return probe.predict(z) != y


def _labelled(codes_and_labels: Labelled, to: str) -> tuple[np.ndarray, np.ndarray]:
    """The codes as floats, and as many labels."""
    if not isinstance(codes_and_labels, (tuple, list)) or len(codes_and_labels) != 2:
        given = type(codes_and_labels).__name__
        raise TypeError(f"A {given} is given; give a pair (codes, labels).")
    z, y = codes_and_labels
    if y is None:
        raise ValueError(f"There are no labels to {to}; give a data set that has some.")
    z, y = inputs.floats(z, "codes"), np.asarray(y)
    if z.ndim != 2 or y.shape != z.shape[:1] or not len(z):
        raise ValueError(
            f"The codes have shape {z.shape}, the labels {y.shape}; expected (samples, n) and "
            "(samples,), one or more."
        )
    if y.dtype.kind in "fc" and not np.isfinite(y).all():
        raise ValueError("The labels hold NaN or infinity; leave such samples out.")
    return z, y


def _compact(z: np.ndarray) -> "np.ndarray | csr_matrix":
    """The codes as a sparse matrix, if they are sparse."""
    from scipy.sparse import csr_matrix

    return csr_matrix(z) if np.count_nonzero(z) < SPARSE * z.size else z
