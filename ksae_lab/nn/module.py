"""The contract: what can be copied, stored and built again, and what can be trained and checked."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

Arrays = dict[str, np.ndarray]


class Module(ABC):
    """Arrays under names, and the settings that make another of its kind.

    Layers, selectors and models are modules. From `get_config` and the arrays follow the rest:
    `repr` shows the settings, `ksae_lab.experiments.saved_models` stores both, and copies
    (`copy.deepcopy`, `pickle`, `joblib`) are equal and share nothing with the original.

    Chapter 3.
    """

    @property
    def parameters(self) -> Arrays:
        """Name → live array, of any shape, that an optimizer changes; none here."""
        return {}

    @property
    def buffers(self) -> Arrays:
        """Name → live array, of any shape, that is kept but not learned by gradients; none here."""
        return {}

    @property
    def state(self) -> Arrays:
        """All arrays, parameters and buffers: what must be kept beside the settings."""
        return self.parameters | self.buffers

    @abstractmethod
    def get_config(self) -> dict[str, Any]:
        """The settings that `from_config` takes: plain values, modules, or lists of modules."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Another module with these settings; its arrays are to be overwritten by a `state`.

        Raises what the constructor raises.
        """
        # Most modules draw their first weights; those that draw nothing override this.
        return cls(**config | {"rng": np.random.default_rng(0)})

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({settings})"


@dataclass(frozen=True)
class ForwardPass:
    """What a model did with one batch: all that an auxiliary loss or a callback may look at.

    x, what was to be reconstructed, and x_hat have shape (batch, d), h, the pre-activations, and z,
    the code, (batch, n), W_dec (n, d).

    Chapter 8.
    """

    x: np.ndarray
    h: np.ndarray
    z: np.ndarray
    x_hat: np.ndarray
    W_dec: np.ndarray

    @property
    def active(self) -> np.ndarray:
        """True for each unit that is active for any sample, (n,)."""
        return (self.z != 0).any(axis=0)

    def h_of(self, units: np.ndarray) -> np.ndarray:
        """h of some units (m,), (batch, m)."""
        return self.h[:, units]


class Passes(NamedTuple):
    """What one forward and one backward pass give: the loss, a scalar, its gradients by the names
    of the parameters and of their shapes, and the forward pass itself.

    Chapter 5.
    """

    loss: float
    gradients: Arrays
    forward: ForwardPass


class Model(Module):
    """What can be trained, and what `ksae_lab.training.gradcheck` can check.

    A subclass says its `parameters` and its `forward_backward`; x has shape (batch, d), and a
    target the shape of the output. Without a target, x itself is to be reconstructed.

    Chapter 3.
    """

    @abstractmethod
    def forward_backward(self, x: np.ndarray, target: np.ndarray | None = None) -> Passes:
        """The loss of a batch, its gradient for each of `parameters`, and the forward pass."""

    def loss_and_gradients(
        self, x: np.ndarray, target: np.ndarray | None = None
    ) -> tuple[float, Arrays]:
        """The loss of a batch, a scalar, and its gradient for each of `parameters`."""
        loss, gradients, _ = self.forward_backward(x, target)
        return loss, gradients

    def loss(self, x: np.ndarray, target: np.ndarray | None = None) -> float:
        """What training lowers, a scalar."""
        return self.forward_backward(x, target).loss

    def error(self, x: np.ndarray, target: np.ndarray | None = None) -> float:
        """What validation measures, a scalar: the loss, where it has no terms that are no error."""
        return self.loss(x, target)

    def masks(self, x: np.ndarray, target: np.ndarray | None = None) -> list[np.ndarray]:
        """What is decided by yes or no on the way, as booleans: where one flips, a loss jumps."""
        return []

    def constrain(self) -> None:
        """Put right what a step may have upset; called after each step."""

    def observe(self, forward: ForwardPass) -> None:
        """Note what a step of training showed, for `buffers`; called after each step."""
