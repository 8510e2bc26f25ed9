"""A threshold for each unit, which learns: the selector of `ksae_lab.nn.selectors` in Keras."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from ksae_lab.keras.arrays import as_numpy
from ksae_lab.keras.selector import Selector
from ksae_lab.nn import selectors as in_numpy


@keras.saving.register_keras_serializable(package="ksae_lab")
class JumpReLU(Selector):
    """The units above a threshold of their own: z = φ(h) ⊙ 1[h > θ].

    h, z and mask have shape (..., n), θ (n,). θ = exp(log_threshold) stays above zero, and learns
    by a slope that is made up: as if each step were a ramp of width `bandwidth`, ε, in units of h.
    For h the slope is the mask's. There is no k; the auxiliary loss `L0` asks for few units.

    Raises `ValueError` for a threshold or bandwidth that is not above zero.

    Source: Rajamanoharan et al. (2024).
    Chapter 16.
    """

    def __init__(self, threshold: float = 1.0, bandwidth: float = 1.0, **options: Any):
        super().__init__(**options)
        in_numpy.JumpReLU(threshold, bandwidth)  # says what cannot work
        self.start = threshold
        self.bandwidth = bandwidth

    def settings(self) -> dict[str, Any]:
        """Where the thresholds started, and the bandwidth; the thresholds are weights."""
        return {"threshold": self.start, "bandwidth": self.bandwidth}

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Make a threshold for each unit."""
        self.log_threshold = self.add_weight(
            shape=input_shape[-1:], name="log_threshold", initializer="zeros"
        )
        self.log_threshold.assign(np.full(input_shape[-1:], np.log(self.start)))
        super().build(input_shape)

    @property
    def thresholds(self) -> np.ndarray:
        """θ of each unit, of shape (n,)."""
        return np.exp(as_numpy(self.log_threshold))

    def mask(self, h: Any, training: bool = False) -> Any:
        """Which units are above their threshold."""
        return ~(h <= self._threshold(h))

    def select(self, h: Any, phi: Callable[[Any], Any], training: bool) -> Any:
        """z for h, both (..., n), with a slope for θ."""
        height = phi(self._threshold(h))
        return super().select(h, phi, training) + height * self._edge(h)

    def count(self, h: Any) -> Any:
        """How many are active, for each row of h (..., n): numbers (...) with a slope for θ."""
        return ops.sum(ops.cast(self.mask(h), h.dtype) + self._edge(h), axis=-1)

    def _threshold(self, h: Any) -> Any:
        return ops.cast(ops.exp(self.log_threshold), h.dtype)

    def _edge(self, h: Any) -> Any:
        """Zero, whose slope in θ is that of the ramp: −1/ε where h is within ε/2 of θ."""
        threshold = self._threshold(h)
        near = ops.cast(ops.abs(h - threshold) < self.bandwidth / 2, h.dtype)
        return -near / self.bandwidth * (threshold - ops.stop_gradient(threshold))
