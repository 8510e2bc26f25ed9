"""Numbers that say how good a reconstruction is and how a code uses its units."""

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from ksae_lab._optional import optional
from ksae_lab.nn import inputs


def squared_errors(x: np.ndarray, x_hat: np.ndarray) -> np.ndarray:
    """The mean squared error of each image x (batch, d) and its reconstruction: (batch,).

    Their mean is the mse of the whole batch.

    Raises what `ksae_lab.nn.inputs.pair` raises: `ValueError` if the shapes differ, for one.

    Chapter 13.
    """
    x, x_hat = inputs.pair(x, x_hat, "images", "reconstructions")
    return np.mean((x_hat - x) ** 2, axis=-1)


def psnr(mse: float | np.ndarray) -> float | np.ndarray:
    """Peak signal-to-noise ratio in decibels of images in [0, 1]: −10 log₁₀ mse.

    A scalar gives a scalar; errors of each image (batch,) give the ratio of each (batch,).
    A perfect reconstruction has no noise: infinity.
    The mean of the ratios is not the ratio of the mean error: say which one is meant.

    Raises `ValueError` for a negative mse, and what `ksae_lab.nn.inputs.real` raises.

    Lab 1.
    """
    mse = inputs.floats(mse, "errors")
    if np.any(np.less(mse, 0)):
        raise ValueError(f"mse is {np.min(mse)}; a mean of squares cannot be negative.")
    with np.errstate(divide="ignore"):
        ratio = -10 * np.log10(mse)
    return ratio if np.ndim(mse) else float(ratio)


