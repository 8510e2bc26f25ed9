"""A matching-pursuit autoencoder: one atom after the other, and gradients through all of them."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ksae_lab.models.base import Coder
from ksae_lab.nn import inputs
from ksae_lab.nn.checks import Rng, floating, generator, whole
from ksae_lab.nn.layers import Stage
from ksae_lab.nn.losses import mse, mse_gradient
from ksae_lab.nn.module import Arrays, ForwardPass, Passes
from ksae_lab.nn.rows import unit_rows


class MatchingPursuitAutoencoder(Coder):
    """k times, the atom that agrees best with what is left draws as much of it as it can.

        r₀ = x − b    i = argmax abs(W rₜ)    a = wᵢ · rₜ    zᵢ += a    rₜ₊₁ = rₜ − a wᵢ
        x̂  = z W + b

    x and x̂ have shape (batch, d), z (batch, n), W (n, d) with rows of length 1, b (d,). There is no
    encoder of its own: W is both, and the code takes k looks, where a `KSparseAutoencoder` takes
    one. An atom may be taken twice, so at most k are active; values may be negative.
    W starts at random directions of `rng`, b at zero; `init_from_data` gives a better start.

    Raises `ValueError` for sizes and a k that cannot work, and `TypeError` for settings of another
    type.

    Source: Mallat & Zhang (1993) for the pursuit; Costa et al. (2025) for learning through it.
    Lab 2.
    """

    def __init__(
        self, n_pixels: int, n_units: int, k: int, *, rng: Rng, dtype: type | str = np.float32
    ):
        shape = whole(n_units, "n_units"), whole(n_pixels, "n_pixels")
        self.k = whole(k, "k", 1, n_units)
        self.W = unit_rows(generator(rng).normal(size=shape)).astype(floating(dtype))
        self.b = np.zeros(n_pixels, self.W.dtype)

    def init_from_data(self, x: np.ndarray, rng: Rng) -> None:
        """Start at the data: b at the mean of x (samples, d), each atom at one image less it.

        Raises `ValueError` for fewer images than atoms, and what `ksae_lab.nn.inputs.rows` raises.
        """
        n, d = self.W.shape
        x = inputs.rows(x, d, dtype=self.W.dtype, least=n)
        self.b[:] = x.mean(axis=0)
        self.W[:] = unit_rows(x[generator(rng).choice(len(x), n, replace=False)] - self.b)

    @property
    def stages(self) -> list[Stage]:
        """The image, the atoms, the image again: three sizes, each a scalar."""
        n, d = self.W.shape
        return [Stage("image", d), Stage("pursuit", n, self.k), Stage("image", d)]

    @property
    def parameters(self) -> Arrays:
        """The live arrays: W (n, d) and b (d,)."""
        return {"W": self.W, "b": self.b}

    def get_config(self) -> dict[str, Any]:
        """Sizes, k and dtype."""
        n, d = self.W.shape
        return {"n_pixels": d, "n_units": n, "k": self.k, "dtype": self.W.dtype.name}

    def encode(self, x: np.ndarray) -> np.ndarray:
        """The code z (batch, n) of x (batch, d): at most k numbers of a row are not zero."""
        h = self._agreement(x)
        z = np.zeros_like(h)
        images = np.arange(len(h))
        for atoms, values in self._steps(h):
            z[images, atoms] += values
        return z

    def decode(self, z: np.ndarray) -> np.ndarray:
        """The images x̂ (batch, d) of the codes z (batch, n)."""
        z = inputs.rows(z, len(self.W), "codes", dtype=self.W.dtype, finite=False)
        return z @ self.W + self.b

    def masks(self, x: np.ndarray, target: np.ndarray | None = None) -> list[np.ndarray]:
        """A mask (batch, n) for each step: the atom that it takes."""
        units = np.arange(len(self.W))
        return [atoms[:, None] == units for atoms, _ in self._steps(self._agreement(x))]

    def forward_backward(self, x: np.ndarray, target: np.ndarray | None = None) -> Passes:
        """The error of x (batch, d), its gradients, and the forward pass; h is W r₀.

        Give a `target` (batch, d) if x is a noisy copy of what is to be reconstructed.
        """
        from scipy.sparse import csr_array  # a second that others need not wait for

        x, target = inputs.with_target(x, target, len(self.b), self.W.dtype)
        h = self._agreement(x)
        z, rest, taken = np.zeros_like(h), x - self.b, []
        images = np.arange(len(x))
        for atoms, values in self._steps(h.copy()):
            z[images, atoms] += values
            rest = rest - values[:, None] * self.W[atoms]
            taken.append((atoms, values))
        x_hat = x - rest

        d_rest = -mse_gradient(x_hat, target)
        d_W = np.zeros_like(self.W)
        for atoms, values in reversed(taken):
            w = self.W[atoms]
            rest = rest + values[:, None] * w  # as it was before this atom
            d_value = -(w * d_rest).sum(axis=1)
            d_w = d_value[:, None] * rest - values[:, None] * d_rest
            d_W += csr_array((np.ones_like(values), (atoms, images)), (len(d_W), len(x))) @ d_w
            d_rest = d_rest + d_value[:, None] * w
        gradients = {"W": d_W, "b": -d_rest.sum(axis=0)}
        return Passes(mse(x_hat, target), gradients, ForwardPass(target, h, z, x_hat, self.W))

    def constrain(self) -> None:
        """Bring the rows of W (n, d) back to length 1; after each step."""
        self.W[:] = unit_rows(self.W)

    def _agreement(self, x: np.ndarray) -> np.ndarray:
        """W r₀ of x, (batch, n)."""
        return (inputs.rows(x, len(self.b), dtype=self.W.dtype) - self.b) @ self.W.T

    def _steps(self, h: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The atoms (batch,) of each step and their values (batch,); h ends as W r of what is left.

        What is left is never needed itself: it loses a wᵢ, and so h loses a W wᵢ.
        """
        gram, images = self.W @ self.W.T, np.arange(len(h))
        for _ in range(self.k):
            atoms = np.abs(h).argmax(axis=1)
            values = h[images, atoms]
            h -= values[:, None] * gram[atoms]
            yield atoms, values
