"""Train the runs of a sweep's file, and keep one row of a table for each.

    python -m tools.repeat experiments/labs/lab_2.yaml notebooks/results/lab_2.csv

Where `python -m ksae_lab sweep` keeps models and says everything, this keeps the numbers that the
labs compare. `--alphas` asks for codes of α k units as well: their error, and that of a linear
classifier on them.
A row is written as soon as its training is done. Started again, the command trains what is missing
or has other settings now, and keeps the rest.
"""

import argparse
import shlex
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.evaluation import probe
from ksae_lab.evaluation.metrics import active_units, dead_units
from ksae_lab.experiments import sweep
from ksae_lab.experiments.build import build
from ksae_lab.experiments.settings import Experiment
from ksae_lab.models.sparse_dream import SparseDream
from tools.tables import Job, fill, provenance


def expand(path: str | Path) -> dict[tuple[str, int], Experiment]:
    """Every (variant, seed) of a sweep's file; a variant is the levels of its named axes."""
    plan = sweep.load(path)
    return {(", ".join(run.levels.values()), run.experiment.seed): run.experiment for run in plan}


def train_and_measure(experiment: Experiment, dataset: Dataset, alphas: list[float]) -> dict:
    """One row: errors, active units of test images, dead units, seconds, and what α gives."""
    started = time.process_time()
    run = build(experiment, dataset)
    run.fit()
    model = run.model
    row = {
        "validation": model.error(dataset.x_val),
        "test": model.error(dataset.x_test),
        "training": model.error(run.data[0]),
        "validation_active": active_units(model.encode(dataset.x_val)).mean(),
        "active": active_units(model.encode(dataset.x_test)).mean(),
        "dead": dead_units(model.encode(run.data[0])),
        "seconds": round(time.process_time() - started, 1),
    }
    if isinstance(model, SparseDream):
        row["overlap"] = agreement_with_overlaps(model)
    for alpha in alphas:
        model.k = round(alpha * experiment.model.k)
        row[f"test_alpha_{alpha:g}"] = model.error(dataset.x_test)
        labelled = model.encode(dataset.x_train), dataset.y_train
        unseen = model.encode(dataset.x_test), dataset.y_test
        row[f"probe_alpha_{alpha:g}"] = probe.error(probe.fitted(labelled, C=0.1), unseen)
    return row


def agreement_with_overlaps(model: SparseDream) -> float:
    """The correlation of S with −W Wᵀ off the diagonal: 1 where units hush whom they resemble."""
    pairs = ~np.eye(len(model.S), dtype=bool)
    return float(np.corrcoef(model.S[pairs], -(model.W @ model.W.T)[pairs])[0, 1])


def main() -> None:
    """Read the command line, and train what the table lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plan", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--alphas", type=float, nargs="+", default=[])
    arguments = parser.parse_args()
    experiments = expand(arguments.plan)
    dataset = load_dataset(next(iter(experiments.values())).data)
    jobs = [
        Job(
            variant,
            seed,
            experiment.hash,
            partial(train_and_measure, experiment, dataset, arguments.alphas),
        )
        for (variant, seed), experiment in experiments.items()
    ]
    fill(arguments.table, provenance(f"-m tools.repeat {shlex.join(sys.argv[1:])}"), jobs)


if __name__ == "__main__":
    main()
