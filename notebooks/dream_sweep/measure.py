"""Lab 5's tables: beside what each training comes to, what its laterals have become."""

from functools import partial
from pathlib import Path

import numpy as np

from ksae_lab.data.datasets import Dataset
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.tables import Row, training_jobs
from ksae_lab.models.sparse_dream import SparseDream

FOLDER = Path(__file__).parent


def agreement_with_overlaps(model: SparseDream, experiment: Experiment, dataset: Dataset) -> Row:
    """The correlation of S with −W Wᵀ off the diagonal: 1 where units inhibit their likes."""
    pairs = ~np.eye(len(model.S), dtype=bool)
    return {"overlap": float(np.corrcoef(model.S[pairs], -(model.W @ model.W.T)[pairs])[0, 1])}


TABLES = {
    f"{name}.csv": partial(training_jobs, FOLDER / f"{name}.yaml", agreement_with_overlaps)
    for name in ("choice", "table", "parts")
}
