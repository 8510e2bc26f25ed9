"""Lab 9's tables: the sweep's own, what its networks leave to be found, and what a probe reads.

In `table.csv` PCA has rows, too. Errors there are of the first thousand test images and, under
"training_", of the first thousand that the networks learned from: OMP takes its time. `longer.csv`
has the networks of seed 0 with twice the epochs, `trials_*.csv` chose where they start.
"""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import orthogonal_mp_gram

from ksae_lab.data.datasets import Dataset
from ksae_lab.experiments.networks import Network, Sweep
from ksae_lab.experiments.probe_table import probe_jobs
from ksae_lab.experiments.tables import Job, Row, training_jobs
from ksae_lab.inference.pursuit import pursuit, refit
from ksae_lab.nn.losses import mse
from ksae_lab.nn.topk import top_k_mask

IMAGES, STEPS, AXES = 1000, 3, 100


def parts(dataset: Dataset) -> dict[str, np.ndarray]:
    """The images that are measured, by what their columns begin with."""
    return {"": dataset.x_test[:IMAGES], "training_": dataset.x_train[:IMAGES]}


def of_network(network: Network, fashion: Sweep) -> Row:
    """One row: errors of one pass, of better codes for the same dictionary, and of OMP's."""
    model = network.model()
    W, row = model.W_dec.astype(float), {}
    for part, x in parts(fashion.dataset).items():
        centred, z = x - model.b_dec.astype(float), model.encode(x)
        *_, pursued = islice(pursuit(centred, W, model.k, z), STEPS)
        result = {
            "one_pass": z,
            "refit": refit(centred, W, z != 0),
            f"pursuit_{STEPS}": pursued,
            "omp": orthogonal_mp_gram(W @ W.T, W @ centred.T, n_nonzero_coefs=model.k).T,
        }
        row |= {part + name: mse(code @ W, centred) for name, code in result.items()}
    return row


def of_pca(k: int, own: bool, fashion: Sweep) -> Row:
    """One row: the error of PCA's first k of a hundred axes, or of each image's own best k."""
    pca = PCA(AXES, svd_solver="covariance_eigh").fit(fashion.dataset.x_train)
    row = {}
    for part, x in parts(fashion.dataset).items():
        scores = pca.transform(x)
        kept = top_k_mask(scores, k, by="magnitude") if own else np.arange(AXES) < k
        row[f"{part}one_pass"] = mse(pca.inverse_transform(np.where(kept, scores, 0)), x)
    return row


def jobs(fashion: Sweep) -> Iterator[Job]:
    """The rows of all networks, and of PCA with each k."""
    for network in fashion.networks:
        name = f"n={network.n_units}, k={network.k}"
        measure = partial(of_network, network, fashion)
        yield Job(name, network.seed, network.settings, measure)
    for k in sorted({network.k for network in fashion.networks}):
        settings = f"{k:04}{AXES:06}{IMAGES:06}"  # all that the row depends on
        yield Job(f"PCA, k={k}", 0, settings, partial(of_pca, k, False, fashion))
        yield Job(f"PCA, own k, k={k}", 0, settings, partial(of_pca, k, True, fashion))


def probed(n_units: int, fashion: Sweep) -> Iterator[Job]:
    """What a probe reads off the networks of so many units."""
    return probe_jobs(fashion, n_units, alphas=(1,), dictionary=False, untrained=("raw images",))


def the_sweep(path: Path, fashion: Sweep) -> None:
    """Write what the trainings came to."""
    fashion.write(path)


TABLES = {
    "table.csv": jobs,
    "probe_100.csv": partial(probed, 100),
    "probe_1000.csv": partial(probed, 1000),
    "longer.csv": partial(training_jobs, Path(__file__).with_name("longer.yaml")),
}
FILES = {"sweep.csv": the_sweep}
