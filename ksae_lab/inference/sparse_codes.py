"""Codes without their zeros: which units are active in each sample, and how much each of them says.

A code (samples, n) of k active units holds n − k zeros a row; here it is k places a row. `Coder`
makes them of samples (`encode_sparse`) and images of them (`decode_sparse`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Self

import numpy as np

from ksae_lab.nn import checks, inputs
from ksae_lab.nn.activations import Activation
from ksae_lab.nn.selectors import Selector, TopK
from ksae_lab.nn.topk import ranked, top_k_mask

BLOCK = 2**22  # numbers that are dense at the same time: 16 MB of float32


@dataclass(frozen=True)
class SparseCodes:
    """The active units of each sample: `indices` (samples, places), and `values` of the same shape.

    A place whose value is 0 is empty, whatever its index: rows with fewer active units than others
    end with such places, and an activation such as relu makes some. `TopK` gives k places to every
    row, other selectors as many as the row with most active units needs. What this package makes
    has its indices in ascending order, from 0 to n_units − 1.

    Raises `ValueError` for arrays that do not fit each other or the number of units, and
    `TypeError` for indices that are no integers.

    Chapter 17.
    """

    indices: np.ndarray
    values: np.ndarray
    n_units: int

    def __post_init__(self) -> None:
        indices, values = self.indices, self.values
        if indices.dtype.kind not in "iu":
            raise TypeError(f"The indices are {indices.dtype}; give integers.")
        if indices.ndim != 2 or indices.shape != values.shape:
            raise ValueError(
                f"The indices have shape {indices.shape}, the values {values.shape}; "
                "expected (samples, places), both the same."
            )
        if indices.size and not (indices.min() >= 0 and indices.max() < self.n_units):
            raise ValueError(
                f"The indices go from {indices.min()} to {indices.max()}; "
                f"expected 0 to {self.n_units - 1}, the units."
            )

    @classmethod
    def of_dense(cls, z: np.ndarray) -> Self:
        """Those of codes z (samples, n): what is not zero."""
        z = inputs.real(z, "codes", finite=False)
        if z.ndim != 2:
            raise ValueError(f"The codes have shape {z.shape}; expected (samples, n).")
        active = z != 0
        counts = active.sum(axis=1)
        there = np.arange(counts.max(initial=0)) < counts[:, None]
        indices, values = np.zeros(there.shape, np.int32), np.zeros(there.shape, z.dtype)
        indices[there], values[there] = np.nonzero(active)[1], z[active]
        return cls(indices, values, z.shape[1])

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """One of several, one or more, each of the same units: (samples of all, most places)."""
        if len(parts) == 1:
            return parts[0]
        places = max(part.indices.shape[1] for part in parts)

        def widened(array: np.ndarray) -> np.ndarray:
            return np.pad(array, ((0, 0), (0, places - array.shape[1])))

        return cls(
            np.concatenate([widened(part.indices) for part in parts]),
            np.concatenate([widened(part.values) for part in parts]),
            parts[0].n_units,
        )

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, rows: slice) -> "SparseCodes":
        return SparseCodes(self.indices[rows], self.values[rows], self.n_units)

    @property
    def nbytes(self) -> int:
        """How much memory both arrays take, in bytes."""
        return self.indices.nbytes + self.values.nbytes

    def to_csr(self) -> Any:
        """A `scipy.sparse.csr_array` (samples, n), columns in order, without zeros."""
        from scipy.sparse import csr_array  # here: it takes a moment to import

        there = self.values != 0
        ends = np.concatenate([[0], there.sum(axis=1).cumsum()])
        parts = (self.values[there], self.indices[there], ends)
        codes = csr_array(parts, shape=(len(self), self.n_units))
        codes.sort_indices()
        return codes

    def to_dense(self) -> np.ndarray:
        """The codes (samples, n), zeros and all."""
        z: np.ndarray = self.to_csr().toarray()
        return z


def select(
    h: np.ndarray, selector: Selector, phi: Activation, *, compiled: bool = True
) -> SparseCodes:
    """The codes of pre-activations h (samples, n): `selector.encode`, kept without its zeros.

    With `TopK` the k units are found by a compiled scan; where numba is missing, or if not
    `compiled`, by `top_k_mask`: the same ones.

    Raises what `selector.encode` raises.

    Chapter 2.
    """
    if type(selector) is not TopK:  # another's mask is its own
        return SparseCodes.of_dense(selector.encode(h, phi))
    h = inputs.floats(h, "pre-activations", finite=False)
    scores = ranked(h, selector.by)
    if h.ndim != 2:
        raise ValueError(f"h has shape {h.shape}; expected (samples, n).")
    samples, n = h.shape
    k = checks.whole(selector.k, "k", 0, n)
    kernels = _kernels() if compiled else None
    if kernels is None or k == 0:
        indices = np.nonzero(top_k_mask(scores, k))[1].reshape(samples, k)
    else:
        indices = np.empty((samples, k), np.int64)
        kernels.largest(scores, indices, np.empty((samples, k), scores.dtype))
        indices.sort(axis=1)
    values = phi(h[np.arange(samples)[:, None], indices])
    return SparseCodes(indices.astype(np.int32), values, n)


def slabs(samples: int, widest: int) -> Iterator[slice]:
    """The rows from 0 to `samples` in pieces, one at least, of some megabytes for (rows, widest).

    All three are scalars.

    Chapter 17.
    """
    step = max(1, BLOCK // widest)
    for start in range(0, max(samples, 1), step):
        yield slice(start, min(start + step, samples))


@cache
def _kernels() -> Any:
    """The compiled loops, or None where numba is missing."""
    if find_spec("numba") is None:
        return None
    from ksae_lab.inference import kernels

    return kernels
