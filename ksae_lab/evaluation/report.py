"""What a trained model is worth on images that it has not seen, in one row of numbers."""

from typing import Any

import numpy as np

from ksae_lab.evaluation import metrics
from ksae_lab.evaluation.code_length import index_bits
from ksae_lab.models.base import Coder
from ksae_lab.nn import inputs
from ksae_lab.nn.losses import mse
from ksae_lab.nn.module import Model

BATCH = 1000  # images at a time: codes take room
VALUE_BITS = 8  # of each number in a code


def evaluate(model: Model, x: np.ndarray) -> dict[str, Any]:
    """How well a model reconstructs x (images, d), and how it uses its units; all scalars.

    "images" is their number and "units" that of the model's.
    "mse", "fvu" (None if all images are equal), "psnr" in decibels (None if an image has no error)
    and "ssim" compare images with their reconstructions; the last two are means over images, and
    None unless all grey levels are from 0 to 1.
    "active_units" is the mean number of active units of an image, "dead_units" how many are active
    for none, "busiest_unit" the share of images for which the most used one is active, and
    "selection_entropy" how evenly all of them are used, in bits (None if none is active).
    "code_bits" is the mean size of a code: which units are active, each combination equally likely,
    and 8 bits for the value of each.

    Raises `ValueError` for another kind of model, for no images, and for those of another size, and
    what `ksae_lab.nn.inputs.rows` raises.

    Chapter 13.
    """
    if not isinstance(model, Coder):
        raise ValueError(
            f"A {type(model).__name__} cannot be evaluated here: it does not reconstruct images; "
            "give a model that encodes and decodes, such as a KSparseAutoencoder."
        )
    x = inputs.floats(x, "images")
    if not x.size:
        raise ValueError("There are no images to evaluate the model on; give one or more.")
    reconstructions, used = [], []
    for start in range(0, len(x), BATCH):
        z = model.encode(x[start : start + BATCH])
        reconstructions.append(model.decode(z))
        used.append(z != 0)
    x_hat, codes = np.concatenate(reconstructions), np.concatenate(used)
    grey = metrics.are_grey_levels(x)
    noise = np.mean(metrics.psnr(metrics.squared_errors(x, x_hat)))
    active, units = metrics.active_units(codes), codes.shape[1]
    return {
        "images": len(x),
        "mse": mse(x_hat, x),
        "fvu": metrics.fvu(x, x_hat) if (x != x[0]).any() else None,
        "psnr": float(noise) if grey and np.isfinite(noise) else None,
        "ssim": float(metrics.ssim(x, x_hat).mean()) if grey else None,
        "units": units,
        "active_units": float(active.mean()),
        "dead_units": metrics.dead_units(codes),
        "busiest_unit": float(metrics.feature_density(codes).max()),
        "selection_entropy": metrics.selection_entropy(codes) if codes.any() else None,
        "code_bits": float((index_bits(units, active) + VALUE_BITS * active).mean()),
    }
