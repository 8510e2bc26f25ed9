"""Rows of float32 as bytes, and how wrong they are: numbers that a bound can be made of.

A row's bytes are its numbers in units of a 127th of the largest, `scale`. Its `error` is the length
of what that leaves out, as seen from above.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ksae_lab.engine.byte_product import LANES, ROWS, UNITS, packed
from ksae_lab.engine.compiled import EXACT, LOOSE

# Squares of smaller numbers vanish in float32. Counted as if they were this large, no length is
# too small, and a row of such numbers is scored in full.
TINY = float(np.finfo(np.float32).tiny)


class Units(NamedTuple):
    """What a screen knows of n units, (n,) each, and their bytes, of `byte_product.packed`.

    `norm` is the length of a unit's weights. The bytes of the input are counted from −128;
    `offset` is what that adds to a product. Where there are no bytes, `bytes_` is empty.

    Chapter 17.
    """

    norm: np.ndarray
    scale: np.ndarray
    error: np.ndarray
    offset: np.ndarray
    bytes_: np.ndarray


class Rows(NamedTuple):
    """What a screen knows of a batch: for each row how much its score is wrong by, and its bytes.

    A score is off by no more than `a` · norm + `b` · error of the unit; `bytes_` (batch, d), uint8,
    with rows and columns filled up to whole tiles.

    Chapter 17.
    """

    a: np.ndarray
    b: np.ndarray
    scale: np.ndarray
    bytes_: np.ndarray


def rounding(d: int, dtype: np.dtype) -> Any:
    """How much a sum of d products may be wrong by, relative to the lengths of what it is made of.

    Twice, for the two scores that are compared, and with room for the bias, for the bound's own
    rounding, and for lengths that were summed up by the same arithmetic. A scalar of `dtype`.

    Source: Higham (2002), section 3.1: γ_d times the sum of the products' magnitudes, in any order.
    Chapter 17.
    """
    return np.dtype(dtype).type(1.01 * (d + 8) * np.finfo(dtype).eps)


def units(n: int, d: int, dtype: np.dtype, as_bytes: bool) -> Units:
    """Room for what a screen knows of n units of d weights, to be filled by `describe`.

    Chapter 17.
    """
    norm, scale, error = np.zeros((3, n), dtype)
    return Units(norm, scale, error, np.zeros(n, np.int32), packed(n if as_bytes else 0, d))


@njit(**LOOSE)
def _length(row):  # type: ignore[no-untyped-def]
    squares = row.dtype.type(TINY * len(row))
    for j in range(len(row)):
        squares += row[j] * row[j]
    return row.dtype.type(math.sqrt(squares))


@njit(**LOOSE)
def _to_bytes(row, scale, bytes_):  # type: ignore[no-untyped-def]
    """Write the bytes of a row, and return the length of what they leave out, and their own."""
    inverse = row.dtype.type(1) / scale
    out = own = row.dtype.type(TINY * len(row))
    for j in range(len(row)):
        whole = np.rint(row[j] * inverse)
        near = whole * scale
        out += (row[j] - near) * (row[j] - near)
        own += near * near
        bytes_[j] = np.int8(whole)
    return row.dtype.type(math.sqrt(out)), row.dtype.type(math.sqrt(own))


@njit(**EXACT)
def _scale(row):  # type: ignore[no-untyped-def]
    # Without their sign, floats are ordered as the whole numbers of the same bits, NaN above all;
    # the largest of whole numbers is found by vectors, that of floats is not.
    bits, largest = row.view(np.int32), np.empty(1, np.int32)
    most = np.int32(0)
    for j in range(len(bits)):
        most = max(most, np.int32(bits[j] & 0x7FFFFFFF))
    largest[0] = most
    scale = row.dtype.type(largest.view(np.float32)[0] / np.float32(127))
    return scale if scale > TINY else row.dtype.type(1)  # then the error is all there is


@njit(**EXACT)
def describe(u, w, known, slack, bytes_):  # type: ignore[no-untyped-def]
    """Write down what a screen needs of unit u with weights w (d,); `bytes_` is room for its own.

    `bytes_` has as many int8 as a unit has in `known.bytes_`, the last ones 0.

    Chapter 17.
    """
    known.norm[u] = norm = _length(w)
    if not len(known.bytes_):
        return
    scale = _scale(w)
    error, _ = _to_bytes(w, scale, bytes_)
    known.scale[u] = scale
    known.error[u] = w.dtype.type(1.01) * error + slack * norm
    total = np.int32(0)
    for j in range(len(bytes_)):
        total += np.int32(bytes_[j])
    known.offset[u] = 128 * total
    fours, lane = bytes_.view(np.int32), u % LANES
    sixteen = known.bytes_[u // UNITS, u % UNITS // LANES]
    for step in range(len(fours)):
        sixteen[step, lane] = fours[step]


@njit(**EXACT)
def describe_all(W, known, slack):  # type: ignore[no-untyped-def]
    """Write down what a screen needs of all units, W (n, d).

    Chapter 17.
    """
    bytes_ = np.zeros(4 * known.bytes_.shape[2], np.int8)
    for u in range(len(W)):
        describe(u, W[u], known, slack, bytes_)


@njit(**EXACT)
def rows(x, slack, as_bytes):  # type: ignore[no-untyped-def]
    """What a screen needs of a batch, x (batch, d).

    Chapter 17.
    """
    batch, d = x.shape
    a, b, scales = np.zeros((3, batch), x.dtype)
    if not as_bytes:
        for r in range(batch):
            a[r] = slack * _length(x[r])
        return Rows(a, b, scales, np.empty((0, 0), np.uint8))
    width = 4 * (-(-d // 4))
    all_bytes = np.zeros((ROWS * (-(-batch // ROWS)), width), np.uint8)
    bytes_ = np.zeros(width, np.int8)
    for r in range(batch):
        scales[r] = _scale(x[r])
        error, own = _to_bytes(x[r], scales[r], bytes_)
        a[r] = x.dtype.type(1.01) * error + slack * _length(x[r])
        b[r] = x.dtype.type(1.01) * own
        for j in range(width):
            all_bytes[r, j] = np.uint8(np.int16(bytes_[j]) + 128)
    return Rows(a, b, scales, all_bytes)
