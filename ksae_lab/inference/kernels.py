"""The loops of an encoder, compiled by numba: the k largest, and the product of bytes."""

from typing import Any

import numpy as np
from numba import njit

BLOCK = 64  # numbers whose greatest is looked for before any of them is
TOP = 32767  # an image's largest number in magnitude becomes this
PIECE = 512  # 512 · 127 · 32,767 is the most that 32 bits hold
assert PIECE * 127 * TOP < 2**31


@njit(inline="always")
def _before(v: float, i: int, w: float, j: int) -> Any:
    """Whether unit i with v loses against unit j with w: of equal numbers the first unit wins."""
    return v < w or (v == w and i > j)


@njit(cache=True)
def _sift(val: np.ndarray, idx: np.ndarray, at: int, k: int) -> None:
    """Let the number at `at` sink in a heap whose root is the one to lose first."""
    v, i = val[at], idx[at]
    while True:
        child = 2 * at + 1
        if child >= k:
            break
        if child + 1 < k and _before(val[child + 1], idx[child + 1], val[child], idx[child]):
            child += 1
        if not _before(val[child], idx[child], v, i):
            break
        val[at], idx[at] = val[child], idx[child]
        at = child
    val[at], idx[at] = v, i


@njit(cache=True)
def largest(scores: np.ndarray, idx: np.ndarray, val: np.ndarray) -> None:
    """Put the k largest of each row of scores (batch, n) into idx and val, ties to the left.

    The cost is one look at each number, and a heap's for those that enter it.

    Source: Williams (1964) for the heap.
    Chapter 2.
    """
    n, k = scores.shape[1], idx.shape[1]
    for r in range(len(scores)):
        row, best, where = scores[r], val[r], idx[r]
        for i in range(k):
            best[i], where[i] = row[i], i
        for i in range(k // 2 - 1, -1, -1):
            _sift(best, where, i, k)
        for start in range(k, n, BLOCK):
            end = min(start + BLOCK, n)
            greatest = row[start]
            for j in range(start + 1, end):
                greatest = max(greatest, row[j])
            if greatest > best[0]:  # a later one that is equal loses
                for j in range(start, end):
                    if row[j] > best[0]:
                        best[0], where[0] = row[j], j
                        _sift(best, where, 0, k)


@njit(cache=True)
def _dot(w: np.ndarray, x: np.ndarray) -> np.int32:
    # Rounded to 32 bits after every operation, so that a processor may take many at once.
    total = np.int32(0)
    for j in range(len(w)):
        total = np.int32(total + np.int32(w[j]) * np.int32(x[j]))
    return total


@njit(cache=True)
def scores(x: np.ndarray, W: np.ndarray, step: np.ndarray, bias: np.ndarray, h: np.ndarray) -> None:
    """h = x (W · step)ᵀ + bias, (batch, n), for x (batch, d), and bytes W (n, d) with a step each.

    Each row of x is rounded to 16 bits: at most half a 32,767th of its largest number is lost. All
    sums are of integers, exact, for 512 numbers at a time.

    Source: Jacob et al. (2018) for products of integers.
    Chapter 17.
    """
    n, d = W.shape
    q = np.empty(d, np.int16)
    for r in range(len(x)):
        largest = np.abs(x[r]).max()
        unit = largest / np.float32(TOP) if largest > 0 else np.float32(1)
        for j in range(d):
            q[j] = np.int16(np.rint(x[r, j] / unit))
        for u in range(n):
            total = np.float32(0)
            for start in range(0, d, PIECE):
                total += np.float32(_dot(W[u, start : start + PIECE], q[start : start + PIECE]))
            h[r, u] = total * (step[u] * unit) + bias[u]
