"""Which k: screened with a bound on what is wrong, decided by one sum, the same for every screen.

A screen has a score for each unit that may be wrong by ε. Of a row, the k-th largest of all
score − ε is a bar that k units are sure to pass, so that none whose score + ε is below it is among
the k largest: it need not be looked at again. The others, the candidates, are scored in full:
first those who set the bar, and then whoever may still reach what these have reached.
Where an activation is silent below a floor, as relu is below 0, nobody need be found there, and
the bar begins at the floor. So the units that are chosen do not depend on the screen, nor on the
order in which a library for products of matrices takes its sums.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from ksae_lab.engine.byte_product import ROWS, UNITS, tile
from ksae_lab.engine.compiled import EXACT, LOOSE
from ksae_lab.engine.heap import loses, sift


class Candidates(NamedTuple):
    """Who may be among the k largest of each row, as far as the screen has come.

    `bar` (batch,) is the smallest of `sure` (batch, k), a heap of the largest score − ε.
    units (batch, room) are candidates, in order, with score − ε in `least` and score + ε in `most`;
    `counts` (batch,) says how many they are, and more than there is room for once they were too
    many.

    Chapter 17.
    """

    bar: np.ndarray
    sure: np.ndarray
    units: np.ndarray
    least: np.ndarray
    most: np.ndarray
    counts: np.ndarray


def candidates(batch: int, n: int, k: int, dtype: np.dtype, floor: float) -> Candidates:
    """None so far, with room for eight times k, and some; nobody is looked for below `floor`.

    Chapter 17.
    """
    room = min(n, 8 * k + 64)
    return Candidates(
        np.full(batch, floor, dtype),
        np.full((batch, k), -np.inf, dtype),
        np.empty((batch, room), np.int32),
        np.empty((batch, room), dtype),
        np.empty((batch, room), dtype),
        np.zeros(batch, np.int64),
    )


@njit(**EXACT)
def _raise(sure: np.ndarray, v: float) -> None:
    """Put v in the place of the smallest of a heap."""
    at, k = 0, len(sure)
    while True:
        child = 2 * at + 1
        if child >= k:
            break
        if child + 1 < k and sure[child + 1] < sure[child]:
            child += 1
        if sure[child] >= v:
            break
        sure[at] = sure[child]
        at = child
    sure[at] = v


@njit(**EXACT)
def _offer(r, first, width, ranks, found):  # type: ignore[no-untyped-def]
    """Take in a block of units, the `width` that begin with `first`, for row r.

    ranks (2, 64) are score + ε and ε.
    """
    units, leasts, mosts, sure = found.units[r], found.least[r], found.most[r], found.sure[r]
    bar, count, room = found.bar[r], found.counts[r], found.units.shape[1]
    for j in range(width):
        most, off = ranks[0, j], ranks[1, j]
        if most < bar:
            continue
        if count == room:
            count = _thin_out(units, leasts, mosts, bar)
        if count >= room:
            count = room + 1
            break
        least = most - (off + off)
        units[count], leasts[count], mosts[count] = first + j, least, most
        count += 1
        if least > bar:
            _raise(sure, least)
            bar = max(bar, sure[0])
    found.bar[r], found.counts[r] = bar, count


@njit(**EXACT)
def _thin_out(units, least, most, bar):  # type: ignore[no-untyped-def]
    """Forget candidates that have fallen below the bar since they came; returns how many stay."""
    kept = 0
    for c in range(len(units)):
        if not most[c] < bar:
            units[kept], least[kept], most[kept] = units[c], least[c], most[c]
            kept += 1
    return kept


@njit(**EXACT)
def _of_block(first, width, slack, known, bias, of_units):  # type: ignore[no-untyped-def]
    """Put what a block's bounds need of its units side by side, of_units (4, 64)."""
    for j in range(width):
        u = first + j
        of_units[0, j], of_units[1, j] = known.norm[u], known.error[u]
        of_units[2, j], of_units[3, j] = bias[u], slack * abs(bias[u])


@njit(**LOOSE)
def _bound(width, scores, a, b, magnitude, of_units, ranks, bar):  # type: ignore[no-untyped-def]
    """Where the ranks of a block's units may lie, whose scores without bias are `scores` (64,).

    a and b are what the row says of itself, see `Rows`. Returns how many may pass the bar.
    """
    hits = 0
    for j in range(width):
        off = a * of_units[0, j] + b * of_units[1, j] + of_units[3, j]
        score = scores[j] + of_units[2, j]
        most = (abs(score) if magnitude else score) + off
        ranks[0, j], ranks[1, j] = most, off
        hits += not most < bar  # so said, NaN is a candidate, and will be seen
    return hits


@njit(**EXACT)
def screen_products(first, end, h, slack, magnitude, rows, known, bias, found):  # type: ignore[no-untyped-def]
    """Find the candidates of rows first to end by a product in floating point, h (batch, n).

    Chapter 17.
    """
    n = h.shape[1]
    of_units, ranks = np.empty((4, UNITS), h.dtype), np.empty((2, UNITS), h.dtype)
    for start in range(0, n, UNITS):
        width = min(UNITS, n - start)
        _of_block(start, width, slack, known, bias, of_units)
        for r in range(first, end):
            block, bar = h[r, start:], found.bar[r]
            if _bound(width, block, rows.a[r], rows.b[r], magnitude, of_units, ranks, bar):
                _offer(r, start, width, ranks, found)


