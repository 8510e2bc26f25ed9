"""The loops of a step over what is active, compiled by numba.

`idx` and the arrays beside it have shape (batch, k): a row's selected units and what belongs to
them. Weights lie unit by unit, (n, d). A pair is one selected unit of one row, p = row · k + place.
Sums are taken in one order on one thread, so that the same step gives the same bits.
"""

import math
from typing import Any

import numpy as np
from numba import njit

BLOCK = 64  # numbers whose greatest is looked for before any of them is
# Sums may be taken in another order than they are written in, so that they can be vectors.
FAST = {"reassoc", "contract", "nsz", "arcp"}
SGD, RMSPROP, ADAGRAD, ADAM = range(4)


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


@njit(cache=True, fastmath=FAST)
def decode(
    idx: np.ndarray,
    z: np.ndarray,
    W_dec: np.ndarray,
    b_dec: np.ndarray,
    target: np.ndarray,
    x_hat: np.ndarray,
    error: np.ndarray,
    dz: np.ndarray,
) -> float:
    """x̂ (batch, d) from the selected rows of W_dec (n, d), and the slopes of the mean square error.

    `error` (batch, d) becomes ∂loss/∂x̂ and `dz` (batch, k) ∂loss/∂z. Returns the loss.

    Chapter 4.
    """
    batch, d = target.shape
    k = idx.shape[1]
    scale = target.dtype.type(2) / target.dtype.type(batch * d)
    total = 0.0
    for r in range(batch):
        out, wrong = x_hat[r], error[r]
        out[:] = b_dec
        for i in range(k):
            amount = z[r, i]
            if amount != 0:
                atom = W_dec[idx[r, i]]
                for j in range(d):
                    out[j] += amount * atom[j]
        squares = 0.0
        for j in range(d):
            e = out[j] - target[r, j]
            squares += e * e
            wrong[j] = scale * e
        total += squares
        for i in range(k):
            atom = W_dec[idx[r, i]]
            slope = wrong[0] * 0
            for j in range(d):
                slope += wrong[j] * atom[j]
            dz[r, i] = slope
    return total / (batch * d)


@njit(cache=True)
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


@njit(cache=True, fastmath=FAST)
def _idle(row, owed, rule, eps):  # type: ignore[no-untyped-def]
    """Let a row (weights and two memories) go through the steps that it owes, see `catch_up`."""
    w, s, v = row
    drift, keep, keep_v = owed
    if rule == ADAM:
        for j in range(len(w)):
            w[j] -= drift * s[j] / (math.sqrt(v[j]) + eps)
            s[j] *= keep
            v[j] *= keep_v
    elif rule == SGD:
        for j in range(len(w)):
            w[j] += drift * s[j]
            s[j] *= keep
    elif rule == RMSPROP:
        for j in range(len(w)):
            s[j] *= keep


@njit(cache=True, fastmath=FAST)
def _step(row, g, rule, settings):  # type: ignore[no-untyped-def]
    """The step of a rule for one row, as `ksae_lab.training.optimizers` has it."""
    w, s, v = row
    rate = settings[0]
    if rule == ADAM:
        take_1, take_2, eps = 1 - settings[1], 1 - settings[2], settings[3]
        for j in range(len(w)):
            s[j] += take_1 * (g[j] - s[j])
            v[j] += take_2 * (g[j] * g[j] - v[j])
            w[j] -= rate * s[j] / (math.sqrt(v[j]) + eps)
    elif rule == SGD:
        momentum = settings[1]
        for j in range(len(w)):
            s[j] = momentum * s[j] - rate * g[j]
            w[j] += s[j]
    elif rule == RMSPROP:
        rho, eps = settings[1], settings[3]
        for j in range(len(w)):
            s[j] = rho * s[j] + (1 - rho) * (g[j] * g[j])
            w[j] -= rate * g[j] / math.sqrt(s[j] + eps)
    else:
        eps = settings[3]
        for j in range(len(w)):
            s[j] += g[j] * g[j]
            w[j] -= rate * g[j] / math.sqrt(s[j] + eps)


