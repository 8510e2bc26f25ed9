"""The loss of a reconstruction, and its gradient beside it."""

import numpy as np

from ksae_lab.nn import inputs


def mse(x_hat: np.ndarray, x: np.ndarray) -> float:
    """The mean of (x̂ − x)² over all images and pixels: a scalar, in squared grey levels.

    Both arrays have shape (batch, d).
    An image is d numbers between 0 and 1, so a value of .01 is a typical error of .1 a pixel.

    NaN in either gives NaN.

    Raises what `ksae_lab.nn.inputs.pair` raises, and `ValueError` for no images.

    Chapter 1.
    """
    x_hat, x = _pair(x_hat, x)
    return float(np.mean((x_hat - x) ** 2))


def mse_gradient(x_hat: np.ndarray, x: np.ndarray) -> np.ndarray:
    """∂mse/∂x̂, of shape (batch, d): 2 (x̂ − x) shared out over batch · d numbers.

    Raises what `mse` raises.

    Chapter 3.
    """
    x_hat, x = _pair(x_hat, x)
    return 2 * (x_hat - x) / x.size


def _pair(x_hat: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # NaN is let through: in training it is the loss that shows it.
    x_hat, x = inputs.pair(x_hat, x, "outputs", "targets", finite=False)
    if not x.size:
        raise ValueError(f"There is nothing to compare in arrays of shape {x.shape}; give images.")
    return x_hat, x
