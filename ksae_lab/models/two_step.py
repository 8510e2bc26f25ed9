"""An encoder that looks twice: a first code, what it leaves over, and a second code from both."""

import numpy as np

from ksae_lab.models.base import Coder
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn.losses import mse, mse_gradient
from ksae_lab.nn.topk import top_k_mask


class TwoStepEncoder(Coder):
    """The code that a dictionary would take long to find, from two steps that were learned.

        c  = x − b_dec
        h₁ = c W₁ + b₁            z₁ = φ(h₁) ⊙ mask₁, by value
        h₂ = c W₂ + z₁ S + b₂     z = h₂ ⊙ mask₂, by magnitude
        x̂  = z D + b_dec

    x, x̂ and c have shape (batch, d), h and z (batch, n), W₁ and W₂ (d, n), S (n, n), b₁ and
    b₂ (n,), the dictionary D (n, d). k is the same for both masks.
    D and b_dec are those of `model`, a trained k-sparse autoencoder with rows of length 1 in W_dec,
    and stay as they are; so does `model`.
    The first step starts as the model's encoder, the second as one step of gradient descent on
    ½ ‖c − z D‖², with W₂ = Dᵀ and S = I − D Dᵀ. Training is free to find a better step, as the
    gradient flows through both masks. Units may also take away in the second step.

    Source: Gregor & LeCun (2010) for learned steps.
    Chapter 13.
    """

    def __init__(self, model: KSparseAutoencoder):
        self.D, self.b_dec = model.W_dec.copy(), model.b_dec.copy()
        self.phi, self.k = model.phi, model.k
        self.W1, self.b1 = model.W_enc.copy(), model.b_enc.copy()
        self.W2, self.b2 = self.D.T.copy(), np.zeros_like(self.b1)
        self.S = np.eye(len(self.D), dtype=self.D.dtype) - self.D @ self.D.T

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """The live arrays that learn: W1 (d, n), b1 (n,), W2 (d, n), S (n, n), b2 (n,)."""
        return {name: getattr(self, name) for name in ("W1", "b1", "W2", "S", "b2")}

    def _first(self, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        h1 = c @ self.W1 + self.b1
        return h1, top_k_mask(h1, self.k)

    def _second(self, c: np.ndarray, z1: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        h2 = c @ self.W2 + z1 @ self.S + self.b2
        return h2, top_k_mask(h2, self.k, by="magnitude")

    def encode(self, x: np.ndarray) -> np.ndarray:
        """The code z (batch, n) of x (batch, d): at most k numbers of a row are not zero."""
        c = x - self.b_dec
        h1, mask1 = self._first(c)
        h2, mask2 = self._second(c, self.phi(h1) * mask1)
        return h2 * mask2

    def decode(self, z: np.ndarray) -> np.ndarray:
        """The images x̂ (batch, d) that the codes z (batch, n) draw."""
        return z @ self.D + self.b_dec

    def masks(self, x: np.ndarray, target: np.ndarray | None = None) -> list[np.ndarray]:
        """Both masks (batch, n) that x (batch, d) leads to, as `gradcheck` asks."""
        c = x - self.b_dec
        h1, mask1 = self._first(c)
        return [mask1, self._second(c, self.phi(h1) * mask1)[1]]

    def loss_and_gradients(
        self, x: np.ndarray, target: np.ndarray | None = None
    ) -> tuple[float, dict[str, np.ndarray]]:
        """The error of x (batch, d), a scalar, and its gradient for each of `parameters`.

        Give a `target` (batch, d) if x is a spoilt copy of what is to be drawn.
        """
        target = x if target is None else target
        c = x - self.b_dec
        h1, mask1 = self._first(c)
        z1 = self.phi(h1) * mask1
        h2, mask2 = self._second(c, z1)
        x_hat = self.decode(h2 * mask2)

        dh2 = (mse_gradient(x_hat, target) @ self.D.T) * mask2
        dh1 = (dh2 @ self.S.T) * self.phi.derivative(h1) * mask1
        gradients = {
            "W1": c.T @ dh1,
            "b1": dh1.sum(axis=0),
            "W2": c.T @ dh2,
            "S": z1.T @ dh2,
            "b2": dh2.sum(axis=0),
        }
        return mse(x_hat, target), gradients
