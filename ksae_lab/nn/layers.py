"""Layers whose backward pass stands beside their forward pass.

`forward(x)` returns the output and a function: give it ∂L/∂output, and it returns ∂L/∂x
together with the gradients of the layer's own parameters.
The function remembers the h and the x of this one pass, so nothing is looked up later,
in the wrong layer or from the wrong batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ksae_lab.nn import activations
from ksae_lab.nn.topk import By, top_k_mask

Backward = Callable[[np.ndarray], tuple[np.ndarray, dict[str, np.ndarray]]]


@dataclass(frozen=True)
class Stage:
    """One station on a network's way: how many numbers stand there, and what made them.

    `name` is the activation, or "image" for pixels; `size` and `k` are scalars, and k is None
    where all may speak.

    Chapter 5.
    """

    name: str
    size: int
    k: int | None = None


class Dense:
    """z = φ(x W + b): x (batch, n_in), W (n_in, n_out), b (n_out,), z (batch, n_out).

    `activation` is a name from `ksae_lab.nn.activations`.
    W starts at Glorot's uniform values drawn from `rng`, b at zero, both of `dtype`:
    float32 for speed, float64 for checks.
    Set `layer.W[:] = …` to start elsewhere.

    Raises `ValueError` for an unknown activation.

    Source: Glorot & Bengio (2010) for the start.
    Chapter 3.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: str = "linear",
        *,
        rng: np.random.Generator,
        dtype: type = np.float32,
    ):
        self.phi = activations.get(activation)
        limit = np.sqrt(6 / (n_in + n_out))
        self.W = rng.uniform(-limit, limit, (n_in, n_out)).astype(dtype)
        self.b = np.zeros(n_out, dtype)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The output (batch, n_out), and the backward pass that belongs to it."""
        h = x @ self.W + self.b
        z, slope = self.activate(h)

        def backward(dz: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
            dh = dz * slope
            return dh @ self.W.T, {"W": x.T @ dh, "b": dh.sum(axis=0)}

        return z, backward

    def activate(self, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """z and ∂z/∂h at the pre-activation h; all three of shape (batch, n_out)."""
        return self.phi(h), self.phi.derivative(h)

    def masks(self, x: np.ndarray) -> np.ndarray | None:
        """What the layer decides about x by yes or no; a dense layer decides nothing: None.

        Takes x of shape (batch, n_in).
        """
        return None


class KSparse(Dense):
    """A dense layer of which only the k units with the largest pre-activation speak.

    z = φ(h) ⊙ mask with h = x W + b; shapes and start as in `Dense`, mask (batch, n_out).
    The selection ranks h, not φ(h): swish and gelu rise again far below zero,
    and ranking their outputs would let in units that say nothing.
    `by` is "value" or "magnitude", as in `top_k_mask`; by magnitude, relu makes a zero of a
    selected unit below zero. `layer.k` may be changed at any time.

    Source: Makhzani & Frey (2013).
    Chapter 2 selects, chapter 3 differentiates.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        k: int,
        activation: str = "linear",
        *,
        by: By = "value",
        rng: np.random.Generator,
        dtype: type = np.float32,
    ):
        super().__init__(n_in, n_out, activation, rng=rng, dtype=dtype)
        self.k = k
        self.by = by
        top_k_mask(self.b, k, by=by)  # a k or by that cannot work is reported here, not in training

    def activate(self, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """z and ∂z/∂h, both zero wherever the mask is; all of shape (batch, n_out)."""
        mask = top_k_mask(h, self.k, by=self.by)
        z, slope = super().activate(h)
        return np.where(mask, z, 0), np.where(mask, slope, 0)

    def masks(self, x: np.ndarray) -> np.ndarray:
        """The mask (batch, n_out) that x (batch, n_in) leads to."""
        return top_k_mask(x @ self.W + self.b, self.k, by=self.by)
