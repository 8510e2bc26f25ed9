"""An encoder with weights of one byte, for a computer that reads memory more slowly than it adds.

One image at a time, an encoder reads all its weights for one product: bytes are a quarter of that.
"""

import copy
from typing import Any

import numpy as np

from ksae_lab._optional import optional
from ksae_lab.inference.sparse_codes import SparseCodes, select, slabs
from ksae_lab.models.compression import quantised
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn import activations, inputs
from ksae_lab.nn.checks import flag
from ksae_lab.nn.losses import mse
from ksae_lab.nn.selectors import TopK
from ksae_lab.nn.topk import ranked

EPS = float(np.finfo(np.float32).eps)
LINEAR = activations.get("linear")
FEW = 8  # rows; the product in full reads its weights once for all rows, and is faster for more
MANY = 0.25  # the share of units that had better be scored all at once than picked out


class Int8Encoder:
    """The encoder of a trained network in integers of 8 bits, with one step a unit.

    The weights are those of `quantise_weights(model)`, so the codes are nearly those of the model;
    `int8_report` says how nearly. Products are made of bytes and of images rounded to 16 bits, sums
    are exact, and codes are float32. One row after the other is encoded, so that many at once are
    faster with the model itself.

    With `exact` the weights stay in float32 as well, and the bytes only say which units can be
    among the k largest: a unit whose score, with all that rounding may have taken from it, does not
    come up to the k-th largest less what rounding may have added, is out. The others are scored in
    float32, and so the codes are those of the model, for a fourth more memory than it has. More
    than a few rows at once are scored in float32 alone. This needs `TopK`.

    Later changes of the model are not seen.

    Raises `TypeError` for another kind of model, `ValueError` for `exact` with another selector,
    and `ImportError` where numba is missing.

    Source: Jacob et al. (2018) for the integers; Cauchy and Schwarz for the bound.
    Chapter 17.
    """

    def __init__(self, model: KSparseAutoencoder, *, exact: bool = False):
        if not isinstance(model, KSparseAutoencoder):
            raise TypeError(
                f"A {type(model).__name__} is given; give a KSparseAutoencoder, "
                "such as `folded()` makes of a Scaled one."
            )
        if flag(exact, "exact") and type(model.selector) is not TopK:
            raise ValueError(
                f"exact needs TopK, which ranks units; the selector is {model.selector!r}."
            )
        optional("numba", "The encoder of bytes")
        from ksae_lab.inference import kernels

        self._scores = kernels.scores
        self.selector, self.phi = copy.deepcopy(model.selector), model.phi
        self.b_dec = model.b_dec.astype(np.float32)
        self.b_enc = model.b_enc.astype(np.float32)
        W = model.W_enc.T.astype(np.float64)
        integers, step = quantised(W)
        self.W = np.ascontiguousarray(integers, np.int8)
        self.step = step[:, 0].astype(np.float32)
        self._full: np.ndarray | None = None
        if exact:
            self._full = np.ascontiguousarray(W, np.float32)
            self._doubt = _doubt(W, self.W * self.step.astype(np.float64)[:, None])
            self._doubt_of_bias = 4 * EPS * np.abs(self.b_enc)  # sums that it is part of round, too

    @property
    def nbytes(self) -> int:
        """How much memory the encoder takes, in bytes."""
        arrays: list[np.ndarray] = [self.W, self.step, self.b_enc, self.b_dec]
        if self._full is not None:
            arrays += [self._full, self._doubt, self._doubt_of_bias]
        return sum(array.nbytes for array in arrays)

    def encode_sparse(self, x: Any) -> SparseCodes:
        """The codes of x (samples, d) without their zeros, (samples, k).

        Raises what `ksae_lab.nn.inputs.rows` and the selector raise.
        """
        n, d = self.W.shape
        x = inputs.rows(x, d, dtype=np.float32)
        return SparseCodes.joined([self._codes(x[rows]) for rows in slabs(len(x), n)])

    def _codes(self, x: np.ndarray) -> SparseCodes:
        x = (x - self.b_dec).astype(np.float32, copy=False)
        if self._full is not None and len(x) > FEW:
            return select(x @ self._full.T + self.b_enc, self.selector, self.phi)
        h = np.empty((len(x), len(self.W)), np.float32)
        self._scores(x, self.W, self.step, self.b_enc, h)
        if self._full is None:
            return select(h, self.selector, self.phi)
        parts = [self._decided(*row) for row in zip(x, h, strict=True)]
        return SparseCodes.joined(parts or [select(h, self.selector, self.phi)])

    def _decided(self, x: np.ndarray, h: np.ndarray) -> SparseCodes:
        """The code of one x (d,), by its scores h (n,) in bytes and those that matter in full."""
        assert isinstance(self.selector, TopK) and self._full is not None
        k, n = self.selector.k, len(h)
        doubt = self._doubt * np.float32(np.linalg.norm(x)) + self._doubt_of_bias
        scores = ranked(h, self.selector.by)
        least = select((scores - doubt)[None], TopK(k), LINEAR).values.min(initial=np.inf)
        near = np.flatnonzero(scores + doubt >= least)
        if len(near) > MANY * n:
            near = np.arange(n)
        full = self._full[near] if len(near) < n else self._full
        found = select((full @ x + self.b_enc[near])[None], self.selector, self.phi)
        return SparseCodes(near[found.indices].astype(np.int32), found.values, n)


def int8_report(model: KSparseAutoencoder, x: np.ndarray) -> dict[str, float]:
    """What weights of one byte change in the codes of x (samples, d), and what they save: scalars.

    `same_units` is the share of the model's active units that are active with `Int8Encoder` as
    well, `same_rows` that of rows with the very same ones. `error` is the mean squared error of the
    model's reconstruction of x, and `int8_error` that from the codes of bytes, with the decoder as
    it is. `bytes` and `int8_bytes` count the two encoders.

    Raises what `Int8Encoder` raises.

    Chapter 17.
    """
    encoder = Int8Encoder(model)
    codes, own = encoder.encode_sparse(x), model.encode_sparse(x)
    ours, theirs = own.to_csr() != 0, codes.to_csr() != 0
    both = ours.multiply(theirs).sum(axis=1)
    counts = ours.sum(axis=1)
    weights = [np.asarray(w, np.float32) for w in (model.W_enc, model.b_enc, model.b_dec)]
    return {
        "same_units": float(both.sum() / counts.sum()) if counts.sum() else 1.0,
        "same_rows": float(np.mean((both == counts) & (theirs.sum(axis=1) == counts))),
        "error": mse(model.decode_sparse(own), x),
        "int8_error": mse(model.decode_sparse(codes), x),
        "bytes": sum(w.nbytes for w in weights),
        "int8_bytes": encoder.nbytes,
    }


def _doubt(W: np.ndarray, rounded: np.ndarray) -> np.ndarray:
    """By how much a score may be wrong for an image of length 1, (n,), by Cauchy and Schwarz.

    That is the length of what rounding changed in a unit's weights W (n, d), and what rounding an
    image to 16 bits and the sums of float32, those in bytes and those in full, may add to it.
    """
    d = W.shape[1]
    of_weights = np.linalg.norm(W - rounded, axis=1)
    of_image = np.linalg.norm(rounded, axis=1) * np.sqrt(d) / (2 * 32767)
    of_sums = np.linalg.norm(W, axis=1) * (d + 10) * EPS
    return (of_weights + of_image + of_sums).astype(np.float32)
