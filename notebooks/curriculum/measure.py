"""Lab 3's table: beside what each training comes to, what its codes of α k units are worth."""

from functools import partial
from pathlib import Path

from ksae_lab.data.datasets import Dataset
from ksae_lab.evaluation import probe
from ksae_lab.experiments import compared
from ksae_lab.experiments.probe_table import packed
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.tables import Row
from ksae_lab.models.k_sparse import KSparseAutoencoder

PLAN = Path(__file__).with_name("table.yaml")
ALPHAS = (1, 1.5, 2, 3)


def with_alphas(model: KSparseAutoencoder, experiment: Experiment, dataset: Dataset) -> Row:
    """The errors of codes with α k units, and of a linear classifier on them.

    "wrong" says of which test digits the classifier is wrong, as `probe_table.unpacked` reads it.
    """
    row = {}
    for alpha in ALPHAS:
        model.k = round(alpha * experiment.model.k)
        row[f"test_alpha_{alpha:g}"] = model.error(dataset.x_test)
        labelled = model.encode(dataset.x_train), dataset.y_train
        unseen = model.encode(dataset.x_test), dataset.y_test
        wrong = probe.mistakes(probe.fitted(labelled, C=0.1), unseen)
        row[f"probe_alpha_{alpha:g}"] = wrong.mean()
        row[f"wrong_alpha_{alpha:g}"] = packed(wrong)
    return row


TABLES = {"table.csv": partial(compared.rows, PLAN, with_alphas)}
FILES = {
    "table.npz": compared.Errors(PLAN),
    "alpha.npz": compared.Errors(PLAN, alpha=1.5),
}
