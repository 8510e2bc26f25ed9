"""A heap of a row's largest numbers so far, compiled: its root is the one to lose first.

Source: Williams (1964).
"""

from typing import Any

import numpy as np
from numba import njit

from ksae_lab.engine.compiled import EXACT


@njit(inline="always")
def loses(v: float, i: int, w: float, j: int) -> Any:
    """Whether unit i with v loses against unit j with w: of equal numbers the first unit wins.

    Chapter 2.
    """
    return v < w or (v == w and i > j)


@njit(**EXACT)
def sift(val: np.ndarray, idx: np.ndarray, at: int) -> None:
    """Let the number at `at` sink until it loses against all below: val (k,) of units idx (k,).

    Chapter 2.
    """
    k, v, i = len(val), val[at], idx[at]
    while True:
        child = 2 * at + 1
        if child >= k:
            break
        if child + 1 < k and loses(val[child + 1], idx[child + 1], val[child], idx[child]):
            child += 1
        if not loses(val[child], idx[child], v, i):
            break
        val[at], idx[at] = val[child], idx[child]
        at = child
    val[at], idx[at] = v, i
