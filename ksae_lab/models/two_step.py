"""An encoder that looks twice: a first code, its residual, and a second code from both."""

from typing import Any, Self

import numpy as np

from ksae_lab.models.base import Coder
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn import activations, inputs
from ksae_lab.nn.layers import Stage
from ksae_lab.nn.losses import mse, mse_gradient
from ksae_lab.nn.module import Arrays, ForwardPass, Passes
from ksae_lab.nn.selectors import HasSelector, TopK

LINEAR = activations.get("linear")


class TwoStepEncoder(HasSelector, Coder):
    """Codes for a given dictionary that pursuit would take long to find, from two learned steps.

        c  = x − b_dec
        h₁ = c W₁ + b₁            z₁ = φ(h₁) ⊙ mask₁
        h₂ = c W₂ + z₁ S + b₂     z = h₂ ⊙ mask₂, by magnitude
        x̂  = z D + b_dec

    x, x̂ and c have shape (batch, d), h and z (batch, n), W₁ and W₂ (d, n), S (n, n), b₁ and
    b₂ (n,), the dictionary D (n, d). mask₁ is that of the model's selector, k the same for both.
    D and b_dec are those of `model`, a trained k-sparse autoencoder with rows of length 1 in W_dec,
    and stay as they are; so does `model`.
    The first step starts as the model's encoder, the second as one step of gradient descent on
    ½ ‖c − z D‖², with W₂ = Dᵀ and S = I − D Dᵀ. Training is free to find a better step, as the
    gradient flows through both masks. Values may also be negative in the second step.

    Raises `AttributeError` for a model whose selector has no k, and `TypeError` for another kind of
    model.

    Source: Gregor & LeCun (2010) for learned steps.
    Chapter 13.
    """

    def __init__(self, model: KSparseAutoencoder):
        if not isinstance(model, KSparseAutoencoder):
            raise TypeError(f"A {type(model).__name__} is given; give a KSparseAutoencoder.")
        self.D, self.b_dec = model.W_dec.copy(), model.b_dec.copy()
        self.phi = model.phi
        self.selector = model.selector.for_units(len(self.D), self.D.dtype.name)
        _ = self.k  # the second step needs one
        self.W1, self.b1 = model.W_enc.copy(), model.b_enc.copy()
        self.W2, self.b2 = self.D.T.copy(), np.zeros_like(self.b1)
        self.S = np.eye(len(self.D), dtype=self.D.dtype) - self.D @ self.D.T

    @property
    def stages(self) -> list[Stage]:
        """The image, both steps, the image again: sizes are scalars."""
        n, d = self.D.shape
        return [
            Stage("image", d),
            Stage(self.phi.name, n, self.k),
            Stage("second step", n, self.k),
            Stage("image", d),
        ]

    @property
    def parameters(self) -> Arrays:
        """The live arrays that learn: W1 (d, n), b1 (n,), W2 (d, n), S (n, n), b2 (n,)."""
        own = {name: getattr(self, name) for name in ("W1", "b1", "W2", "S", "b2")}
        return own | self.selector.parameters

    @property
    def buffers(self) -> Arrays:
        """The dictionary D (n, d) and b_dec (d,), and what the selector keeps."""
        return {"D": self.D, "b_dec": self.b_dec} | self.selector.buffers

    def get_config(self) -> dict[str, Any]:
        """Sizes, selector, activation and dtype."""
        n, d = self.D.shape
        return {
            "n_pixels": d,
            "n_units": n,
            "k": self.selector,
            "activation": self.phi.name,
            "dtype": self.D.dtype.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """An encoder for a dictionary of these settings; raises what `KSparseAutoencoder` does."""
        return cls(KSparseAutoencoder.from_config(config))

    def encode(self, x: np.ndarray) -> np.ndarray:
        """The code z (batch, n) of x (batch, d): at most k numbers of a row are not zero."""
        c = self._images(x) - self.b_dec
        z1 = self.selector.encode(c @ self.W1 + self.b1, self.phi)
        return self._second.encode(c @ self.W2 + z1 @ self.S + self.b2, LINEAR)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """The images x̂ (batch, d) of the codes z (batch, n)."""
        z = inputs.rows(z, len(self.D), "codes", dtype=self.D.dtype, finite=False)
        return z @ self.D + self.b_dec

    def masks(self, x: np.ndarray, target: np.ndarray | None = None) -> list[np.ndarray]:
        """Both masks (batch, n) that x (batch, d) leads to in training."""
        c = self._images(x) - self.b_dec
        h1 = c @ self.W1 + self.b1
        z1, _ = self.selector.forward(h1, self.phi)
        h2 = c @ self.W2 + z1 @ self.S + self.b2
        return [self.selector.training_mask(h1), self._second.training_mask(h2)]

    def forward_backward(self, x: np.ndarray, target: np.ndarray | None = None) -> Passes:
        """The error of x (batch, d), its gradient for each of `parameters`, and the forward pass.

        Give a `target` (batch, d) if x is a noisy copy of what is to be reconstructed.
        """
        x, target = inputs.with_target(x, target, len(self.b_dec), self.D.dtype)
        c = x - self.b_dec
        h1 = c @ self.W1 + self.b1
        z1, through_first = self.selector.forward(h1, self.phi)
        h2 = c @ self.W2 + z1 @ self.S + self.b2
        z, through_second = self._second.forward(h2, LINEAR)
        x_hat = self.decode(z)

        dh2, _ = through_second(mse_gradient(x_hat, target) @ self.D.T)
        dh1, own = through_first(dh2 @ self.S.T)
        gradients = {
            "W1": c.T @ dh1,
            "b1": dh1.sum(axis=0),
            "W2": c.T @ dh2,
            "S": z1.T @ dh2,
            "b2": dh2.sum(axis=0),
        } | own
        return Passes(mse(x_hat, target), gradients, ForwardPass(target, h2, z, x_hat, self.D))

    def _images(self, x: np.ndarray) -> np.ndarray:
        return inputs.rows(x, len(self.b_dec), dtype=self.D.dtype)

    @property
    def _second(self) -> TopK:
        return TopK(self.k, by="magnitude")
