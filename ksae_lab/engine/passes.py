"""Forward and backward through the decoder, by the rows that are selected.

`idx` and the arrays beside it have shape (batch, k): a row's selected units and what belongs to
them. Weights lie unit by unit, (n, d). A pair is one selected unit of one row, p = row · k + place.
"""

import numpy as np
from numba import njit

from ksae_lab.engine.compiled import EXACT, LOOSE


@njit(**LOOSE)
def decode(first, end, idx, z, W_dec, b_dec, target, x_hat, error, dz, losses):  # type: ignore[no-untyped-def]
    """x̂ (batch, d) from the selected rows of W_dec (n, d), and the slopes of the mean square error.

    `error` (batch, d) becomes ∂loss/∂x̂, `dz` (batch, k) ∂loss/∂z, and `losses` (batch,) each row's
    sum of squares, for rows first to end.

    Chapter 4.
    """
    batch, d = target.shape
    k = idx.shape[1]
    scale = target.dtype.type(2) / target.dtype.type(batch * d)
    for r in range(first, end):
        out, wrong = x_hat[r], error[r]
        out[:] = b_dec
        i = 0
        while i + 4 <= k:  # four at a time: so `out` is written a quarter as often
            a, b, c, e = z[r, i], z[r, i + 1], z[r, i + 2], z[r, i + 3]
            A, B = W_dec[idx[r, i]], W_dec[idx[r, i + 1]]
            C, E = W_dec[idx[r, i + 2]], W_dec[idx[r, i + 3]]
            for j in range(d):
                out[j] += (a * A[j] + b * B[j]) + (c * C[j] + e * E[j])
            i += 4
        while i < k:
            a, A = z[r, i], W_dec[idx[r, i]]
            for j in range(d):
                out[j] += a * A[j]
            i += 1
        squares = out[0] * 0
        for j in range(d):
            off = out[j] - target[r, j]
            squares += off * off
            wrong[j] = scale * off
        losses[r] = squares
        i = 0
        while i + 4 <= k:
            A, B = W_dec[idx[r, i]], W_dec[idx[r, i + 1]]
            C, E = W_dec[idx[r, i + 2]], W_dec[idx[r, i + 3]]
            a = b = c = e = out[0] * 0
            for j in range(d):
                a += wrong[j] * A[j]
                b += wrong[j] * B[j]
                c += wrong[j] * C[j]
                e += wrong[j] * E[j]
            dz[r, i], dz[r, i + 1], dz[r, i + 2], dz[r, i + 3] = a, b, c, e
            i += 4
        while i < k:
            a, A = out[0] * 0, W_dec[idx[r, i]]
            for j in range(d):
                a += wrong[j] * A[j]
            dz[r, i] = a
            i += 1


@njit(**EXACT)
def by_unit(idx: np.ndarray, start: np.ndarray, pairs: np.ndarray) -> None:
    """Sort the pairs of idx by unit: those of unit u are pairs[start[u]:start[u + 1]], in order.

    start has shape (n + 1,) and pairs (batch · k,).

    Chapter 5.
    """
    batch, k = idx.shape
    start[:] = 0
    for r in range(batch):
        for i in range(k):
            start[idx[r, i] + 1] += 1
    for u in range(1, len(start)):
        start[u] += start[u - 1]
    place = start[:-1].copy()
    for p in range(batch * k):
        u = idx[p // k, p % k]
        pairs[place[u]] = p
        place[u] += 1
