"""Lab 5's tables: beside what each training comes to, what its laterals have become.

`mean.csv` asks what the mean image is worth: the network that has it in its bias goes without, and
the dream, which has none, learns and is tested on images that it was taken from.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.evaluation.metrics import active_units
from ksae_lab.experiments import compared
from ksae_lab.experiments.build import build, trained
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.tables import Job, Row, expand, hash_of, training_jobs
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.training.callbacks import Freeze

FOLDER = Path(__file__).parent


def agreement_with_overlaps(model: SparseDream, experiment: Experiment, dataset: Dataset) -> Row:
    """The correlation of S with −W Wᵀ off the diagonal: 1 where units inhibit their likes."""
    pairs = ~np.eye(len(model.S), dtype=bool)
    return {"overlap": float(np.corrcoef(model.S[pairs], -(model.W @ model.W.T)[pairs])[0, 1])}


def with_mean(experiment: Experiment) -> Row:
    """A k-sparse network as described."""
    digits = load_dataset(experiment.data)
    return _row(trained(build(experiment, digits)), digits.x_test)


def without_mean(experiment: Experiment) -> Row:
    """The same with b_dec held at zero; its units start at whole images."""
    digits = load_dataset(experiment.data)
    run = build(experiment, digits)
    model = run.model
    assert isinstance(model, KSparseAutoencoder)
    drawn = np.random.default_rng(0).choice(len(digits.x_train), len(model.W_dec), replace=False)
    images = digits.x_train[drawn]
    model.W_dec[:] = images / np.linalg.norm(images, axis=1, keepdims=True)
    model.W_enc[:] = model.W_dec.T
    model.b_dec[:] = 0
    run.callbacks = [*run.callbacks, Freeze(model, "b_dec")]
    run.fit()
    return _row(model, digits.x_test)


def centred(experiment: Experiment) -> Row:
    """A dream as described, on images less their mean."""
    digits = load_dataset(experiment.data)
    mean = digits.x_train.mean(axis=0)
    parts = {name: getattr(digits, name) - mean for name in ("x_train", "x_val", "x_test")}
    less = replace(digits, **parts)
    run = build(experiment, less)
    run.fit()
    assert isinstance(run.model, SparseDream)
    return _row(run.model, less.x_test)


def mean_jobs() -> Iterator[Job]:
    """The k-sparse network with its mean image and without, and the dream that is given one."""
    wanted: list[tuple[str, str, Callable[[Experiment], Row]]] = [
        ("k=10, with", "k=10", with_mean),
        ("k=10, without", "k=10", without_mean),
        ("λ=1, centred", "λ=1", centred),
    ]
    plan = expand(FOLDER / "mean.yaml")
    for name, variant, measure in wanted:
        experiment = plan[variant, 0]
        yield Job(name, 0, hash_of(f"{name} {experiment.hash}"), partial(measure, experiment))


def _row(model: KSparseAutoencoder | SparseDream, x: np.ndarray) -> Row:
    return {"test": model.error(x), "active": active_units(model.encode(x)).mean()}


LONGER = FOLDER / "longer.yaml"
TABLES = {
    f"{name}.csv": partial(training_jobs, FOLDER / f"{name}.yaml", agreement_with_overlaps)
    for name in ("choice", "table", "parts")
} | {"mean.csv": mean_jobs, "longer.csv": partial(compared.rows, LONGER)}
FILES = {"longer.npz": compared.Errors(LONGER)}
