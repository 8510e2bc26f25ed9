"""Many small images as one picture, written as PNG."""

import io
import math
from pathlib import Path

import numpy as np

from ksae_lab._optional import optional
from ksae_lab.experiments import archive

SIDE = 32  # pixels that the longer side of a tile has at least
GAP = 2
BLUE, RED = np.array([0.0, 0.447, 0.698]), np.array([0.835, 0.369, 0.0])  # of Okabe and Ito


def grid(images: np.ndarray, columns: int) -> np.ndarray:
    """Images (n, height, width, 3) of colours from 0 to 1, in rows on white: one (h, w, 3) image.

    Lab 2.
    """
    n, height, width, _ = images.shape
    times = max(1, math.ceil(SIDE / max(height, width)))
    images = images.repeat(times, axis=1).repeat(times, axis=2)
    height, width = height * times, width * times
    rows = math.ceil(n / columns)
    page = np.ones((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3))
    for i, image in enumerate(images):
        top = GAP + (i // columns) * (height + GAP)
        left = GAP + (i % columns) * (width + GAP)
        page[top : top + height, left : left + width] = image
    return page


def coloured(images: np.ndarray) -> np.ndarray:
    """Grey images (n, height, width), or such of 1 to 4 colours, as three: (n, height, width, 3).

    Lab 2.
    """
    if images.ndim == 3:
        images = images[..., None]
    if images.shape[-1] in (1, 2):
        images = images[..., :1].repeat(3, axis=-1)
    return np.clip(images[..., :3], 0, 1)


def diverging(images: np.ndarray) -> np.ndarray:
    """Numbers of both signs (n, height, width), blue below zero and orange above, white at it.

    Each image has its own range. The result has shape (n, height, width, 3).

    Lab 2.
    """
    if images.ndim == 4:
        images = images.mean(axis=-1)
    most = np.abs(images).max(axis=(1, 2), keepdims=True)
    share = (images / np.where(most > 0, most, 1))[..., None]
    return 1 - np.abs(share) * (1 - np.where(share > 0, RED, BLUE))


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a picture (height, width, 3) of colours from 0 to 1.

    Raises `ImportError` without Pillow, and `OSError` if the disk refuses.

    Lab 2.
    """
    image = optional("PIL.Image", path)
    buffer = io.BytesIO()
    image.fromarray(np.rint(255 * picture).astype(np.uint8)).save(buffer, "PNG")
    archive.put(path, buffer.getvalue())
