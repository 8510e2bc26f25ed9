"""Layers whose backward pass stands beside their forward pass.

`forward(x)` returns the output and a function: give it ∂L/∂output, and it returns ∂L/∂x
together with the gradients of the layer's own parameters.
The function remembers the h and the x of this one pass, so nothing is looked up later,
in the wrong layer or from the wrong batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ksae_lab.nn import activations, inputs
from ksae_lab.nn.checks import Rng, floating, generator, whole
from ksae_lab.nn.module import Arrays, Module
from ksae_lab.nn.selectors import HasSelector, Selector, SelectorBackward, as_selector

Backward = Callable[[np.ndarray], tuple[np.ndarray, Arrays]]


@dataclass(frozen=True)
class Stage:
    """One station on a network's way: how many numbers stand there, and what made them.

    `name` is the activation, or "image" for pixels; `size` and `k` are scalars, and k is None
    where all may be active.

    Chapter 5.
    """

    name: str
    size: int
    k: int | None = None


class Dense(Module):
    """z = φ(x W + b): x (batch, n_in), W (n_in, n_out), b (n_out,), z (batch, n_out).

    `activation` is a name from `ksae_lab.nn.activations`.
    W starts at Glorot's uniform values drawn from `rng`, b at zero, both of `dtype`:
    float32 for speed, float64 for checks. `rng` is what `numpy.random.default_rng` takes.
    Set `layer.W[:] = …` to start elsewhere.

    Raises `ValueError` for an unknown activation, a size below 1, and a dtype that is none of
    floats, and `TypeError` for sizes that are no integers.

    Source: Glorot & Bengio (2010) for the start.
    Chapter 3.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: str = "linear",
        *,
        rng: Rng,
        dtype: type | str = np.float32,
    ):
        self.phi = activations.get(activation)
        n_in, n_out, dtype = whole(n_in, "n_in"), whole(n_out, "n_out"), floating(dtype)
        limit = np.sqrt(6 / (n_in + n_out))
        self.W = generator(rng).uniform(-limit, limit, (n_in, n_out)).astype(dtype)
        self.b = np.zeros(n_out, dtype)

    @property
    def parameters(self) -> Arrays:
        """W (n_in, n_out) and b (n_out,)."""
        return {"W": self.W, "b": self.b}

    def get_config(self) -> dict[str, Any]:
        """The sizes, the activation's name and the dtype's."""
        n_in, n_out = self.W.shape
        return {
            "n_in": n_in,
            "n_out": n_out,
            "activation": self.phi.name,
            "dtype": self.W.dtype.name,
        }

    @property
    def stage(self) -> Stage:
        """What this layer makes."""
        return Stage(self.phi.name, len(self.b))

    def pre_activations(self, x: np.ndarray) -> np.ndarray:
        """h (batch, n_out) for x (batch, n_in).

        Raises `ValueError` for another shape.
        """
        x = inputs.rows(x, len(self.W), "inputs", dtype=self.W.dtype, finite=False)
        return x @ self.W + self.b

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The output (batch, n_out) in training, and the backward pass that belongs to it."""
        return self.forward_from(x, self.pre_activations(x))

    def forward_from(self, x: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The same, where h (batch, n_out), the pre-activations of x, are known already."""
        z, through_activation = self.activate(h)

        def backward(dz: np.ndarray) -> tuple[np.ndarray, Arrays]:
            dh, own = through_activation(dz)
            return dh @ self.W.T, {"W": x.T @ dh, "b": dh.sum(axis=0)} | own

        return z, backward

    def activate(self, h: np.ndarray) -> tuple[np.ndarray, SelectorBackward]:
        """z in training, and ∂L/∂z → ∂L/∂h; arrays of shape (batch, n_out)."""
        slope = self.phi.derivative(h)
        return self.phi(h), lambda dz: (dz * slope, {})

    def encode(self, x: np.ndarray) -> np.ndarray:
        """The output (batch, n_out) for x (batch, n_in), once training is over."""
        return self.phi(self.pre_activations(x))

    def observe(self, h: np.ndarray) -> None:
        """Note a batch of training, h (batch, n_out), for `buffers`; nothing here."""

    def masks(self, x: np.ndarray) -> list[np.ndarray]:
        """What the layer decides by yes or no about x (batch, n_in): nothing here."""
        return []


class KSparse(HasSelector, Dense):
    """A dense layer of which only the k units with the largest pre-activation are active.

    z = φ(h) ⊙ mask with h = x W + b; shapes and start as in `Dense`, mask (batch, n_out).
    The selection ranks h, not φ(h): swish and gelu rise again far below zero,
    and ranking their outputs would let in units that say nothing.
    `k` may be a selector, such as `TopK(10, by="magnitude")`; by magnitude, relu makes a zero of a
    selected unit below zero. `layer.k` may be changed at any time.

    Raises what the selector raises for a k that cannot work.

    Source: Makhzani & Frey (2013).
    Chapter 2 selects, chapter 3 differentiates.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        k: int | Selector,
        activation: str = "linear",
        *,
        rng: Rng,
        dtype: type | str = np.float32,
    ):
        super().__init__(n_in, n_out, activation, rng=rng, dtype=dtype)
        self.selector = as_selector(k).for_units(n_out, dtype)

    @property
    def parameters(self) -> Arrays:
        """W (n_in, n_out), b (n_out,), and those of the selector."""
        return super().parameters | self.selector.parameters

    @property
    def buffers(self) -> Arrays:
        """Those of the selector, of any shape."""
        return self.selector.buffers

    def get_config(self) -> dict[str, Any]:
        """The settings of `Dense`, and the selector as k."""
        return super().get_config() | {"k": self.selector}

    @property
    def stage(self) -> Stage:
        """What this layer makes, and how many of its units are active."""
        return Stage(self.phi.name, len(self.b), getattr(self.selector, "k", None))

    def activate(self, h: np.ndarray) -> tuple[np.ndarray, SelectorBackward]:
        """z in training, zero where the mask is, and its backward pass; both (batch, n_out)."""
        return self.selector.forward(h, self.phi)

    def encode(self, x: np.ndarray) -> np.ndarray:
        """The code (batch, n_out) of x (batch, n_in), once training is over."""
        return self.selector.encode(self.pre_activations(x), self.phi)

    def observe(self, h: np.ndarray) -> None:
        """Let the selector note h (batch, n_out)."""
        self.selector.observe(h)

    def masks(self, x: np.ndarray) -> list[np.ndarray]:
        """The mask (batch, n_out) that x (batch, n_in) leads to in training."""
        return [self.selector.training_mask(self.pre_activations(x))]
