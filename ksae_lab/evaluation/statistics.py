"""What a few repetitions can say: an interval for a mean, and p-values for many questions."""

from collections.abc import Sequence

import numpy as np


def interval_half_width(samples: np.ndarray) -> float:
    """Half the 95 % t-interval of the mean of `samples` (seeds,): a scalar; two seeds or more.

    Source: Student (1908).
    Lab 1.
    """
    from scipy.stats import t

    standard_error = samples.std(ddof=1) / np.sqrt(len(samples))
    return float(t.ppf(0.975, len(samples) - 1) * standard_error)


def holm(p: Sequence[float]) -> np.ndarray:
    """The p-values p (tests,) of a family, adjusted: (tests,), in the same order.

    Whoever believes those at or below a level is wrong somewhere in the family with at most that
    probability. The smallest is multiplied by the number of tests, the next by one less, and so on;
    none ends below a smaller one's, and none above 1.

    Source: Holm (1979).
    Lab 7.
    """
    order = np.argsort(p)
    left = np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(np.asarray(p)[order] * left), 1)
    return adjusted