def fvu(x: np.ndarray, x_hat: np.ndarray) -> float:
    """Fraction of variance unexplained, Σ ‖x − x̂‖² / Σ ‖x − mean x‖²: a scalar.

    x and x̂ have shape (batch, d), and mean x is the mean image of this batch.
    0 is perfect and 1 no better than that one image; explained variance is 1 − FVU.

    Training in Gao et al.'s code divides by the variance of the data, too. Their separate loss
    function divides the error of each sample by its own ‖x‖² and averages the ratios: another
    number, in which faint images count as much as bright ones and the mean is part of the signal.

    Raises `ValueError` if the shapes differ, or if all images are equal and nothing varies, and
    what `ksae_lab.nn.inputs.pair` raises.

    Source: Gao et al. (2024).
    Chapter 13.
    """
    x, x_hat = inputs.pair(x, x_hat, "images", "reconstructions")
    if not x.size or (x == x[0]).all():
        raise ValueError("No two images differ, so there is no variance to explain; give others.")
    return float(((x - x_hat) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum())


def ssim(x: np.ndarray, x_hat: np.ndarray, image: tuple[int, ...] | None = None) -> np.ndarray:
    """Mean structural similarity of each image and its reconstruction, 1 for equal ones: (batch,).

    x and x_hat are images with grey levels from 0 to 1, of shape (batch, d). `image` is the shape
    of one, (height, width) or (height, width, colours); without it they are square and grey. Of
    colours the mean is taken.
    Means, variances and covariance are taken under a Gaussian of 1.5 pixels, 11 wide, at every
    place where it fits into the image.

    Raises `ValueError` if the shapes differ, an image is less than 11 high or wide, or grey levels
    of x are outside 0…1 (those of x_hat may be), `ImportError` without scikit-image, and what
    `ksae_lab.nn.inputs.real` raises.

    Source: Wang et al. (2004), with their constants.
    Lab 2.
    """
    similarity = optional("skimage.metrics", "SSIM").structural_similarity
    x, x_hat = inputs.floats(x, "images"), inputs.floats(x_hat, "reconstructions")
    side = math.isqrt(x.shape[-1] if x.ndim else 0)
    shape = image or (side, side)
    fits = x.ndim == 2 and x.shape == x_hat.shape and math.prod(shape) == x.shape[1]
    if not fits or min(shape[:2]) < 11:
        expected = f"images {shape}" if image else "d the square"
        raise ValueError(
            f"The images have shapes {x.shape} and {x_hat.shape}; "
            f"expected (batch, d) for both, with {expected} of 11 or more."
        )
    if not are_grey_levels(x):
        raise ValueError(
            f"The images hold numbers from {x.min():g} to {x.max():g}; give grey levels from 0 to "
            "1, such as bytes divided by 255."
        )
    settings: dict[str, Any] = {"data_range": 1, "gaussian_weights": True, "sigma": 1.5}
    settings |= {"use_sample_covariance": False, "channel_axis": -1 if len(shape) > 2 else None}
    pairs = zip(x.reshape(-1, *shape), x_hat.reshape(-1, *shape), strict=True)
    return np.array([similarity(a, b, **settings) for a, b in pairs])


def are_grey_levels(x: np.ndarray) -> bool:
    """Whether all numbers of x, of any shape, are from 0 to 1, as PSNR and SSIM take for granted.

    Chapter 13.
    """
    return not x.size or bool(x.min() >= 0 and x.max() <= 1)


def active_units(z: np.ndarray) -> np.ndarray:
    """How many units of each code are not zero (its L0): z (batch, n) → integers (batch,).

    Raises what `ksae_lab.nn.inputs.real` raises, and `ValueError` for a single number.

    Chapter 2.
    """
    z = inputs.real(z, "codes")
    if not z.ndim:
        raise ValueError("The codes have shape (); expected (batch, n).")
    return np.count_nonzero(z, axis=-1)


def selection_counts(z: np.ndarray) -> np.ndarray:
    """How often each unit is active in a batch of codes: z (batch, n) → integers (n,).

    Raises what `ksae_lab.nn.inputs.matrix` raises: `ValueError` for another shape, for one.

    Chapter 2.
    """
    return np.count_nonzero(inputs.matrix(z, "codes"), axis=0)


def dead_units(z: np.ndarray) -> int:
    """How many units are active for none of the codes z (batch, n): a scalar.

    Raises what `selection_counts` raises.

    Lab 1.
    """
    return int((selection_counts(z) == 0).sum())


def feature_density(z: np.ndarray) -> np.ndarray:
    """The share of images in which each unit is active: z (batch, n) → (n,), each in [0, 1].

    Raises what `selection_counts` raises.

    Source: Bricken et al. (2023).
    Chapter 13.
    """
    return selection_counts(z) / len(z)


def selection_entropy(z: np.ndarray) -> float:
    """How evenly the units share the selections of the codes z (batch, n): a scalar in bits.

    Pick one active entry of all codes at random. Its unit is j with probability p_j, the
    selections of unit j over those of all units, and this is the entropy −Σ p_j log₂ p_j:
    log₂ n if all n units are used equally, 0 if there is only one.
    2 to its power is the number of units that would be as uncertain if used equally.

    Raises `ValueError` if no unit is active for any image, and what `selection_counts` raises.

    Source: Shannon (1948).
    Chapter 13.
    """
    return entropy_of(selection_counts(z))


def entropy_of(counts: np.ndarray) -> float:
    """`selection_entropy` for whom the selections of each unit (n,) are known: a scalar in bits.

    Raises `ValueError` if no unit was ever selected.

    Chapter 13.
    """
    if not counts.any():
        raise ValueError("No unit is active in any code, so nothing was selected; give others.")
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum()) + 0.0  # one unit alone gives −0, which prints badly


def peak_memory(call: Callable[[], object]) -> int:
    """The most bytes, a scalar, that Python and NumPy hold at a time for `call()`.

    What stood before does not count. The same on every machine with the same versions, other than
    the size of the process; what is allocated behind NumPy's back (by TensorFlow, say) is not seen.

    Chapter 13.
    """
    watched = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        if not watched:
            tracemalloc.stop()
