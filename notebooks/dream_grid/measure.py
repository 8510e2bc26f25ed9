"""Lab 4's table: SparseDream with each gradient from each start, trained as its author did.

One image at a time, plain descent at the notebook's rate, for forty thousand updates.
"""

import time
from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np
from tqdm import trange

from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.evaluation.metrics import active_units, dead_units
from ksae_lab.experiments.tables import Job, hash_of
from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.models.sparse_dream_2020 import gradients_2020

UPDATES, RATE = 40_000, 1e-4
SEEDS = (0, 1, 2)


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


def train_and_measure(dataset: Dataset, gradient: str, repaired: str, seed: int) -> dict:
    """One row: what one gradient makes of one start."""
    started = time.process_time()
    x = dataset.x_train
    model = start(STARTS[repaired], x, seed)
    order = np.random.default_rng(seed).integers(len(x), size=UPDATES)
    for i in trange(UPDATES, desc=f"{gradient}, {repaired}", unit="update"):
        gradients = GRADIENTS[gradient](model, x[order[i]][None])
        for name, w in model.parameters.items():
            w -= RATE * gradients[name]
    return {
        "test": model.error(dataset.x_test),
        "active": active_units(model.encode(dataset.x_test)).mean(),
        "dead": dead_units(model.encode(x)),
        "length": np.linalg.norm(model.W, axis=1).mean(),
        "seconds": round(time.process_time() - started, 1),
    }


def jobs() -> Iterator[Job]:
    """Every gradient, every start, every seed."""
    dataset, settings = load_dataset("mnist5k"), hash_of(f"{UPDATES} {RATE}")
    for gradient, repaired, seed in product(GRADIENTS, STARTS, SEEDS):
        measure = partial(train_and_measure, dataset, gradient, repaired, seed)
        yield Job(f"{gradient}, {repaired}", seed, settings, measure)


TABLES = {"table.csv": jobs}
