"""Forward and backward through the decoder, by the rows that are selected.

`idx` and the arrays beside it have shape (batch, k): a row's selected units and what belongs to
them. Weights lie unit by unit, (n, d). A pair is one selected unit of one row, p = row · k + place.
"""

import numpy as np
from numba import njit

from ksae_lab.engine.compiled import EXACT, LOOSE


@njit(**LOOSE)
def decode(  # type: ignore[no-untyped-def]
    first, end, idx, z, slope, W_dec, b_dec, target, x_hat, error, dz, losses
):
    """x̂ (batch, d) from the selected rows of W_dec (n, d), and the slopes of the mean square error.

    Pairs whose z and slope φ′(h) are both 0 are passed over. `error` (batch, d) becomes ∂loss/∂x̂,
    `dz` (batch, k), all 0 before, ∂loss/∂z, and `losses` (batch,) each row's sum of squares, for
    rows first to end.

    Chapter 4.
    """
    batch, d = target.shape
    k = idx.shape[1]
    scale = target.dtype.type(2) / target.dtype.type(batch * d)
    places, units, amounts = np.empty(k, np.int64), np.empty(k, np.int64), np.empty(k, z.dtype)
    for r in range(first, end):
        out, wrong = x_hat[r], error[r]
        count = 0
        for i in range(k):
            if z[r, i] != 0 or slope[r, i] != 0:
                places[count], units[count], amounts[count] = i, idx[r, i], z[r, i]
                count += 1
        out[:] = b_dec
        i = 0
        while i + 4 <= count:  # four at a time: so `out` is written a quarter as often
            a, b, c, e = amounts[i], amounts[i + 1], amounts[i + 2], amounts[i + 3]
            A, B = W_dec[units[i]], W_dec[units[i + 1]]
            C, E = W_dec[units[i + 2]], W_dec[units[i + 3]]
            for j in range(d):
                out[j] += (a * A[j] + b * B[j]) + (c * C[j] + e * E[j])
            i += 4
        while i < count:
            a, A = amounts[i], W_dec[units[i]]
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
        while i + 4 <= count:
            A, B = W_dec[units[i]], W_dec[units[i + 1]]
            C, E = W_dec[units[i + 2]], W_dec[units[i + 3]]
            a = b = c = e = out[0] * 0
            for j in range(d):
                a += wrong[j] * A[j]
                b += wrong[j] * B[j]
                c += wrong[j] * C[j]
                e += wrong[j] * E[j]
            dz[r, places[i]], dz[r, places[i + 1]] = a, b
            dz[r, places[i + 2]], dz[r, places[i + 3]] = c, e
            i += 4
        while i < count:
            a, A = out[0] * 0, W_dec[units[i]]
            for j in range(d):
                a += wrong[j] * A[j]
            dz[r, places[i]] = a
            i += 1


@njit(**LOOSE)
def take_away(W_dec, units, own, weights, error):  # type: ignore[no-untyped-def]
    """`ksae_lab.nn.parts_of_codes.take_away`, row by row: (batch, m) units of W_dec (n, d).

    Chapter 16.
    """
    batch, m = own.shape
    d = W_dec.shape[1]
    dz, dW_dec = np.empty_like(own), np.zeros_like(W_dec)
    db_dec, left, slope = np.zeros(d, own.dtype), np.empty(d, own.dtype), np.empty(d, own.dtype)
    scale, value = own.dtype.type(2) / own.dtype.type(batch * d), 0.0
    for r in range(batch):
        left[:], slope[:] = error[r], 0
        for i in range(m, -1, -1):
            weight = weights[r, i]
            if weight:
                squares = left[0] * 0
                for j in range(d):
                    squares += left[j] * left[j]
                    slope[j] += scale * weight * left[j]
                value += weight * squares
            if i:
                u, z = units[r, i - 1], own[r, i - 1]
                row, drawn, along = W_dec[u], dW_dec[u], left[0] * 0
                for j in range(d):
                    along += slope[j] * row[j]
                    drawn[j] += z * slope[j]
                    left[j] -= z * row[j]
                dz[r, i - 1] = along
        db_dec += slope
    return value / (batch * d), dz, dW_dec, db_dec


@njit(**EXACT)
def by_unit(idx: np.ndarray, counts: np.ndarray, start: np.ndarray, pairs: np.ndarray) -> None:
    """Sort pairs by unit: those of unit u are pairs[start[u]:start[u + 1]], in order.

    `counts` (batch, k) says which pairs of idx (batch, k) count; start has shape (n + 1,), and
    pairs (batch · k,), of which the last stay as they are if not all do.

    Chapter 5.
    """
    batch, k = idx.shape
    start[:] = 0
    for r in range(batch):
        for i in range(k):
            if counts[r, i]:
                start[idx[r, i] + 1] += 1
    for u in range(1, len(start)):
        start[u] += start[u - 1]
    place = start[:-1].copy()
    for p in range(batch * k):
        if counts[p // k, p % k]:
            u = idx[p // k, p % k]
            pairs[place[u]] = p
            place[u] += 1
