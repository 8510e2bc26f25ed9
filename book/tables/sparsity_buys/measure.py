"""Chapter 17's table: what it costs to let idle units catch up late.

Two trainings whose units are idle for long: chapter 8's, of 4,096 units, and one of a thousand with
all clothes of Fashion-MNIST at a high rate, as in Lab 12. A row of `late.csv` is one of them with
a seed and the share of its way that an idle unit may owe, see `ksae_lab.engine.catch_up`: with 1 it
catches up when it is used. Beside it stand plain steps.
"""

import time
from collections.abc import Iterator
from functools import partial
from itertools import product

from ksae_lab.data.datasets import load_dataset
from ksae_lab.engine.sparse_step import SparseStep
from ksae_lab.evaluation.metrics import dead_units
from ksae_lab.experiments.build import build
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.tables import Job, Row, hash_of

SEEDS, DEBTS = (0, 1, 2), (0, 0.1, 0.2, 0.4, 0.7, 1)
PLAIN = -1
TRAININGS = {
    "4,096 units, digits": {
        "model": {"n_units": 4096, "k": 10},
        "optimizer": {"learning_rate": 0.002},
        "training": {"epochs": 8, "batch_size": 64, "noise": 0.1},
    },
    "1,000 units, clothes": {
        "data": "fashion_mnist",
        "model": {"n_units": 1000, "k": 10},
        "optimizer": {"learning_rate": 0.004},
        "training": {"epochs": 9, "batch_size": 128, "noise": 0.1},
    },
}


def experiment(name: str, seed: int) -> Experiment:
    """The settings of a training."""
    return Experiment.model_validate(TRAININGS[name] | {"seed": seed})


def row(name: str, debt: float, seed: int) -> Row:
    """One training: its errors, the validation error after each epoch, and its seconds."""
    settings = experiment(name, seed)
    data = load_dataset(settings.data)
    run = build(settings, data)
    run.quiet = True
    if debt != PLAIN:
        run.make_step = partial(SparseStep, debt=debt)
    started = time.process_time()
    curve = run.fit().validation
    return {
        "training_of": name,
        "debt": debt,
        "test": run.model.error(data.x_test),
        "training": run.model.error(data.x_train),
        "dead": dead_units(run.model.encode(data.x_train)),
        "seconds": round(time.process_time() - started, 1),
        "curve": " ".join(f"{error:.5f}" for error in curve),
    }


def late_jobs() -> Iterator[Job]:
    """Both trainings with each debt, and with plain steps."""
    for seed, name, debt in product(SEEDS, TRAININGS, (*DEBTS, PLAIN)):
        variant = f"{name}: " + (f"debt {debt}" if debt != PLAIN else "plain")
        settings = hash_of(f"{experiment(name, seed).hash} {debt}")
        yield Job(variant, seed, settings, partial(row, name, debt, seed))


TABLES = {"late.csv": late_jobs}
