"""Numbers that say how good a reconstruction is and how a code uses its units."""

import math

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


def ssim(x: np.ndarray, x_hat: np.ndarray) -> np.ndarray:
    """Mean structural similarity of each image and its reconstruction, 1 for equal ones: (batch,).

    x and x_hat are square images with grey levels from 0 to 1, of shape (batch, d).
    Means, variances and covariance are taken under a Gaussian of 1.5 pixels, 11 wide, at every
    place where it fits into the image.

    Raises `ValueError` if the shapes differ, or d is not the square of 11 or more.

    Source: Wang et al. (2004), with their constants.
    Lab 2.
    """
    from skimage.metrics import structural_similarity

    side = math.isqrt(x.shape[-1])
    if x.ndim != 2 or x.shape != x_hat.shape or side < 11 or side**2 != x.shape[1]:
        raise ValueError(
            f"The images have shapes {x.shape} and {x_hat.shape}; "
            "expected (batch, d) for both, with d the square of 11 or more."
        )
    settings = {"data_range": 1, "gaussian_weights": True, "use_sample_covariance": False}
    pairs = zip(x.reshape(-1, side, side), x_hat.reshape(-1, side, side), strict=True)
    return np.array([structural_similarity(a, b, sigma=1.5, **settings) for a, b in pairs])


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
