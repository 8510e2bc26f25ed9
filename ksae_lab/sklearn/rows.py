"""Rows of a data matrix, dense or sparse, as the network takes them: dense, a few at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import gen_batches

from ksae_lab.nn.inputs import LazyRows

Matrix = Any  # an array, or a SciPy matrix in CSR format, which has no types

CHUNK = 4096  # rows that are dense at the same time


def dense(rows: Matrix) -> np.ndarray:
    """An array (rows, d) of rows that may be sparse.

    Chapter 5.
    """
    return rows.toarray() if issparse(rows) else rows


def chunks(X: Matrix) -> Iterator[np.ndarray]:
    """X (samples, d) in pieces of shape (at most 4,096, d), dense, in order.

    Chapter 5.
    """
    for rows in gen_batches(X.shape[0], CHUNK):
        yield dense(X[rows])


class ScaledRows(LazyRows):
    """X (samples, d) less `offset` (d,), over `scale`, a scalar; computed for the rows asked for.

    So neither a centred copy nor a dense one of all X is ever made.

    Chapter 5.
    """

    def __init__(self, X: Matrix, offset: np.ndarray, scale: float):
        self.X = X
        self.offset = offset
        self.scale = scale
        self.shape = X.shape

    def __getitem__(self, index: Any) -> np.ndarray:
        return (dense(self.X[index]) - self.offset) / self.scale
