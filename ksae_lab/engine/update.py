"""The gradient of each selected unit, used up at once by the optimizer's rule, unit after unit.

Weights lie unit by unit, (n, d); a unit's row is its weights and two memories. Sums are taken in
one order, whatever the number of threads, so that the same step gives the same bits.
"""

import numpy as np
from numba import njit

from ksae_lab.engine.ahead import ask_for
from ksae_lab.engine.compiled import EXACT, LOOSE
from ksae_lab.engine.quantised import describe

SGD, RMSPROP, ADAGRAD, ADAM = range(4)


@njit(**LOOSE)
def _go_through(row, drift, keep, keep_v, rule, eps):  # type: ignore[no-untyped-def]
    """Let a row (weights and two memories) go through the steps that it owes, see `catch_up`."""
    w, s, v = row
    if rule == ADAM:
        for j in range(len(w)):
            w[j] -= drift * s[j] / (np.sqrt(v[j]) + eps)
            s[j] *= keep
            v[j] *= keep_v
    elif rule == SGD:
        for j in range(len(w)):
            w[j] += drift * s[j]
            s[j] *= keep
    elif rule == RMSPROP:
        for j in range(len(w)):
            s[j] *= keep


@njit(**LOOSE)
def _step(row, g, rule, settings):  # type: ignore[no-untyped-def]
    """The step of a rule for one row, as `ksae_lab.training.optimizers` has it."""
    w, s, v = row
    # An integer beside a float32 would make float64 of all.
    rate, one = settings[0], w.dtype.type(1)
    if rule == ADAM:
        take_1, take_2, eps = one - settings[1], one - settings[2], settings[3]
        for j in range(len(w)):
            s[j] += take_1 * (g[j] - s[j])
            v[j] += take_2 * (g[j] * g[j] - v[j])
            w[j] -= rate * s[j] / (np.sqrt(v[j]) + eps)
    elif rule == SGD:
        momentum = settings[1]
        for j in range(len(w)):
            s[j] = momentum * s[j] - rate * g[j]
            w[j] += s[j]
    elif rule == RMSPROP:
        rho, eps = settings[1], settings[3]
        for j in range(len(w)):
            s[j] = rho * s[j] + (one - rho) * (g[j] * g[j])
            w[j] -= rate * g[j] / np.sqrt(s[j] + eps)
    else:
        eps = settings[3]
        for j in range(len(w)):
            s[j] += g[j] * g[j]
            w[j] -= rate * g[j] / np.sqrt(s[j] + eps)


@njit(**LOOSE)
def _to_length_one(w):  # type: ignore[no-untyped-def]
    squares = w[0] * 0
    for j in range(len(w)):
        squares += w[j] * w[j]
    if squares > 0:
        inverse = w.dtype.type(1 / np.sqrt(squares))
        for j in range(len(w)):
            w[j] *= inverse


