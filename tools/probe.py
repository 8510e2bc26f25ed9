"""Chapter 15's first table: what a linear classifier reads off codes, and off their rivals.

    python -m tools.probe experiments/k_sweep.yaml runs/k_sweep table.csv

The networks are those of a sweep over k and seeds that `python -m ksae_lab sweep` has run. Their
codes are taken with k units and with 2 k; the rivals are the pixels, as many of PCA's components as
there are units that speak or that exist, and a dictionary of as many atoms with OMP.
`--without-dictionary` leaves the last one out: on 50,000 images it takes hours.
`--units` chooses among the networks, `--alphas` how many times k units their codes have.
A row is written as soon as it is measured; started again, the command does what is missing.
"""

import argparse
import hashlib
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA, MiniBatchDictionaryLearning
from sklearn.linear_model import orthogonal_mp_gram

from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.evaluation.probe import STRENGTHS, best_probe
from ksae_lab.experiments import saved_models, sweep
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.train import MODEL
from ksae_lab.models.k_sparse import KSparseAutoencoder
from tools.tables import Job, fill, provenance

ALPHAS = (1, 2)

Encode = Callable[[np.ndarray], np.ndarray]  # images (batch, d) → codes (batch, n)


@dataclass(frozen=True)
class Stored:
    """A network of a sweep: what it was trained by, and where it lies."""

    experiment: Experiment
    path: Path

    @property
    def k(self) -> int:
        """How many units may speak."""
        return self.experiment.model.k

    @property
    def n_units(self) -> int:
        """How many there are."""
        return self.experiment.model.n_units

    @property
    def seed(self) -> int:
        """The seed of its training."""
        return self.experiment.seed

    @property
    def settings(self) -> str:
        """The hash of all its settings."""
        return self.experiment.hash

    def model(self) -> KSparseAutoencoder:
        """The network; FileNotFoundError if the sweep has not come to it."""
        return saved_models.load_model(self.path)


def stored(
    plan: Path, folder: Path, units: int | None = None
) -> tuple[Dataset, dict[tuple[int, int], Stored]]:
    """The data of a sweep over k and seeds, and its networks of so many units by (k, seed)."""
    networks, data = {}, set()
    for run in sweep.load(plan):
        network = Stored(run.experiment, run.folder(folder) / MODEL)
        if units not in (None, network.n_units):
            continue
        data.add(network.experiment.data)
        if (network.k, network.seed) in networks or len(data) > 1:
            raise ValueError(
                f"{plan} varies more than k and seed; leave the rest fixed, or choose `--units`."
            )
        networks[network.k, network.seed] = network
    return load_dataset(data.pop()), networks


def measure(encode: Encode, dataset: Dataset) -> dict:
    """One row: how many numbers of a code are not zero, the C that was chosen, and two errors."""
    z_train, z_val, z_test = map(encode, (dataset.x_train, dataset.x_val, dataset.x_test))
    found = best_probe((z_train, dataset.y_train), (z_val, dataset.y_val), (z_test, dataset.y_test))
    return {"active": np.count_nonzero(z_test) / len(z_test)} | found._asdict()


def of_network(network: Stored, alpha: int, dataset: Dataset) -> dict:
    """The row of a network whose codes have α k units."""
    model = network.model()
    model.k = alpha * network.k
    return measure(model.encode, dataset)


class Rivals:
    """Codes of other makes, fitted to the training images when they are first asked for."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset
        self.x = dataset.x_train.astype(float)
        self.mean = self.x.mean(axis=0)

    @cached_property
    def components(self) -> np.ndarray:
        """All of PCA's components, one a row."""
        return PCA(svd_solver="covariance_eigh").fit(self.x).components_

    @lru_cache(maxsize=1)  # noqa: B019 (there is one Rivals, and it lives as long as the command)
    def atoms(self, count: int, seed: int) -> np.ndarray:
        """A dictionary for OMP, as chapter 1 learns it."""
        learner = MiniBatchDictionaryLearning(
            n_components=count, alpha=1, batch_size=64, max_iter=20, random_state=seed
        )
        return learner.fit(self.x - self.mean).components_

    def pixels(self) -> dict:
        """The row of the images themselves."""
        return measure(lambda x: x, self.dataset)

    def pca(self, k: int) -> dict:
        """The row of the first k components."""
        return measure(lambda x: (x - self.mean) @ self.components[:k].T, self.dataset)

    def omp(self, count: int, k: int, seed: int) -> dict:
        """The row of codes that choose k of `count` atoms."""
        W = self.atoms(count, seed)
        gram = W @ W.T
        return measure(
            lambda x: orthogonal_mp_gram(gram, W @ (x - self.mean).T, n_nonzero_coefs=k).T,
            self.dataset,
        )


def plan_rows(
    dataset: Dataset,
    networks: dict[tuple[int, int], Stored],
    alphas: Sequence[int] = ALPHAS,
    dictionary: bool = True,
) -> Iterator[Job]:
    """The rows of the table: networks, pixels, PCA, dictionaries."""
    for (k, seed), network in networks.items():
        for alpha in alphas:
            if alpha * k <= network.n_units:
                yield Job(
                    f"k-sparse, k={k}, α={alpha}",
                    seed,
                    settings(network.settings, alpha),
                    partial(of_network, network, alpha, dataset),
                )
    rivals = Rivals(dataset)
    yield Job("raw pixels", 0, settings(dataset.name), rivals.pixels)
    ks = {k for k, _ in networks} | {network.n_units for network in networks.values()}
    for k in sorted(k for k in ks if k <= dataset.x_train.shape[1]):  # there are no more
        yield Job(f"PCA, k={k}", 0, settings(dataset.name, k), partial(rivals.pca, k))
    by_seed = sorted(networks.values(), key=lambda network: network.seed)
    for network in by_seed if dictionary else []:
        size = network.n_units, network.k
        yield Job(
            f"dictionary + OMP, k={network.k}",
            network.seed,
            settings(dataset.name, *size),
            partial(rivals.omp, *size, network.seed),
        )


def settings(*what: object) -> str:
    """A hash of what a row depends on, the seed apart."""
    return hashlib.sha256(f"{STRENGTHS} {what}".encode()).hexdigest()


def main() -> None:
    """Read the command line, and measure what the table lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plan", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--without-dictionary", action="store_true")
    parser.add_argument("--units", type=int, help="only networks of so many units")
    parser.add_argument("--alphas", type=int, nargs="+", default=ALPHAS)
    asked = parser.parse_args()
    found = stored(asked.plan, asked.folder, asked.units)
    rows = plan_rows(*found, asked.alphas, not asked.without_dictionary)
    fill(asked.table, provenance(f"-m tools.probe {shlex.join(sys.argv[1:])}"), list(rows))


if __name__ == "__main__":
    main()
