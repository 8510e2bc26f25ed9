"""Chapter 14's tables: bits a digit and error, for k-sparse codes, PCA and JPEG.

Every code is rounded with one step for all its numbers. Its bits are those of an ideal arithmetic
coder that knows the training codes; the decoder and its weights are not counted. Pixels outside
0…1 are clipped, as a receiver may do without being told; `unclipped` is the error without that.

`table.csv` has a row for each step, `against_pca.csv` one for each rate: both sides get the steps
with which validation digits cost just that, and validation digits choose k and PCA's axes.
"""

import io
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.optimize import brentq
from sklearn.decomposition import PCA

from ksae_lab.data.datasets import Dataset
from ksae_lab.data.shifts import shifted
from ksae_lab.evaluation.code_length import code_bits, quantise, support_bits
from ksae_lab.evaluation.metrics import squared_errors
from ksae_lab.evaluation.statistics import difference
from ksae_lab.experiments.build import build
from ksae_lab.experiments.networks import Sweep
from ksae_lab.experiments.tables import Job, Row, expand, hash_of, write
from ksae_lab.nn.losses import mse

STEPS = (0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)
QUALITIES = (1, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 75, 90)
RATES = (20, 50, 100, 150, 200, 210, 220, 230, 240, 250, 300)
FINEST, COARSEST = 0.05, 20.0  # between these the step of a rate is looked for
MOVED, COPIES = 0.5, 4  # PCA may have digits that move, too: so many of each, this share of them
HALF = Path(__file__).parents[3] / "notebooks" / "table_2" / "half.yaml"
START_OF_SCAN = b"\xff\xda"

Encode = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Axes:
    """PCA as a coder: axes (count, d), and the mean image (d,)."""

    axes: np.ndarray
    mean: np.ndarray

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Codes (batch, count) of x (batch, d)."""
        return (x - self.mean) @ self.axes.T

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Images (batch, d) of codes z (batch, count)."""
        return z @ self.axes + self.mean


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


def half(dataset: Dataset) -> Iterator[dict]:
    """The rows of a network of Lab 2 that is trained here, and by the page that checks its row."""
    run = build(expand(HALF)["k=10, half", 0], dataset)
    run.fit()
    for row in coded(run.model.encode, run.model.decode, dataset):
        yield {"method": "k-sparse, half as long", "k": 10, "seed": 0} | row


def pca(x: np.ndarray) -> dict[str, Axes]:
    """PCA of x (batch, d) with as many axes as the networks have units, and with all axes.

    One step for all axes is the best choice for the mean squared error: axes that vary by less than
    the step are rounded to zero, and cost next to nothing.
    """
    fitted = PCA(svd_solver="full").fit(x.astype(np.float64))
    counts = {"100 axes": 100, "all axes": None}
    return {name: Axes(fitted.components_[:n], fitted.mean_) for name, n in counts.items()}


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
    axes = (
        {"method": f"PCA, {name}"} | row
        for name, own in pca(digits.x_train).items()
        for row in coded(own.encode, own.decode, digits)
    )
    write(path, [*k_sparse(k_sweep), *half(digits), *axes, *jpeg(digits.x_test)])


def at_rate(encode: Encode, decode: Encode, dataset: Dataset, rate: float) -> Row | None:
    """With the step that costs validation digits `rate` bits: bits, validation error, test errors.

    None if even the finest step costs less.
    """
    parts = (dataset.x_train, dataset.x_val, dataset.x_test)
    z_train, z_val, z = (encode(part.astype(np.float64)) for part in parts)

    def excess(log_step: float) -> float:
        step = np.exp(log_step)
        return code_bits(quantise(z_val, step), quantise(z_train, step)).mean() - rate

    if excess(np.log(FINEST)) < 0:
        return None
    step = np.exp(brentq(excess, np.log(FINEST), np.log(COARSEST), xtol=1e-3))
    val, test = (np.clip(decode(quantise(part, step) * step), 0, 1) for part in (z_val, z))
    return {
        "bits": code_bits(quantise(z, step), quantise(z_train, step)).mean(),
        "validation": mse(val, dataset.x_val),
        "errors": squared_errors(dataset.x_test, test),
    }


def compared(sweep: Sweep, rate: float) -> Row:
    """One row: networks less PCA at a rate, each at its best, over seeds and test images."""
    found = defaultdict(list)
    for network in sweep.networks:
        model = network.model()
        found[network.k].append(at_rate(model.encode, model.decode, sweep.dataset, rate))
    reach = {k: rows for k, rows in found.items() if None not in rows}
    k = min(reach, key=lambda k: np.mean([row["validation"] for row in reach[k]]))
    rivals = {
        name: at_rate(axes.encode, axes.decode, sweep.dataset, rate)
        for name, axes in rival_axes(sweep).items()
    }
    name = min(rivals, key=lambda name: rivals[name]["validation"])
    ours, theirs = np.array([row["errors"] for row in reach[k]]), rivals[name]["errors"]
    apart = difference(ours, theirs[None])
    return {
        "k": k,
        "axes": name,
        "seeds": len(ours),
        "images": len(theirs),
        "bits": np.mean([row["bits"] for row in reach[k]]),
        "pca_bits": rivals[name]["bits"],
        "mse": ours.mean(),
        "pca_mse": theirs.mean(),
        **apart.row(),
    }


@cache
def rival_axes(sweep: Sweep) -> dict[str, Axes]:
    """PCA of the training digits, and of digits that move as those of the networks do."""
    dataset, rng = sweep.dataset, np.random.default_rng(0)
    copies = [shifted(dataset.x_train, dataset.image, MOVED, rng) for _ in range(COPIES)]
    moved = pca(np.concatenate(copies))
    return pca(dataset.x_train) | {f"{name}, moved": axes for name, axes in moved.items()}


def contests(k_sweep: Sweep) -> Iterator[Job]:
    """A row for each of `RATES`; the table is a family of tests."""
    of = [network.settings for network in k_sweep.networks]
    for rate in RATES:
        settings = hash_of(f"{of} {rate} {FINEST} {COARSEST} {MOVED} {COPIES}")
        yield Job(f"{rate} bits", 0, settings, partial(compared, k_sweep, rate))


TABLES = {"against_pca.csv": contests}
FILES = {"table.csv": rates}