@njit(**LOOSE)
def _add_up(out, amounts, places, rows, k):  # type: ignore[no-untyped-def]
    """Add to out (d,) the rows that a unit's pairs belong to, (batch, d), each times its amount."""
    d, i = len(out), 0
    while i + 4 <= len(places):  # four at a time: so `out` is written a quarter as often
        p, q, s, t = places[i], places[i + 1], places[i + 2], places[i + 3]
        a, b, c, e = amounts[p], amounts[q], amounts[s], amounts[t]
        A, B, C, E = rows[p // k], rows[q // k], rows[s // k], rows[t // k]
        for j in range(d):
            out[j] += (a * A[j] + b * B[j]) + (c * C[j] + e * E[j])
        i += 4
    while i < len(places):
        a, A = amounts[places[i]], rows[places[i] // k]
        for j in range(d):
            out[j] += a * A[j]
        i += 1


@njit(**EXACT)
def _row(arrays, u):  # type: ignore[no-untyped-def]
    return arrays[0][u], arrays[1][u], arrays[2][u]


@njit(**EXACT)
def _catch_up(arrays, u, late, tables, rule, settings):  # type: ignore[no-untyped-def]
    """Let unit u of weights and their memories go through the `late` steps that it owes."""
    drift, keep, keep_v = tables
    _go_through(_row(arrays, u), drift[late], keep[late], keep_v[late], rule, settings[3])


@njit(**EXACT)
def _settle(u, late, tables, parts, rule, settings, unit_norm, screen, bytes_):  # type: ignore[no-untyped-def]
    """Let unit u, which has no gradient, go through the `late` steps that it owes."""
    enc, dec, bias, tied = parts
    known, slack = screen
    if not tied:
        _catch_up(enc, u, late, tables, rule, settings)
    _catch_up(dec, u, late, tables, rule, settings)
    _catch_up(bias, u, late, tables, rule, settings)
    if unit_norm:
        _to_length_one(dec[0][u])
    describe(u, enc[0][u], known, slack, bytes_)


@njit(**EXACT)
def _after(u, end, start, where):  # type: ignore[no-untyped-def]
    """The next unit before `end` that has a gradient, or u if there is none."""
    for other in range(u + 1, end):
        if start[other] < start[other + 1] or where[other] >= 0:
            return other
    return u


@njit(**LOOSE)
def update(  # type: ignore[no-untyped-def]
    first, end, size, work, more, idle, owed, tables, parts, rule, settings, unit_norm, screen, db
):
    """Change the units of parts first to end, `size` units each: by their gradient, or by a debt.

    `work` is (pairs, start, z, dh, error, x): z and dh (batch · k,), x (batch, d) what the encoder
    saw, less b_dec, and `error` (batch, d) ∂loss/∂x̂. `more` is (where, enc, dec, bias): gradients
    from elsewhere, (m, d), (m, d) and (m, 1), and for each unit which of them is its own, or −1.
    `parts` are encoder, decoder and bias, each as (weights, first memory, second memory), and
    whether the first two are one; weights are (n, d), those of the bias (n, 1). `idle` (n,) counts
    the steps since a unit last had a gradient, or all were settled; `owed` says, by their number,
    how many of them it has still to go through, and `tables` what these come to before this step
    and after it, see `catch_up`. `screen` is what a screen knows, and its slack. A row of db
    (parts, d) becomes less by what b_dec takes away from the encoder's input.

    Chapter 5.
    """
    pairs, start, z, dh, error, x = work
    where, more_enc, more_dec, more_bias = more
    enc, dec, bias, tied = parts
    known, slack = screen
    before, after = tables
    n, d = dec[0].shape
    last = min(end * size, n)
    k = len(pairs) // max(len(x), 1)
    gradient, of_bias = np.empty(d, x.dtype), np.empty(1, x.dtype)
    bytes_ = np.zeros(4 * known.bytes_.shape[2], np.int8)
    # First all encoders, then all decoders: so x, and then `error`, stays in a cache near by.
    for part in range(first, end):
        for u in range(part * size, min((part + 1) * size, n)):
            mine, late = pairs[start[u] : start[u + 1]], owed[idle[u]]
            if not len(mine) and where[u] < 0:
                idle[u] += 1
                if not owed[idle[u]]:
                    _settle(u, late + 1, after, parts, rule, settings, unit_norm, screen, bytes_)
                    idle[u] %= len(owed) - 1  # the tables end there
                continue
            ask_for(enc, _after(u, last, start, where))
            gradient[:], of_bias[:] = 0, 0
            if where[u] >= 0:
                gradient[:], of_bias[:] = more_enc[where[u]], more_bias[where[u]]
            _add_up(gradient, dh, mine, x, k)
            for p in mine:
                of_bias[0] += dh[p]
            weights = enc[0][u]  # as the forward pass saw them
            for j in range(d):
                db[part, j] -= of_bias[0] * weights[j]
            if tied:
                if where[u] >= 0:
                    gradient += more_dec[where[u]]
                _add_up(gradient, z, mine, error, k)
            if late:
                _catch_up(enc, u, late, before, rule, settings)
                _catch_up(bias, u, late, before, rule, settings)
            _step(_row(enc, u), gradient, rule, settings)
            _step(_row(bias, u), of_bias, rule, settings)
            if tied and unit_norm:
                _to_length_one(dec[0][u])
            describe(u, enc[0][u], known, slack, bytes_)
    for u in range(first * size, last):
        mine = pairs[start[u] : start[u + 1]]
        if not len(mine) and where[u] < 0:
            continue
        if not tied:
            ask_for(dec, _after(u, last, start, where))
            gradient[:] = 0
            if where[u] >= 0:
                gradient[:] = more_dec[where[u]]
            _add_up(gradient, z, mine, error, k)
            if owed[idle[u]]:
                _catch_up(dec, u, owed[idle[u]], before, rule, settings)
            _step(_row(dec, u), gradient, rule, settings)
            if unit_norm:
                _to_length_one(dec[0][u])
        idle[u] = 0


@njit(**EXACT)
def flush(  # type: ignore[no-untyped-def]
    first, end, idle, owed, tables, parts, rule, settings, unit_norm, screen
):
    """Let units first to end go through the steps that they owe, as in `update`.

    Chapter 8.
    """
    known, _ = screen
    bytes_ = np.zeros(4 * known.bytes_.shape[2], np.int8)
    for u in range(first, end):
        late = owed[idle[u]]
        if late:
            _settle(u, late, tables, parts, rule, settings, unit_norm, screen, bytes_)
        idle[u] = 0
