"""Rows of length 1: what keeps atoms and prototypes comparable."""

import numpy as np

from ksae_lab.nn.inputs import floats


def unit_rows(W: np.ndarray) -> np.ndarray:
    """W (n, d) with each row brought to length 1; a row of zeros has no direction, and stays.

    Chapter 5.
    """
    W = floats(W, "rows", finite=False)
    length = np.linalg.norm(W, axis=1, keepdims=True)
    return W / np.where(length > 0, length, 1)
