"""Numbers that say how good a reconstruction is and how a code uses its units."""

import numpy as np


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in decibels of images in [0, 1]: −10 log₁₀ mse, a scalar.

    A perfect reconstruction has no noise: infinity.

    Raises `ValueError` for a negative mse.

    Lab 1.
    """
    if mse < 0:
        raise ValueError(f"mse is {mse}; a mean of squares cannot be negative.")
    return float("inf") if mse == 0 else float(-10 * np.log10(mse))


def active_units(z: np.ndarray) -> np.ndarray:
    """How many units of each code are not zero (its L0): z (batch, n) → integers (batch,).

    Chapter 2.
    """
    return np.count_nonzero(z, axis=-1)


def selection_counts(z: np.ndarray) -> np.ndarray:
    """How often each unit is active in a batch of codes: z (batch, n) → integers (n,).

    Chapter 2.
    """
    return np.count_nonzero(z, axis=0)


def dead_units(z: np.ndarray) -> int:
    """How many units are active for none of the codes z (batch, n): a scalar.

    Lab 1.
    """
    return int((selection_counts(z) == 0).sum())
