"""The selection itself, as tensors."""

from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from ksae_lab.nn.topk import By

RUNGS = (16, 64, 256, 1024)  # how far down a row is put in order: no further than k asks for


def top_k_mask(h: Any, k: Any, *, by: By = "value") -> Any:
    """Mark the k largest entries of each row: the tensor twin of `ksae_lab.nn.topk.top_k_mask`.

    h has shape (..., n), the boolean mask too; exactly k, ties to the lowest index.
    `k` is a number or an integer tensor: it may change without the graph being traced again.
    Nothing can be refused inside a graph. So a NaN, which has no rank, counts as the largest: it
    is among the k, reaches the loss and is seen. A k above n marks everything; selectors refuse it.
    No gradient passes through the mask, which is made of comparisons.

    Chapter 6.
    """
    n = h.shape[-1]
    k = ops.cast(k, "int32")
    scores = ranked(h, by)
    # XLA and TensorFlow want to know how many to put in order when the graph is made. Putting all
    # in order takes several times as long, so there is a branch for every power of four.
    sizes = [*(size for size in RUNGS if size < n), n]
    rung = ops.sum(ops.cast(k > ops.convert_to_tensor(sizes, "int32"), "int32"))
    kth_largest = ops.switch(rung, [partial(_kth, scores, k, size) for size in sizes])
    return first_of_ties(scores, kth_largest, k)


def ranked(h: Any, by: By) -> Any:
    """The numbers by which the entries of h (..., n) are compared, a NaN the largest: (..., n).

    Chapter 6.
    """
    scores = ops.abs(h) if by == "magnitude" else h
    whole = not keras.backend.is_float_dtype(keras.backend.standardize_dtype(h.dtype))
    return scores if whole else ops.where(ops.isnan(scores), np.inf, scores)


def first_of_ties(scores: Any, kth_largest: Any, k: Any) -> Any:
    """Mark exactly k of each row (..., n), given its k-th largest number, (..., 1).

    Whoever finds that number, every backend agrees on it. On the order of equal numbers they do
    not agree, so the places that are left for them are counted here, from the left.

    Chapter 6.
    """
    above, tied = scores > kth_largest, scores == kth_largest
    room = k - ops.sum(ops.cast(above, k.dtype), axis=-1, keepdims=True)
    tied_so_far = partial(ops.cumsum, ops.cast(tied, k.dtype), axis=-1)
    all_fit = ops.all(ops.sum(ops.cast(tied, k.dtype), axis=-1, keepdims=True) <= room)
    # Nearly always the k-th is tied with none: then there is nothing to count.
    return above | ops.cond(all_fit, lambda: tied, lambda: tied & (tied_so_far() <= room))


def prefix_mask(h: Any, k: Any, prefix: Any, by: By) -> Any:
    """The k largest of the first `prefix` entries of each row of h (..., n): booleans (..., n).

    Chapter 16.
    """
    inside = ops.arange(h.shape[-1]) < ops.cast(prefix, "int32")
    # Entries outside come last: of equals the lowest index is taken.
    last = 0.0 if by == "magnitude" else -np.inf
    return inside & top_k_mask(ops.where(inside, h, last), k, by=by)


def _kth(scores: Any, k: Any, size: int) -> Any:
    """The k-th largest number of each row (..., 1), if k is at most `size`."""
    values, _ = ops.top_k(scores, size)
    # By `take` and not by a slice: XLA would turn a slice of top_k into a sort of everything.
    place = ops.reshape(ops.clip(k - 1, 0, size - 1), (1,))
    return ops.take(values, place, axis=-1)
