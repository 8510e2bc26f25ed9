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
from ksae_lab.nn import inputs
from ksae_lab.nn.losses import mse


class Int8Encoder:
    """The encoder of a trained network in integers of 8 bits, with one step a unit.

    The weights are those of `quantise_weights(model)`, so the codes are nearly those of the model;
    `int8_report` says how nearly. Products are made of bytes and of images rounded to 16 bits, sums
    are exact, and codes are float32. One row after the other is encoded, so that many at once are
    faster with the model itself. `ScreenedEncoder` finds the model's own codes, and takes more
    memory. Later changes of the model are not seen.

    Raises `TypeError` for another model than a `KSparseAutoencoder`, and `ImportError` where numba
    is missing.

    Source: Jacob et al. (2018).
    Chapter 17.
    """

    def __init__(self, model: Any):
        model = k_sparse(model)
        optional("numba", "The encoder of bytes")
        from ksae_lab.inference import kernels

        self._scores = kernels.scores
        self.selector, self.phi = copy.deepcopy(model.selector), model.phi
        self.b_dec = model.b_dec.astype(np.float32)
        self.b_enc = model.b_enc.astype(np.float32)
        integers, step = quantised(model.W_enc.T.astype(np.float64))
        self.W = np.ascontiguousarray(integers, np.int8)
        self.step = step[:, 0].astype(np.float32)

    @property
    def nbytes(self) -> int:
        """How much memory the encoder takes, in bytes."""
        return sum(array.nbytes for array in (self.W, self.step, self.b_enc, self.b_dec))

    def encode_sparse(self, x: Any) -> SparseCodes:
        """The codes of x (samples, d) without their zeros, (samples, k).

        Raises what `ksae_lab.nn.inputs.rows` and the selector raise.
        """
        n, d = self.W.shape
        x = inputs.rows(x, d, dtype=np.float32)
        return SparseCodes.joined([self._codes(x[rows]) for rows in slabs(len(x), n)])

    def _codes(self, x: np.ndarray) -> SparseCodes:
        x = (x - self.b_dec).astype(np.float32, copy=False)
        h = np.empty((len(x), len(self.W)), np.float32)
        self._scores(x, self.W, self.step, self.b_enc, h)
        return select(h, self.selector, self.phi)


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


def k_sparse(model: Any) -> KSparseAutoencoder:
    """The model, if it is a `KSparseAutoencoder`.

    Raises `TypeError` for another one.

    Chapter 17.
    """
    if not isinstance(model, KSparseAutoencoder):
        raise TypeError(
            f"A {type(model).__name__} is given; give a KSparseAutoencoder, "
            "such as `folded()` makes of a Scaled one."
        )
    return model
