"""The loss of a reconstruction, and its gradient beside it."""

import numpy as np


def mse(x_hat: np.ndarray, x: np.ndarray) -> float:
    """The mean of (x̂ − x)² over all images and pixels: a scalar, in squared grey levels.

    Both arrays have shape (batch, d).
    An image is d numbers between 0 and 1, so a value of .01 is a typical error of .1 a pixel.

    Raises `ValueError` if the shapes differ: broadcasting would compare the wrong numbers.

    Chapter 1.
    """
    _check_same_shape(x_hat, x)
    return float(np.mean((x_hat - x) ** 2))


def mse_gradient(x_hat: np.ndarray, x: np.ndarray) -> np.ndarray:
    """∂mse/∂x̂, of shape (batch, d): 2 (x̂ − x) shared out over batch · d numbers.

    Raises `ValueError` if the shapes differ.

    Chapter 3.
    """
    _check_same_shape(x_hat, x)
    return 2 * (x_hat - x) / x.size


def _check_same_shape(x_hat: np.ndarray, x: np.ndarray) -> None:
    if np.shape(x_hat) != np.shape(x):
        raise ValueError(f"The output has shape {np.shape(x_hat)}, the target {np.shape(x)}.")
