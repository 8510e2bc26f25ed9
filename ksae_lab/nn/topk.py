"""Which k? The one discrete choice that everything else in the book turns around."""

from typing import Literal

import numpy as np

from ksae_lab.nn import inputs

By = Literal["value", "magnitude"]


def top_k_mask(h: np.ndarray, k: int, *, by: By = "value") -> np.ndarray:
    """Mark the k largest entries of each row: exactly k, ties to the lowest index.

    `h` has shape (..., n); the mask is boolean and has the same shape.
    `by="value"` ranks signed values, `by="magnitude"` ranks absolute values.
    The cost is O(n) a row: a partition finds the k-th largest value, and no row is sorted.
    `k = 0` selects nothing and `k = n` everything.

    Raises `TypeError` if `k` is no integer or `h` holds no real numbers, and `ValueError`
    if `k` is outside 0…n, if `h` is a scalar or holds a NaN (which has no rank),
    or if `by` is not known.

    Chapter 2.
    """
    scores = ranked(h, by)
    n = scores.shape[-1]
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
        raise TypeError(f"k is {k!r}, not an integer. Give the number of units to keep, 0 to {n}.")
    k = int(k)  # a small NumPy integer would overflow in n - k
    if not 0 <= k <= n:
        raise ValueError(f"k = {k}, but a row has {n} entries. Choose k from 0 to {n}.")
    if k == 0:
        return np.zeros(scores.shape, dtype=bool)

    kth_largest = np.partition(scores, n - k, axis=-1)[..., n - k, None]
    above = scores > kth_largest
    # A threshold alone would keep every unit of a tie. Fewer than k are above it;
    # the places that are left go to the tied units from the left.
    tied = scores == kth_largest
    places_left = k - above.sum(axis=-1, keepdims=True)
    return above | (tied & (tied.cumsum(axis=-1) <= places_left))


def ranked(h: np.ndarray, by: By = "value") -> np.ndarray:
    """The numbers that are ranked, of the shape of h (..., n), once it is sure that they can be.

    Raises what `top_k_mask` raises for its h.

    Chapter 2.
    """
    h = inputs.real(h, "pre-activations", finite=False)
    if h.ndim == 0:
        raise ValueError("h is a single number. Give an array of shape (..., n), units last.")
    if h.dtype.kind == "b":
        raise TypeError("h holds bool, which has no order to rank by. Give numbers.")
    if np.isnan(h).any():
        raise ValueError(
            "h holds NaN, which is neither larger nor smaller than anything. "
            "Look for it in the data first; in training, a learning rate that is too high makes it."
        )
    if by == "value":
        return h
    if by == "magnitude":
        size = np.abs(h)
        # The lowest signed integer has no positive twin; its absolute value fits when unsigned.
        signed = np.issubdtype(h.dtype, np.signedinteger)
        return size.astype(f"u{h.dtype.itemsize}") if signed else size
    raise ValueError(f"by is {by!r}; choose 'value' or 'magnitude'.")


def listed(mask: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The units of a mask (batch, n), from left to right, and their values: (batch, m) both.

    m is the most that a row has, and at least 1. Shorter rows end with −1 and 0.

    Chapter 16.
    """
    rows, units = np.nonzero(mask)
    counts = np.bincount(rows, minlength=len(mask))
    places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    idx = np.full((len(mask), counts.max(initial=1)), -1)
    found = np.zeros(idx.shape, values.dtype)
    idx[rows, places], found[rows, places] = units, values[rows, units]
    return idx, found
