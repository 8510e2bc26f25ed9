"""Lab 9's second table: what Fashion-MNIST's networks leave to be found, and what PCA does there.

    python -m ksae_lab sweep experiments/fashion.yaml --out runs/fashion
    python -m tools.fashion experiments/fashion.yaml runs/fashion notebooks/results/lab_9.csv

Errors are of the first thousand test images and, under "training_", of the first thousand that the
networks learned from: OMP takes its time.
"""

import argparse
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import orthogonal_mp_gram

from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.experiments import saved_models, sweep
from ksae_lab.experiments.train import MODEL
from ksae_lab.inference.pursuit import pursuit, refit
from ksae_lab.nn.losses import mse
from ksae_lab.nn.topk import top_k_mask
from tools.tables import Job, fill, provenance

IMAGES, STEPS, AXES = 1000, 3, 100


def parts(dataset: Dataset) -> dict[str, np.ndarray]:
    """The images that are measured, by what their columns begin with."""
    return {"": dataset.x_test[:IMAGES], "training_": dataset.x_train[:IMAGES]}


def network(card: Path, dataset: Dataset) -> dict:
    """One row: errors of one pass, of better codes for the same dictionary, and of OMP's."""
    model = saved_models.load_model(card)
    W, row = model.W_dec.astype(float), {}
    for part, x in parts(dataset).items():
        centred, z = x - model.b_dec.astype(float), model.encode(x)
        *_, pursued = islice(pursuit(centred, W, model.k, z), STEPS)
        found = {
            "one_pass": z,
            "refit": refit(centred, W, z != 0),
            f"pursuit_{STEPS}": pursued,
            "omp": orthogonal_mp_gram(W @ W.T, W @ centred.T, n_nonzero_coefs=model.k).T,
        }
        row |= {part + name: mse(code @ W, centred) for name, code in found.items()}
    return row


def axes(k: int, own: bool, dataset: Dataset) -> dict:
    """One row: the error of PCA's first k of a hundred axes, or of each image's own best k."""
    pca = PCA(AXES, svd_solver="covariance_eigh").fit(dataset.x_train)
    row = {}
    for part, x in parts(dataset).items():
        scores = pca.transform(x)
        kept = top_k_mask(scores, k, by="magnitude") if own else np.arange(AXES) < k
        row[f"{part}one_pass"] = mse(pca.inverse_transform(np.where(kept, scores, 0)), x)
    return row


def main() -> None:
    """Read the command line, and measure what the table lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("plan", "runs", "table"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    plan = sweep.load(arguments.plan)
    dataset = load_dataset(plan[0].experiment.data)
    jobs = [
        Job(
            run.levels["variant"],
            run.experiment.seed,
            run.experiment.hash,
            partial(network, run.folder(arguments.runs) / MODEL, dataset),
        )
        for run in plan
    ]
    for k in sorted({run.experiment.model.k for run in plan}):
        for name, own in (("PCA", False), ("PCA, own k", True)):
            settings = f"{k:04}{AXES:06}{IMAGES:06}"  # all that the row depends on
            jobs.append(Job(f"{name}, k={k}", 0, settings, partial(axes, k, own, dataset)))
    command = f"-m tools.fashion {arguments.plan} {arguments.runs} {arguments.table}"
    fill(arguments.table, provenance(command), jobs)


if __name__ == "__main__":
    main()
