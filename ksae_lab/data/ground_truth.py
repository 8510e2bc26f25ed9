"""Data whose answer is known: samples that are sums of a few atoms of a known dictionary."""

from dataclasses import dataclass

import numpy as np

from ksae_lab.nn.checks import Rng, generator, not_negative, share, whole
from ksae_lab.nn.rows import unit_rows


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Samples x = z W + noise, and all that made them.

    x (samples, d), the codes z (samples, n) and the dictionary W (n, d) are float64. Rows of W have
    length 1; z is zero but for the active units, whose values lie between 0.5 and 1.5.

    Chapter 18.
    """

    x: np.ndarray
    z: np.ndarray
    W: np.ndarray


def dictionary(n_units: int, d: int, rng: Rng) -> np.ndarray:
    """Atoms (n, d) of length 1 in directions that are drawn at random.

    Raises `ValueError` for numbers below one.

    Chapter 18.
    """
    shape = whole(n_units, "n_units"), whole(d, "d")
    return unit_rows(generator(rng).normal(size=shape))


def samples(
    W: np.ndarray,
    n_samples: int,
    k: int,
    rng: Rng,
    *,
    noise: float = 0.0,
    together: float = 0.0,
    nested: bool = False,
) -> GroundTruth:
    """Samples of k active units each, for a dictionary W (n, d).

    Without `together`, units are drawn one after the other, any of the rest as likely as any other,
    so all supports are equally likely and no two units know of each other. Units 2 i and 2 i + 1
    are a pair: one that is drawn brings its partner with probability `together`. If units are
    `nested`, the second of a pair comes only so, never alone, as what it stands for is a kind of
    what the first stands for; then n is even, and there are at least 2 k units. Values are drawn
    uniformly from 0.5 to 1.5, and `noise` is the standard deviation of what is added to each of the
    d numbers.

    What is known of the answer: without noise every x is drawn exactly by k atoms; with other
    dictionaries only by chance.

    Raises `ValueError` for a k that units do not allow, and for numbers out of their range.

    Chapter 18.
    """
    rng, n = generator(rng), len(W)
    whole(n_samples, "n_samples")
    whole(k, "k", 1, n // 2 if nested else n)
    share(together, "together")
    not_negative(noise, "noise")
    if n % 2 and (nested or together):
        raise ValueError(f"There are {n} units; give an even number, so that they make pairs.")
    active, rows = np.zeros((n_samples, n), dtype=bool), np.arange(n_samples)
    drawn = np.arange(n) % 2 == 0 if nested else np.ones(n, dtype=bool)
    last = np.zeros(n_samples, dtype=int)
    for step in range(k):
        lots = rng.random((n_samples, n))
        unit = np.where(drawn & ~active, lots, -1.0).argmax(axis=1)
        if step and together:
            partner = last ^ 1
            comes = (rng.random(n_samples) < together) & ~active[rows, partner]
            unit = np.where(comes, partner, unit)
        last = unit
        active[rows, unit] = True
    z = np.where(active, rng.uniform(0.5, 1.5, size=active.shape), 0.0)
    x = z @ W
    return GroundTruth(x + noise * rng.normal(size=x.shape), z, W)
