"""Lab 3's table: beside what each training comes to, what its codes of α k units are worth."""

from collections.abc import Iterator
from pathlib import Path

from ksae_lab.data.datasets import Dataset
from ksae_lab.evaluation import probe
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.tables import Job, Row, training_jobs
from ksae_lab.models.k_sparse import KSparseAutoencoder

PLAN = Path(__file__).with_name("table.yaml")
ALPHAS = (1, 1.5, 2, 3)


def with_alphas(model: KSparseAutoencoder, experiment: Experiment, dataset: Dataset) -> Row:
    """The errors of codes with α k units, and of a linear classifier on them."""
    row = {}
    for alpha in ALPHAS:
        model.k = round(alpha * experiment.model.k)
        row[f"test_alpha_{alpha:g}"] = model.error(dataset.x_test)
        labelled = model.encode(dataset.x_train), dataset.y_train
        unseen = model.encode(dataset.x_test), dataset.y_test
        row[f"probe_alpha_{alpha:g}"] = probe.error(probe.fitted(labelled, C=0.1), unseen)
    return row


def jobs() -> Iterator[Job]:
    """The trainings of the plan."""
    return training_jobs(PLAN, with_alphas)


TABLES = {"table.csv": jobs}
