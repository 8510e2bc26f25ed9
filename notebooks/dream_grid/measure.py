"""Lab 4's tables: SparseDream with each gradient from each start, trained as its author did.

One image at a time, plain descent at the notebook's rate, for forty thousand updates. A row of
`table.csv` is one network; `verdicts.csv` compares, over seeds and test images. The error of each
image, which it needs, is kept in `runs/lab_4`.
"""

import time
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import joblib
import numpy as np
from tqdm import trange

from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.evaluation.metrics import active_units, dead_units, squared_errors
from ksae_lab.evaluation.statistics import above_zero
from ksae_lab.experiments.tables import Job, Row, hash_of
from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.models.sparse_dream_2020 import gradients_2020

UPDATES, RATE = 40_000, 1e-4
SEEDS = (0, 1, 2)

memory = joblib.Memory(Path(__file__).parents[2] / "runs" / "lab_4", verbose=0)


def sphere_mended(model: SparseDream, x: np.ndarray) -> dict[str, np.ndarray]:
    """The gradient as found, with the −1 that its norm term lacks."""
    gradients = gradients_2020(model, x)
    return gradients | {"W": gradients["W"] - 4 * model.norm_weight * model.W}


def encoder_mended(model: SparseDream, x: np.ndarray) -> dict[str, np.ndarray]:
    """The gradient as found, with the reconstruction's way through the encoder: the −1 lacks."""
    true = right(model, x)
    return true | {"W": true["W"] + 4 * model.norm_weight * model.W}


def right(model: SparseDream, x: np.ndarray) -> dict[str, np.ndarray]:
    """The gradient of the loss."""
    return model.loss_and_gradients(x)[1]


GRADIENTS = {
    "as found": gradients_2020,
    "sphere mended": sphere_mended,
    "encoder mended": encoder_mended,
    "right": right,
}
STARTS = {"as found": (), "W repaired": ("W",), "S repaired": ("S",), "both repaired": ("W", "S")}


def start(repaired: tuple[str, ...], x: np.ndarray, seed: int) -> SparseDream:
    """A network that starts as found, but for the parameters to repair."""
    rng = np.random.default_rng(seed)
    model = SparseDream(x.shape[1], 100, init="as_found", rng=rng)
    better = SparseDream(x.shape[1], 100, init="repaired", images=x, rng=rng)
    for name in repaired:
        model.parameters[name][...] = better.parameters[name]
    return model


def train(dataset: Dataset, gradient: str, repaired: str, seed: int) -> SparseDream:
    """What one gradient makes of one start."""
    x = dataset.x_train
    model = start(STARTS[repaired], x, seed)
    order = np.random.default_rng(seed).integers(len(x), size=UPDATES)
    for i in trange(UPDATES, desc=f"{gradient}, {repaired}", unit="update"):
        gradients = GRADIENTS[gradient](model, x[order[i]][None])
        for name, w in model.parameters.items():
            w -= RATE * gradients[name]
    return model


def measured(gradient: str, repaired: str, seed: int) -> tuple[Row, np.ndarray]:
    """The row of a network, and the error of each test image."""
    return _measured(gradient, repaired, seed, known())


@memory.cache
def _measured(gradient: str, repaired: str, seed: int, known: str) -> tuple[Row, np.ndarray]:
    started, dataset = time.process_time(), load_dataset("mnist5k")
    model = train(dataset, gradient, repaired, seed)
    errors = squared_errors(dataset.x_test, model.reconstruct(dataset.x_test))
    row = {
        "test": errors.mean(),
        "active": active_units(model.encode(dataset.x_test)).mean(),
        "dead": dead_units(model.encode(dataset.x_train)),
        "length": np.linalg.norm(model.W, axis=1).mean(),
        "seconds": round(time.process_time() - started, 1),
    }
    return row, errors


def row_of(gradient: str, repaired: str, seed: int) -> Row:
    """One row."""
    return measured(gradient, repaired, seed)[0]


def known() -> str:
    """A hash of what all rows depend on."""
    return hash_of(f"{UPDATES} {RATE}")


def jobs() -> Iterator[Job]:
    """Every gradient, every start, every seed."""
    for gradient, repaired, seed in product(GRADIENTS, STARTS, SEEDS):
        measure = partial(row_of, gradient, repaired, seed)
        yield Job(f"{gradient}, {repaired}", seed, known(), measure)


Cell = tuple[str, str]  # a gradient and a start


def contests() -> Iterator[tuple[str, Cell, Cell]]:
    """Everything against what was found, and from the good start each gradient against others."""
    found = ("as found", "as found")
    for cell in product(GRADIENTS, STARTS):
        if cell != found:
            yield f"{', '.join(cell)}", cell, found
    for ours, theirs in [
        ("sphere mended", "as found"),
        ("encoder mended", "as found"),
        ("right", "sphere mended"),
        ("right", "encoder mended"),
    ]:
        start = "both repaired"
        yield f"{ours} over {theirs}, {start}", (ours, start), (theirs, start)


def verdict(ours: Cell, theirs: Cell) -> Row:
    """How far one cell lies above another, for seeds and test images that are drawn anew.

    With the same seed all see the same images in the same order, so the differences are taken seed
    by seed and image by image.
    """
    a, b = (np.stack([measured(*cell, seed)[1] for seed in SEEDS]) for cell in (ours, theirs))
    return {"ours": a.mean(), "theirs": b.mean()} | above_zero(a - b).row()


def verdict_jobs() -> Iterator[Job]:
    """The contests: one family."""
    for name, ours, theirs in contests():
        yield Job(name, 0, hash_of(f"{known()} {SEEDS}"), partial(verdict, ours, theirs))


TABLES = {"table.csv": jobs, "verdicts.csv": verdict_jobs}
