"""The loops of an encoder, compiled by numba: the k largest, and the product of bytes."""

import numpy as np
from numba import njit

from ksae_lab.engine.compiled import EXACT
from ksae_lab.engine.heap import sift

BLOCK = 64  # numbers whose greatest is looked for before any of them is
TOP = 32767  # an image's largest number in magnitude becomes this
PIECE = 512  # 512 · 127 · 32,767 is the most that 32 bits hold
assert PIECE * 127 * TOP < 2**31


@njit(**EXACT)
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
            sift(best, where, i)
        for start in range(k, n, BLOCK):
            end = min(start + BLOCK, n)
            greatest = row[start]
            for j in range(start + 1, end):
                greatest = max(greatest, row[j])
            if greatest > best[0]:  # a later one that is equal loses
                for j in range(start, end):
                    if row[j] > best[0]:
                        best[0], where[0] = row[j], j
                        sift(best, where, 0)


@njit(**EXACT)
def _dot(w: np.ndarray, x: np.ndarray) -> np.int32:
    # Rounded to 32 bits after every operation, so that a processor may take many at once.
    total = np.int32(0)
    for j in range(len(w)):
        total = np.int32(total + np.int32(w[j]) * np.int32(x[j]))
    return total


@njit(**EXACT)
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
