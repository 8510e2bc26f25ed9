"""The selection itself, as tensors."""

from functools import partial
from typing import Any

import numpy as np
from keras import ops

from ksae_lab.nn.topk import By

RUNGS = (16, 64, 256, 1024)  # how far down a row is put in order: no further than k asks for


def top_k_mask(h: Any, k: Any, *, by: By = "value") -> Any:
    """Mark the k largest entries of each row: the tensor twin of `ksae_lab.nn.topk.top_k_mask`.

    h has shape (..., n), the boolean mask too; exactly k, ties to the lowest index.
    `k` is a number or an integer tensor: it may change without the graph being traced again.
    A NaN has no rank; it is marked always, so that it reaches the loss and is seen.
    No gradient passes through the mask, which is made of comparisons.
    Inside a graph nothing can be refused: a k above n marks everything. Selectors refuse it.

    Chapter 6.
    """
    n = h.shape[-1]
    k = ops.cast(k, "int32")
    scores = ops.abs(h) if by == "magnitude" else h
    scores = ops.where(scores == 0, 0, scores)  # XLA would rank 0.0 above -0.0
    # XLA and TensorFlow want to know how many to put in order when the graph is made. Putting all
    # in order takes several times as long, so there is a branch for every power of four.
    sizes = [*(size for size in RUNGS if size < n), n]
    rung = ops.sum(ops.cast(k > ops.convert_to_tensor(sizes, "int32"), "int32"))
    kth_largest, its_index = ops.switch(rung, [partial(_kth, scores, k, size) for size in sizes])
    # Equal numbers are ordered by their index, so of a tie those up to the k-th's index are in.
    above = ops.logical_not(scores <= kth_largest)
    tied = (scores == kth_largest) & (ops.arange(n, dtype="int32") <= its_index)
    return (above | tied) & (k > 0)


def prefix_mask(h: Any, k: Any, prefix: Any, by: By) -> Any:
    """The k largest of the first `prefix` entries of each row of h (..., n): booleans (..., n).

    Chapter 16.
    """
    inside = ops.arange(h.shape[-1]) < ops.cast(prefix, "int32")
    # Entries outside come last: of equals the lowest index is taken.
    last = 0.0 if by == "magnitude" else -np.inf
    return inside & top_k_mask(ops.where(inside, h, last), k, by=by)


def _kth(scores: Any, k: Any, size: int) -> Any:
    """The k-th largest number of each row (..., 1) and its index, if k is at most `size`."""
    values, indices = ops.top_k(scores, size)
    # By `take` and not by a slice: XLA would turn a slice of top_k into a sort of everything.
    place = ops.reshape(ops.clip(k - 1, 0, size - 1), (1,))
    return ops.take(values, place, axis=-1), ops.cast(ops.take(indices, place, axis=-1), "int32")
