"""What all models have in common that turn images into codes, and codes into images."""

from abc import ABC, abstractmethod

import numpy as np

from ksae_lab.nn.losses import mse
from ksae_lab.training import loop


class Coder(ABC):
    """An encoder and a decoder: what they draw together, how wrong it is, and how they learn.

    A subclass says how it encodes and decodes, and has what a `Model` needs.

    Chapter 5.
    """

    @abstractmethod
    def encode(self, x: np.ndarray) -> np.ndarray:
        """The codes (batch, n) of x (batch, d)."""

    @abstractmethod
    def decode(self, z: np.ndarray) -> np.ndarray:
        """The images x̂ (batch, d) that the codes z (batch, n) draw."""

    @abstractmethod
    def loss_and_gradients(self, *batch: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
        """The loss of a batch, a scalar, and its gradient for each of `parameters`."""

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """x̂ (batch, d) for x (batch, d): what is drawn from the codes of x."""
        return self.decode(self.encode(x))

    def error(self, x: np.ndarray, target: np.ndarray | None = None) -> float:
        """The mean squared error of the reconstruction of x (batch, d), a scalar.

        It is compared with `target` (batch, d), if there is one, else with x itself. Whatever else
        training lowers, terms and prices, does not count.
        """
        return mse(self.reconstruct(x), x if target is None else target)

    def loss(self, *batch: np.ndarray) -> float:
        """What training lowers: a scalar for x (batch, d), or for x and a target (batch, d)."""
        return self.loss_and_gradients(*batch)[0]

    def fit(self, x: np.ndarray, **how) -> loop.History:
        """Train on x (samples, d); `ksae_lab.training.loop.fit` says what else to give."""
        return loop.fit(self, (x,), **how)
