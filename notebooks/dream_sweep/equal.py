"""The comparison at equal budgets: what each network of `experiments/dream_equal.yaml` comes to."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ksae_lab.evaluation.metrics import active_units, dead_units, squared_errors
from ksae_lab.experiments import archive, saved_models
from ksae_lab.experiments.networks import Network, Sweep
from ksae_lab.experiments.tables import Job, Row
from ksae_lab.inference.pursuit import refit
from ksae_lab.models.base import Coder
from ksae_lab.nn.losses import mse


def gain(model: Coder, x: np.ndarray) -> float:
    """Which share of the error of x (samples, d) the best values for chosen units take away."""
    codes = model.encode(x)
    black = model.decode(np.zeros_like(codes[:1]))  # what is drawn before any unit is active
    atoms = model.decode(np.eye(codes.shape[1], dtype=codes.dtype)) - black
    best = refit(x - black, atoms, codes != 0)
    return 1 - mse(best @ atoms, x - black) / model.error(x)


def measure(network: Network, sweep: Sweep) -> Row:
    """One row: errors, active units of images not seen, and dead units."""
    model: Coder = saved_models.load_model(network.card)
    digits = sweep.dataset
    return {
        "validation": model.error(digits.x_val),
        "test": model.error(digits.x_test),
        "training": model.error(digits.x_train),
        "active": active_units(model.encode(digits.x_test)).mean(),
        "dead": dead_units(model.encode(digits.x_train)),
        "gain": gain(model, digits.x_test),
    }


def jobs(dream_equal: Sweep) -> Iterator[Job]:
    """Each network, under the name of its side."""
    for run, network in zip(dream_equal.runs, dream_equal.networks, strict=True):
        side, do = run.levels["side"], partial(measure, network, dream_equal)
        yield Job(side, network.seed, network.settings, do)


def errors(path: Path, dream_equal: Sweep) -> None:
    """Write the error of each test image: an array (seeds, images) for each side."""
    x = dream_equal.dataset.x_test
    by_side: dict[str, list[np.ndarray]] = {}
    for run, network in zip(dream_equal.runs, dream_equal.networks, strict=True):
        model: Coder = saved_models.load_model(network.card)
        each = squared_errors(x, model.reconstruct(x))
        by_side.setdefault(run.levels["side"], []).append(each)
    archive.put_arrays(path, {side: np.array(rows) for side, rows in by_side.items()})


TABLES = {"equal.csv": jobs}
FILES = {"errors.npz": errors}
