"""Eight activation functions, each beside its derivative.

Every derivative is taken at the *pre-activation* h.
It cannot be recovered from the output in general:
swish and gelu reach the same output from two different h, with two different slopes.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ksae_lab.nn.inputs import Elementwise, of_floats


@dataclass(frozen=True)
class Activation:
    """A function φ and its derivative φ′, both of the pre-activation h, elementwise.

    h is an array of any shape; both results have its shape, and are floats. Where h is not above
    `floor`, a scalar, both are 0: such a unit is silent, and learns nothing.

    Chapter 3.
    """

    name: str
    function: Elementwise
    derivative: Elementwise
    floor: float = -math.inf

    def __post_init__(self) -> None:
        for name in ("function", "derivative"):
            object.__setattr__(self, name, of_floats(getattr(self, name)))

    def __call__(self, h: np.ndarray) -> np.ndarray:
        """φ(h), of the shape of h."""
        return self.function(h)

    def __reduce__(self) -> tuple[Any, ...]:
        # By its name: pickle cannot hold a lambda, and a copy of a function is that function.
        return get, (self.name,)


def get(name: str) -> Activation:
    """The activation of that name; `ACTIVATIONS` holds all eight.

    Raises `ValueError` for a name that is not among them.

    Chapter 3.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"No activation is called {name!r}; choose from {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


LEAK = 0.2  # slope of leaky relu below zero, the default of Keras


def _sigmoid(h: np.ndarray) -> np.ndarray:
    # Through tanh, which saturates quietly where exp(-h) would overflow.
    return 0.5 * (1 + np.tanh(0.5 * h))


def _sigmoid_slope(h: np.ndarray) -> np.ndarray:
    s = _sigmoid(h)
    return s * (1 - s)


def _elu_slope(h: np.ndarray) -> np.ndarray:
    return np.where(h > 0, 1.0, np.exp(np.minimum(h, 0))).astype(h.dtype)


def _swish_slope(h: np.ndarray) -> np.ndarray:
    s = _sigmoid(h)
    return s + h * s * (1 - s)


def _normal_cdf(h: np.ndarray) -> np.ndarray:
    # SciPy holds the only vectorised erf; imported here so that `import ksae_lab` stays light.
    from scipy.special import ndtr

    return ndtr(h)


def _gelu_slope(h: np.ndarray) -> np.ndarray:
    return _normal_cdf(h) + h * np.exp(-0.5 * h * h) / math.sqrt(2 * math.pi)


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("linear", lambda h: h, np.ones_like),
        Activation("sigmoid", _sigmoid, _sigmoid_slope),
        Activation("relu", lambda h: np.maximum(h, 0), lambda h: (h > 0).astype(h.dtype), 0.0),
        Activation(
            "leaky_relu",
            lambda h: np.where(h > 0, h, LEAK * h),
            lambda h: np.where(h > 0, 1.0, LEAK).astype(h.dtype),
        ),
        Activation("tanh", np.tanh, lambda h: 1 - np.tanh(h) ** 2),
        Activation("elu", lambda h: np.where(h > 0, h, np.expm1(np.minimum(h, 0))), _elu_slope),
        Activation("swish", lambda h: h * _sigmoid(h), _swish_slope),
        Activation("gelu", lambda h: h * _normal_cdf(h), _gelu_slope),
    )
}
