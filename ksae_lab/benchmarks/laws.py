"""How a time grows: an exponent with its interval, and where no single exponent will do."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

APART = 0.25  # from the law's exponent: further, and the law does not hold between two sizes


@dataclass(frozen=True)
class Law:
    """time ~ size^a: a, its 95 % interval, and the `local` exponents between neighbouring sizes.

    `breaks` are the pairs of neighbours between which the time grows otherwise.

    Chapter 17.
    """

    exponent: float
    low: float
    high: float
    local: list[float]
    breaks: list[list[float]]

    def told(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def fit(sizes: Sequence[float], times: Sequence[float]) -> Law:
    """The straight line through the logarithms, by least squares; three sizes or more.

    The interval is Student's, from how far the points lie from the line.

    Raises `ValueError` for fewer sizes, and for numbers that have no logarithm.

    Chapter 17.
    """
    from scipy.stats import t

    if len(sizes) < 3 or len(sizes) != len(times):
        raise ValueError(f"There are {len(sizes)} sizes and {len(times)} times; give 3 of each.")
    if min(*sizes, *times) <= 0:
        raise ValueError("A size or a time is not above 0; a law is fitted to logarithms.")
    x, y = np.log(sizes), np.log(times)
    spread = ((x - x.mean()) ** 2).sum()
    a = float(((x - x.mean()) * (y - y.mean())).sum() / spread)
    left = y - y.mean() - a * (x - x.mean())
    free = len(x) - 2
    half = float(t.ppf(0.975, free) * np.sqrt((left**2).sum() / free / spread))
    local = [float(each) for each in np.diff(y) / np.diff(x)]
    breaks = [
        [float(sizes[i]), float(sizes[i + 1])]
        for i, each in enumerate(local)
        if abs(each - a) > APART
    ]
    return Law(a, a - half, a + half, local, breaks)
