"""The comparison at equal budgets: what each network of `experiments/dream_equal.yaml` comes to."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ksae_lab.evaluation.metrics import active_units, dead_units, squared_errors
from ksae_lab.experiments import saved_models
from ksae_lab.experiments.networks import Network, Sweep
from ksae_lab.experiments.tables import Job, Row
from ksae_lab.models.base import Coder


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
    arrays: dict[str, Any] = {side: np.array(rows) for side, rows in by_side.items()}
    np.savez_compressed(path, **arrays)


TABLES = {"equal.csv": jobs}
FILES = {"errors.npz": errors}
