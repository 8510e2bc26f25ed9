"""What a trained model is worth on samples that it has not seen, in one row of numbers."""

import math
from importlib.util import find_spec
from typing import Any

import numpy as np

from ksae_lab.data.files import MNIST
from ksae_lab.data.rows import Rows
from ksae_lab.data.scaling import Extent
from ksae_lab.evaluation import metrics
from ksae_lab.evaluation.code_length import index_bits
from ksae_lab.models.base import Coder
from ksae_lab.models.scaled import Scaled
from ksae_lab.nn import inputs
from ksae_lab.nn.module import Module

BATCH = 1000  # samples at a time: codes take room
VALUE_BITS = 8  # of each number in a code


def evaluate(model: Module, x: np.ndarray, image: tuple[int, ...] | None = None) -> dict[str, Any]:
    """How well a model reconstructs x (samples, d), and how it uses its units; all scalars.

    `image` is the shape of one sample, if it is an image: (height, width) or (height, width,
    colours). Rows of 784 numbers from 0 to 1 are taken for those of MNIST.

    "images" is the number of samples and "units" that of the model's.
    "mse", "fvu" (None if all samples are equal), "psnr" in decibels (None if an image has no error)
    and "ssim" compare samples with their reconstructions, in the units of training; the last two
    are means over images, and None where there are no images with grey levels from 0 to 1. SSIM is
    None, too, for images under 11 pixels and without scikit-image.
    "active_units" is the mean number of active units of a sample, "dead_units" how many are active
    for none, "busiest_unit" the share of samples for which the most used one is active, and
    "selection_entropy" how evenly all of them are used, in bits (None if none is active).
    "code_bits" is the mean size of a code: which units are active, each combination equally likely,
    and 8 bits for the value of each.

    Raises `ValueError` for another kind of model, for no samples, for those of another size, and
    what `ksae_lab.nn.inputs.rows` raises.

    Chapter 13.
    """
    if not isinstance(model, Coder):
        raise ValueError(
            f"A {type(model).__name__} cannot be evaluated here: it does not reconstruct images; "
            "give a model that encodes and decodes, such as a KSparseAutoencoder."
        )
    if not isinstance(x, Rows):
        x = inputs.floats(x, "images")
    if not len(x) or not x.shape[-1]:
        raise ValueError("There are no images to evaluate the model on; give one or more.")
    coder, scaling = (model.coder, model.scaling) if isinstance(model, Scaled) else (model, None)
    step = inputs.at_a_time(x, BATCH)
    starts = range(0, len(x), step)

    def batch(start: int) -> np.ndarray:
        own = x[start : start + step]
        return own if scaling is None else scaling.apply(own)

    extent = Extent(map(batch, starts))
    if image is None and x.shape[1:] == (math.prod(MNIST),):
        image = MNIST
    grey = image is not None and extent.least.min() >= 0 and extent.most.max() <= 1
    alike = grey and image is not None and min(image[:2]) >= 11 and find_spec("skimage") is not None
    errors, active, similarity = [], [], []
    counts: Any = 0
    for start in starts:
        own = batch(start)
        z = coder.encode(own)
        x_hat = coder.decode(z)
        errors.append(metrics.squared_errors(own, x_hat).astype(float))
        active.append(metrics.active_units(z))
        counts = counts + metrics.selection_counts(z)
        if alike:
            similarity.append(metrics.ssim(own, x_hat, image))
    mse, units = np.concatenate(errors), len(counts)
    noise = np.mean(metrics.psnr(mse)) if grey else np.inf
    each = np.concatenate(active)
    return {
        "images": len(x),
        "mse": float(mse.mean()),
        "fvu": float(mse.mean() / extent.spread**2) if (extent.most > extent.least).any() else None,
        "psnr": float(noise) if np.isfinite(noise) else None,
        "ssim": float(np.concatenate(similarity).mean()) if alike else None,
        "units": units,
        "active_units": float(each.mean()),
        "dead_units": int((counts == 0).sum()),
        "busiest_unit": float(counts.max() / len(x)),
        "selection_entropy": metrics.entropy_of(counts) if counts.any() else None,
        "code_bits": float((index_bits(units, each) + VALUE_BITS * each).mean()),
    }
