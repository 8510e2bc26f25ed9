"""The product of weights of one byte, compiled by numba."""

import numpy as np
from numba import njit

TOP = 32767  # an image's largest number in magnitude becomes this
PIECE = 512  # 512 · 127 · 32,767 is the most that 32 bits hold
assert PIECE * 127 * TOP < 2**31


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