@njit(cache=True, fastmath=FAST)
def _to_length_one(w):  # type: ignore[no-untyped-def]
    squares = w[0] * 0
    for j in range(len(w)):
        squares += w[j] * w[j]
    if squares > 0:
        length = math.sqrt(squares)
        for j in range(len(w)):
            w[j] /= length


@njit(cache=True)
def _row(arrays, u):  # type: ignore[no-untyped-def]
    return arrays[0][u], arrays[1][u], arrays[2][u]


@njit(cache=True)
def _catch_up(u, missed, tables, parts, rule, settings, unit_norm):  # type: ignore[no-untyped-def]
    """Let unit u go through the steps that it has missed, in all that belongs to it."""
    enc, dec, bias, tied = parts
    late = missed[u]
    missed[u] = 0
    owed = (tables[0][late], tables[1][late], tables[2][late])
    if not tied:
        _idle(_row(enc, u), owed, rule, settings[3])
    _idle(_row(dec, u), owed, rule, settings[3])
    _idle(_row(bias, u), owed, rule, settings[3])
    if unit_norm:
        _to_length_one(dec[0][u])


@njit(cache=True, fastmath=FAST)
def update(pairs, start, z, dh, error, x, missed, tables, parts, rule, settings, unit_norm, db):  # type: ignore[no-untyped-def]
    """The gradient of each selected unit, used up at once by its step; all others are left alone.

    `parts` are encoder, decoder and bias, each as (weights, first memory, second memory), and
    whether the first two are one; weights are (n, d), those of the bias (n, 1). `missed` (n,)
    counts the steps that a unit owes; `tables` say what they come to, see `catch_up`. x (batch, d)
    is what the encoder saw, less b_dec, and `error` (batch, d) ∂loss/∂x̂. `db` (d,) becomes less by
    what b_dec takes away from the encoder's input.

    Chapter 5.
    """
    enc, dec, bias, tied = parts
    n, d = dec[0].shape
    k = z.shape[1]
    of_dec, of_enc = np.empty(d, x.dtype), np.empty(d, x.dtype)
    of_bias = np.empty(1, x.dtype)
    for u in range(n):
        first, end = start[u], start[u + 1]
        if first == end:
            if missed[u] == len(tables[0]) - 1:  # the tables end there
                _catch_up(u, missed, tables, parts, rule, settings, unit_norm)
            missed[u] += 1
            continue
        of_dec[:], of_enc[:], of_bias[:] = 0, 0, 0
        for p in pairs[first:end]:
            r, i = p // k, p % k
            amount, slope = z[r, i], dh[r, i]
            if amount == 0 and slope == 0:
                continue
            of_bias[0] += slope
            for j in range(d):
                of_dec[j] += amount * error[r, j]
                of_enc[j] += slope * x[r, j]
        weights = enc[0][u]  # those of the forward pass
        for j in range(d):
            db[j] -= of_bias[0] * weights[j]
        if missed[u]:
            _catch_up(u, missed, tables, parts, rule, settings, False)
        if tied:
            for j in range(d):
                of_dec[j] += of_enc[j]
        else:
            _step(_row(enc, u), of_enc, rule, settings)
        _step(_row(dec, u), of_dec, rule, settings)
        _step(_row(bias, u), of_bias, rule, settings)
        if unit_norm:
            _to_length_one(dec[0][u])


@njit(cache=True)
def flush(missed, tables, parts, rule, settings, unit_norm):  # type: ignore[no-untyped-def]
    """Let every unit catch up with the steps that it has missed; arguments are those of `update`.

    Chapter 8.
    """
    for u in range(len(missed)):
        if missed[u]:
            _catch_up(u, missed, tables, parts, rule, settings, unit_norm)
