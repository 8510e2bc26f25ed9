"""What repetitions can say: intervals for a mean and a difference, p-values for many questions."""

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Difference:
    """How far one side's mean error lies above another's, and how well that is known: scalars.

    `half_width` is that of the 95 % interval, `p` the two-sided p-value of no difference.

    Lab 2.
    """

    mean: float
    half_width: float
    p: float

    def row(self) -> dict[str, float]:
        """The three scalars by the names that they have as columns of a table."""
        return {"difference": self.mean, "half_width": self.half_width, "p": self.p}


def difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """Errors a (seeds, images) minus errors b (other seeds, the same images), for any of either.

    Would other seeds and other images say the same? Both are drawn at random here, and crossed:
    every seed's network sees every image. Variances add up: that of an image's mean difference,
    which is paired, and for each side that of a seed's mean, less what images and seeds of one side
    have in common, which both hold. A side without a seed has one row, and adds none. The degrees
    of freedom are Satterthwaite's. With one row a side this is the paired t-test over images, and
    where all images are alike it is Welch's over seeds.

    Raises `ValueError` for other shapes or fewer than two images, and what
    `ksae_lab.nn.inputs.real` raises.

    Source: Satterthwaite (1946); Clark (1973) for why both have to be drawn.
    Lab 2.
    """
    from scipy.stats import t

    sides = [inputs.floats(side, "errors").astype(float) for side in (a, b)]
    shapes = [side.shape for side in sides]
    if any(side.ndim != 2 or not len(side) for side in sides) or shapes[0][1] != shapes[1][1]:
        raise ValueError(
            f"The errors have shapes {shapes[0]} and {shapes[1]}; "
            "expected (seeds, images) with the same images."
        )
    images = shapes[0][1]
    if images < 2:
        raise ValueError(f"There is {images} image; give errors of two or more.")
    paired = sides[0].mean(axis=0) - sides[1].mean(axis=0)
    parts = [(paired.var(ddof=1) / images, images - 1)]
    for side in sides:
        seeds = len(side)
        if seeds > 1:
            by_seed = side.mean(axis=1, keepdims=True)
            rest = side - side.mean(axis=0) - by_seed + side.mean()
            both = (rest**2).sum() / ((seeds - 1) * (images - 1)) / (seeds * images)
            parts.append((max(by_seed.var(ddof=1) / seeds - both, 0), seeds - 1))
    variance = sum(part for part, _ in parts)
    mean = float(paired.mean())
    if not variance:
        return Difference(mean, 0.0, float(mean == 0))
    free = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    error = float(np.sqrt(variance))
    p = 2 * t.sf(abs(mean) / error, free)
    return Difference(mean, float(t.ppf(0.975, free) * error), float(p))


def above_zero(values: np.ndarray) -> Difference:
    """How far the mean of values (seeds, images) lies above zero, for any seeds and images.

    The values are what one network says of one image: how much worse one of two codes draws it,
    say. What both codes owe to the network's luck is then no part of the interval.

    Raises `ValueError` for other shapes, and what `difference` raises.

    Lab 8.
    """
    found = inputs.floats(values, "values")
    if found.ndim != 2:
        raise ValueError(f"The values have shape {found.shape}; expected (seeds, images).")
    return difference(found, np.zeros_like(found[:1]))


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
