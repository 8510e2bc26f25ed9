"""An encoder that is prepared once, and then finds a model's codes for less than its product."""

import copy
from typing import Any

import numpy as np

from ksae_lab._optional import optional
from ksae_lab.inference.sparse_codes import SparseCodes, slabs
from ksae_lab.models.int8_encoder import k_sparse
from ksae_lab.nn import checks, inputs
from ksae_lab.nn.selectors import TopK


class ScreenedEncoder:
    """The codes of a trained network, by way of bytes that say which units can be among them.

    The engine's certificate makes that safe: see `ksae_lab.engine.selection`. Only units that may
    be among the k largest are scored in full, in the weights' dtype, so that codes are those of the
    model but for the last rounding, ties to the left. `fact` says whether bytes are in use, which
    needs float32, some hundreds of units and a processor with AVX512-VNNI; without them all units
    are scored by the product. Weights W_enc (d, n) are held in full and in bytes, and later changes
    of the model are not seen.

    Raises `TypeError` for another model than a `KSparseAutoencoder`, `ValueError` for another
    selector than `TopK` and for float16, and `ImportError` where numba is missing.

    Chapter 17.
    """

    def __init__(self, model: Any):
        model = k_sparse(model)
        if type(model.selector) is not TopK:
            raise ValueError(f"The selector is {model.selector!r}; give a model with TopK.")
        if model.W_dec.dtype == np.float16:
            raise ValueError("The weights are float16; give a model in float32 or float64.")
        checks.whole(model.k, "k", 0, len(model.W_dec))
        optional("numba", "The screened encoder")
        from ksae_lab.engine.screen import Screen
        from ksae_lab.engine.threads import Threads

        self.selector, self.phi = copy.deepcopy(model.selector), model.phi
        self.b_enc, self.b_dec = model.b_enc.copy(), model.b_dec.copy()
        self._W = np.array(model.W_enc.T, order="C")  # (n, d)
        self._screen = Screen(self._W, None, Threads(1))

    @property
    def fact(self) -> str:
        """Whether it screens by bytes, and if not, why."""
        return self._screen.fact

    def encode_sparse(self, x: Any) -> SparseCodes:
        """The codes of x (samples, d) without their zeros, (samples, k).

        Raises what `ksae_lab.nn.inputs.rows` raises.
        """
        n, d = self._W.shape
        dtype = self._W.dtype
        x = inputs.rows(x, d, dtype=dtype)
        return SparseCodes.joined([self._codes(x[rows], dtype) for rows in slabs(len(x), n)])

    def _codes(self, x: np.ndarray, dtype: np.dtype) -> SparseCodes:
        seen = np.ascontiguousarray(x - self.b_dec, dtype)
        k, by = self.selector.k, self.selector.by
        indices, h = self._screen.select(seen, self._W.T, self.b_enc, k, by)
        return SparseCodes(indices.astype(np.int32), self.phi(h), len(self._W))
