"""Errors of the parts of one code, added to its own: one training for many k or many sizes.

A code is cut, and what is left must reconstruct the image as well as it can: by size, so that one
model serves every k, or by place, so that the first units are a small dictionary of their own.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np

from ksae_lab.nn.auxiliary_losses import Gradients
from ksae_lab.nn.checks import positive, whole
from ksae_lab.nn.module import ForwardPass
from ksae_lab.nn.topk import listed


class PartsOfCode(ABC):
    """The errors of parts of z (batch, n), each weighted: Σ weight · mse(x̂ of the part, x).

    `parts` are pairs (size, weight); of what, a subclass says. Units are taken away from the whole
    code one by one, the last part's first, so that all parts together cost as much as one code.
    The gradients reach "z" (batch, n), "W_dec" (n, d) and "b_dec" (d,).

    Raises `ValueError` for no parts, sizes below 0 and weights that are not above 0, and
    `TypeError` for what is no number.

    Chapter 16.
    """

    def __init__(self, parts: Iterable[tuple[int, float]]):
        self.parts = pairs(parts)

    @abstractmethod
    def order(self, units: np.ndarray, z: np.ndarray) -> np.ndarray:
        """By what the active units of a row are put in order, the smallest first: (batch, m).

        `units` (batch, m) are a row's active units and z (batch, m) their numbers.
        """

    @abstractmethod
    def length(self, size: int, units: np.ndarray, z: np.ndarray) -> np.ndarray:
        """How many of a row's units, in order, a part of that size has: (batch,)."""

    def __call__(self, forward: ForwardPass) -> tuple[float, Gradients]:
        """The value, a scalar, and the gradients."""
        z, W_dec = forward.z, forward.W_dec
        units, own = listed(z != 0, z)
        units = units.clip(min=0)  # where there is no unit, its number is 0 and draws nothing
        order = np.argsort(self.order(units, own), axis=1, kind="stable")
        units, own = (np.take_along_axis(a, order, axis=1) for a in (units, own))
        weights = np.zeros((len(z), units.shape[1] + 1), z.dtype)  # of the parts of each length
        for size, weight in self.parts:
            weights[np.arange(len(z)), self.length(size, units, own)] += weight

        error = forward.x_hat - forward.x
        # The sparse engine brings its own, which does the same.
        taken = getattr(forward, "take_away", take_away)
        value, dz, dW_dec, db_dec = taken(W_dec, units, own, weights, error)
        of_code = np.zeros_like(z)
        rows, places = np.nonzero(own)
        of_code[rows, units[rows, places]] = dz[rows, places]
        return value, {"z": of_code, "W_dec": dW_dec, "b_dec": db_dec}


class HierarchicalTopK(PartsOfCode):
    """The errors of the k largest units of a code, for several k: one model for many k.

    `parts` are pairs (k, weight) with k no larger than the model's own, whose error counts 1.
    `HierarchicalTopK((k, 1.0) for k in range(1, K))` beside `TopK(K)` is K times the published
    loss, which is the mean over k; with a single k it is the multi-TopK of Gao et al.

    Source: Balagansky et al. (2025); Gao et al. (2024).
    Chapter 16.
    """

    def order(self, units: np.ndarray, z: np.ndarray) -> np.ndarray:
        """The largest first; ties to the left."""
        return -np.abs(z)

    def length(self, size: int, units: np.ndarray, z: np.ndarray) -> np.ndarray:
        """k for every row, or all that it has."""
        return np.full(len(units), min(size, units.shape[1]))


class Matryoshka(PartsOfCode):
    """The errors of a code's first units alone, for several prefixes: nested dictionaries.

    `parts` are pairs (prefix, weight) with a prefix below n; the whole code's error counts 1. k
    units are selected once, of all n, and a prefix has those of them that are its own.

    Source: Bussmann et al. (2025).
    Chapter 16.
    """

    def order(self, units: np.ndarray, z: np.ndarray) -> np.ndarray:
        """From left to right; places that stand for no unit come last."""
        return np.where(z != 0, units, np.iinfo(units.dtype).max)

    def length(self, size: int, units: np.ndarray, z: np.ndarray) -> np.ndarray:
        """How many are in the prefix: those that come first."""
        return ((units < size) & (z != 0)).sum(axis=1)


def pairs(parts: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    """The pairs (size, weight) of parts, scalars, once it is sure that they are some.

    Raises what `PartsOfCode` raises.

    Chapter 16.
    """
    found = list(parts)
    if not found or any(len(pair) != 2 for pair in found):
        raise ValueError(f"The parts are {found!r}; give pairs (size, weight).")
    return [(whole(size, "size", 0), positive(weight, "weight")) for size, weight in found]


def take_away(
    W_dec: np.ndarray,
    units: np.ndarray,
    own: np.ndarray,
    weights: np.ndarray,
    error: np.ndarray,
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Take a row's units away one by one, from the last, and weigh the errors on the way.

    `units` and their numbers `own` have shape (batch, m), `weights` (batch, m + 1): what the error
    counts when none, one, … m units are left. `error` (batch, d) is that of the whole code.
    Returns the sum as a mean over images and pixels, and its gradients: of the numbers (batch, m),
    of W_dec (n, d) and of b_dec (d,). A unit learns from all that is counted before it leaves.

    Chapter 16.
    """
    from scipy.sparse import csr_array

    m = own.shape[1]
    slope, value = np.zeros_like(error), 0.0
    dz, drawn = np.empty_like(own), np.empty((*own.shape, error.shape[1]), own.dtype)
    for i in range(m, -1, -1):
        has = weights[:, i, None]
        value += float(np.sum(has * error**2))
        slope = slope + has * error
        if i:
            rows, z = W_dec[units[:, i - 1]], own[:, i - 1, None]
            dz[:, i - 1] = np.sum(slope * rows, axis=1)
            drawn[:, i - 1] = z * slope
            error = error - z * rows
    places = (np.ones(own.size, own.dtype), (units.ravel(), np.arange(own.size)))
    sums = csr_array(places, shape=(len(W_dec), own.size))
    scale = own.dtype.type(2 / error.size)  # the derivative of a square, and of a mean
    dW_dec = sums @ drawn.reshape(own.size, -1)
    return value / error.size, scale * dz, scale * dW_dec, scale * slope.sum(axis=0)