@njit(**LOOSE)
def _to_scores(sums, offset, scale, of_row, scores):  # type: ignore[no-untyped-def]
    for j in range(len(offset)):
        scores[j] = scores.dtype.type(sums[j] - offset[j]) * (of_row * scale[j])


@njit(**EXACT)
def screen_bytes(first, end, slack, magnitude, rows, known, bias, found):  # type: ignore[no-untyped-def]
    """Find the candidates of rows first to end, a multiple of 6, by the product of bytes.

    Chapter 17.
    """
    n = len(bias)
    sums, scores = np.empty((ROWS, UNITS), np.int32), np.empty(UNITS, bias.dtype)
    of_units, ranks = np.empty((4, UNITS), bias.dtype), np.empty((2, UNITS), bias.dtype)
    for t in range(len(known.bytes_)):
        start = t * UNITS
        width = min(UNITS, n - start)
        _of_block(start, width, slack, known, bias, of_units)
        offset, scale = known.offset[start : start + width], known.scale[start : start + width]
        for top in range(first, end, ROWS):
            tile(known.bytes_[t], rows.bytes_[top : top + ROWS], sums)  # type: ignore[call-arg]
            for i in range(min(ROWS, end - top)):
                r = top + i
                a, b, bar = rows.a[r], rows.b[r], found.bar[r]
                _to_scores(sums[i], offset, scale, rows.scale[r], scores)
                if _bound(width, scores, a, b, magnitude, of_units, ranks, bar):
                    _offer(r, start, width, ranks, found)


@njit(**LOOSE)
def _dots(x, W, bias, four, scores):  # type: ignore[no-untyped-def]
    """Put the scores of four units for a row x (d,) into scores (4,).

    All sums are taken by this one loop, four at a time or not: another might round otherwise.
    """
    A, B, C, E = W[four[0]], W[four[1]], W[four[2]], W[four[3]]
    a = b = c = e = x[0] * 0
    for j in range(len(x)):
        a += x[j] * A[j]
        b += x[j] * B[j]
        c += x[j] * C[j]
        e += x[j] * E[j]
    scores[0], scores[1] = a + bias[four[0]], b + bias[four[1]]
    scores[2], scores[3] = c + bias[four[2]], e + bias[four[3]]


@njit(**EXACT)
def _to_score(found, r, rest, bar, who, count):  # type: ignore[no-untyped-def]
    """Add to `who`, which has `count` units, candidates of row r: first those who set the bar.

    `rest` is for all others who pass a bar. Returns how many there are in all.
    """
    if found.counts[r] > found.units.shape[1]:  # there were too many: everybody, at once
        if not rest:
            who[:-3], count = np.arange(len(who) - 3), len(who) - 3
        return count
    for c in range(found.counts[r]):
        sets_it = found.least[r, c] >= found.bar[r]
        if sets_it != rest and (sets_it or not found.most[r, c] < bar):
            who[count] = found.units[r, c]
            count += 1
    return count


@njit(**EXACT)
def decide(first, end, x, W, bias, magnitude, floor, found, idx, h):  # type: ignore[no-untyped-def]
    """Put the k largest of rows first to end into idx (batch, k), in order, and their h beside.

    x has shape (batch, d), W (n, d). If fewer than k are not below the floor, −1 and 0 stand in the
    last places. Where there were too many candidates, all units are looked at. Returns how many
    scores were taken; −1 for NaN.

    Source: Williams (1964) for the heap.
    Chapter 17.
    """
    n, k = len(W), idx.shape[1]
    rank, own = np.empty(k, x.dtype), np.empty(k, np.int64)
    who, scores = np.empty(n + 3, np.int64), np.empty(n + 3, x.dtype)
    looked_at = 0
    for r in range(first, end):
        rank[:], own[:] = -np.inf, n  # they lose against everybody
        count = 0
        for rest in (False, True):  # the scores of the first rule out most of the others
            begun, bar = count, max(found.bar[r], rank[0])
            count = _to_score(found, r, rest, bar, who, count)
            who[count : count + 3] = who[begun]  # so that there are always four
            for c in range(begun, count, 4):
                _dots(x[r], W, bias, who[c : c + 4], scores[c : c + 4])
            for c in range(begun, count):
                u, score = who[c], scores[c]
                if score != score:
                    return -1
                v = abs(score) if magnitude else score
                if not v < floor and loses(rank[0], own[0], v, u):
                    rank[0], own[0] = v, u
                    sift(rank, own, 0)
        looked_at += count
        place = 0
        for c in range(count):  # once more, since a heap has lost their order
            u, score = who[c], scores[c]
            v = abs(score) if magnitude else score
            if not v < floor and not loses(v, u, rank[0], own[0]):
                at = place
                while at and idx[r, at - 1] > u:
                    idx[r, at], h[r, at] = idx[r, at - 1], h[r, at - 1]
                    at -= 1
                idx[r, at], h[r, at] = u, score
                place += 1
        idx[r, place:], h[r, place:] = -1, 0
    return looked_at
