"""A model that takes the reader's own numbers, however they were scaled for training."""

from typing import Any

import numpy as np

from ksae_lab.data.scaling import Scaling
from ksae_lab.inference.sparse_codes import SparseCodes
from ksae_lab.models.base import Coder
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn.layers import Stage
from ksae_lab.nn.module import Arrays, ForwardPass, Passes


class Scaled(Coder):
    """A `coder` behind a `scaling`: x and x̂ (batch, d) are in the units of the data.

    The loss and the error stay in those of training, where they can be compared; so do the images
    that a loss or a callback is shown.

    Raises `ValueError` if the two differ in d.

    Chapter 1.
    """

    def __init__(self, coder: Coder, scaling: Scaling):
        self.coder = coder
        self.scaling = scaling
        d, fitted = coder.stages[0].size, len(scaling.shift)
        if d != fitted:
            raise ValueError(f"The scaling is of {fitted} features, and the model takes {d}.")

    @property
    def parameters(self) -> Arrays:
        """Those of the coder."""
        return self.coder.parameters

    @property
    def buffers(self) -> Arrays:
        """Those of the coder, and what the scaling has found: shift and scale, (d,)."""
        return self.coder.buffers | self.scaling.buffers

    @property
    def stages(self) -> list[Stage]:
        """Those of the coder."""
        return self.coder.stages

    def get_config(self) -> dict[str, Any]:
        """The two of which it is made."""
        return {"coder": self.coder, "scaling": self.scaling}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Scaled":
        """Another one of the same two."""
        return cls(**config)

    def encode(self, x: np.ndarray) -> np.ndarray:
        """The codes (batch, n) of x (batch, d)."""
        return self.coder.encode(self.scaling.apply(x))

    def decode(self, z: np.ndarray) -> np.ndarray:
        """x̂ (batch, d) of the codes z (batch, n); of samples brought to length 1, at length 1."""
        return self.scaling.undo(self.coder.decode(z))

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """x̂ (batch, d) for x (batch, d), whose lengths it gets back."""
        return self.scaling.undo(self.coder.reconstruct(self.scaling.apply(x)), like=x)

    def _sparse(self, x: np.ndarray) -> SparseCodes:
        return self.coder._sparse(self.scaling.apply(x))

    def _of_sparse(self, codes: SparseCodes) -> np.ndarray:
        return self.scaling.undo(self.coder._of_sparse(codes))

    def error(self, x: np.ndarray, target: np.ndarray | None = None) -> float:
        """The mean squared error in the units of training, a scalar."""
        return self.coder.error(*self._scaled(x, target))

    def forward_backward(self, x: np.ndarray, target: np.ndarray | None = None) -> Passes:
        """Those of the coder for x and the target (batch, d), both scaled."""
        return self.coder.forward_backward(*self._scaled(x, target))

    def masks(self, x: np.ndarray, target: np.ndarray | None = None) -> list[np.ndarray]:
        """Those of the coder, (batch, n)."""
        return self.coder.masks(*self._scaled(x, target))

    def folded(self) -> Coder:
        """One network that takes the reader's numbers itself, with the scaling in its weights.

        Rows of its W_dec (n, d) are no longer of length 1, and its weights are not tied.

        Raises `ValueError` where there is none: of samples brought to length 1, and of other models
        than a k-sparse autoencoder.
        """
        coder, kind = self.coder, self.scaling.kind
        if kind == "none":
            return coder
        if kind == "unit" or not isinstance(coder, KSparseAutoencoder):
            raise ValueError(
                f"The scaling {kind!r} of a {type(coder).__name__} cannot be put into its weights; "
                "take the model without it, `model.coder`, and scale by `model.scaling.apply`."
            )
        shift, scale = self.scaling.shift, self.scaling.scale
        model = KSparseAutoencoder.from_config(
            coder.get_config() | {"tied": False, "unit_norm": False}
        )
        model.W_enc[:] = coder.W_enc / scale[:, None]
        model.W_dec[:] = coder.W_dec * scale
        model.b_enc[:] = coder.b_enc
        model.b_dec[:] = shift + scale * coder.b_dec
        for name, w in model.selector.state.items():
            w[...] = coder.selector.state[name]
        return model

    def constrain(self) -> None:
        """Let the coder put right what a step has upset."""
        self.coder.constrain()

    def observe(self, forward: ForwardPass) -> None:
        """Let the coder note what a step showed."""
        self.coder.observe(forward)

    def _scaled(self, x: np.ndarray, target: np.ndarray | None) -> list[np.ndarray]:
        return [self.scaling.apply(each) for each in (x, target) if each is not None]
