"""Chapter 14's table: bits a digit and error, for k-sparse codes, PCA and JPEG.

Every code is rounded with one step for all its numbers. Its bits are those of an ideal arithmetic
coder that knows the training codes; the decoder and its weights are not counted. Pixels outside
0…1 are clipped, as a receiver may do without being told; `unclipped` is the error without that.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.decomposition import PCA

from ksae_lab.data.datasets import Dataset
from ksae_lab.evaluation.code_length import code_bits, quantise, support_bits
from ksae_lab.experiments.networks import Sweep
from ksae_lab.experiments.tables import write
from ksae_lab.nn.losses import mse

STEPS = (0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)
QUALITIES = (1, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 75, 90)
START_OF_SCAN = b"\xff\xda"

Encode = Callable[[np.ndarray], np.ndarray]


def coded(encode: Encode, decode: Encode, dataset: Dataset) -> Iterator[dict]:
    """For each step, bits and error of the validation and test digits, as one row."""
    x = [part.astype(np.float64) for part in (dataset.x_train, dataset.x_val, dataset.x_test)]
    codes = [encode(part) for part in x]
    for step in STEPS:
        q_train, q_val, q = (quantise(z, step) for z in codes)
        x_hat = decode(q * step)
        yield {
            "step": step,
            "validation_bits": code_bits(q_val, q_train).mean(),
            "validation_mse": mse(np.clip(decode(q_val * step), 0, 1), x[1]),
            "bits": code_bits(q, q_train).mean(),
            "support_bits": support_bits(q, q_train).mean(),
            "mse": mse(np.clip(x_hat, 0, 1), x[2]),
            "unclipped": mse(x_hat, x[2]),
        }


def k_sparse(sweep: Sweep) -> Iterator[dict]:
    """The rows of each network of a sweep."""
    for network in sweep.networks:
        model = network.model()
        about = {"method": "k-sparse", "k": network.k, "seed": network.seed}
        for row in coded(model.encode, model.decode, sweep.dataset):
            yield about | row


def pca(dataset: Dataset) -> Iterator[dict]:
    """The rows of PCA with as many axes as the networks have units, and with all axes.

    One step for all axes is the best choice for the mean squared error: axes that vary by less than
    the step are rounded to zero, and cost next to nothing.
    """
    fitted = PCA(svd_solver="full").fit(dataset.x_train.astype(np.float64))
    for name, count in {"PCA, 100 axes": 100, "PCA, all axes": None}.items():
        axes, mean = fitted.components_[:count], fitted.mean_

        def encode(x, axes=axes, mean=mean):
            return (x - mean) @ axes.T

        def decode(z, axes=axes, mean=mean):
            return z @ axes + mean

        for row in coded(encode, decode, dataset):
            yield {"method": name} | row


def jpeg(x: np.ndarray) -> Iterator[dict]:
    """The rows of JPEG for the digits x (batch, 784), a count that fills rows of 40.

    "JPEG, file" counts all bytes of a digit's own file, "JPEG, scan" what follows its header, which
    is the same for all. "JPEG, mosaic" is one picture of all digits, each with a black rim that
    fills its blocks of eight, with code words made for it; its bytes are divided by their number.
    """
    x = np.rint(x * 255).astype(np.uint8).reshape(-1, 28, 28)
    squares = np.pad(x, ((0, 0), (2, 2), (2, 2)))
    mosaic = np.block([list(row) for row in squares.reshape(-1, 40, 32, 32)])
    for quality in QUALITIES:
        files = [saved(digit, quality) for digit in x]
        error = mse(np.array([opened(file) for file in files]), x / 255)
        whole = 8 * np.mean([len(file) for file in files])
        scan = 8 * np.mean([scan_length(file) for file in files])
        file = saved(mosaic, quality, optimize=True)
        shown = opened(file).reshape(-1, 32, 40, 32).swapaxes(1, 2).reshape(-1, 32, 32)
        mosaic_error = mse(shown[:, 2:-2, 2:-2], x / 255)
        yield {"method": "JPEG, file", "quality": quality, "bits": whole, "mse": error}
        yield {"method": "JPEG, scan", "quality": quality, "bits": scan, "mse": error}
        yield {
            "method": "JPEG, mosaic",
            "quality": quality,
            "bits": 8 * len(file) / len(x),
            "mse": mosaic_error,
        }


def saved(image: np.ndarray, quality: int, **options) -> bytes:
    """The grey image (height, width) as the bytes of a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


def opened(file: bytes) -> np.ndarray:
    """The image of a JPEG file, grey from 0 to 1 (height, width)."""
    return np.asarray(Image.open(io.BytesIO(file))) / 255


def scan_length(file: bytes) -> int:
    """The bytes of a JPEG file after its last header, its end marker of two bytes left out."""
    start = file.index(START_OF_SCAN) + 2
    return len(file) - start - int.from_bytes(file[start : start + 2], "big") - 2


def rates(path: Path, k_sweep: Sweep) -> None:
    """Write the table, which takes a minute: a code has one row for each step."""
    digits = k_sweep.dataset
    write(path, [*k_sparse(k_sweep), *pca(digits), *jpeg(digits.x_test)])


FILES = {"table.csv": rates}
