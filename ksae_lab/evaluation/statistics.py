"""What a few repetitions can say: an interval for a mean, and p-values for many questions."""

from collections.abc import Sequence

import numpy as np

from ksae_lab.nn import inputs


def interval_half_width(samples: np.ndarray) -> float:
    """Half the 95 % t-interval of the mean of `samples` (seeds,): a scalar; two seeds or more.

    Raises `ValueError` for fewer than two, and what `ksae_lab.nn.inputs.real` raises.

    Source: Student (1908).
    Lab 1.
    """
    from scipy.stats import t

    samples = inputs.floats(samples, "samples")
    if samples.ndim != 1 or len(samples) < 2:
        raise ValueError(f"The samples have shape {samples.shape}; expected (seeds,), 2 or more.")
    standard_error = samples.std(ddof=1) / np.sqrt(len(samples))
    return float(t.ppf(0.975, len(samples) - 1) * standard_error)


def holm(p: Sequence[float]) -> np.ndarray:
    """The p-values p (tests,) of a family, adjusted: (tests,), in the same order.

    Whoever believes those at or below a level is wrong somewhere in the family with at most that
    probability. The smallest is multiplied by the number of tests, the next by one less, and so on;
    none ends below a smaller one's, and none above 1.

    Raises `ValueError` for numbers that are no p-values, and what `ksae_lab.nn.inputs.real` raises.

    Source: Holm (1979).
    Lab 7.
    """
    found = inputs.floats(p, "p-values")
    if found.ndim != 1 or (found < 0).any() or (found > 1).any():
        raise ValueError(f"The p-values are {p}; give one for each test, from 0 to 1.")
    order = np.argsort(found)
    left = np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(found[order] * left), 1)
    return adjusted
