"""A table of what a linear classifier reads off codes, and off their rivals.

The networks are those of a sweep over k and seeds. Their codes are taken with k units, and with
several times as many. The rivals are the pixels, PCA's first components, as many as there are units
or may be active, and a dictionary of as many atoms with OMP.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache, partial

import numpy as np

from ksae_lab.data.datasets import Dataset
from ksae_lab.evaluation.probe import STRENGTHS, best_probe
from ksae_lab.experiments.networks import Network, Sweep
from ksae_lab.experiments.tables import Job, Row, hash_of

PIXELS = 784

Encode = Callable[[np.ndarray], np.ndarray]  # images (batch, d) → codes (batch, n)


def probe_jobs(
    sweep: Sweep,
    n_units: int | None = None,
    alphas: Sequence[int] = (1, 2),
    dictionary: bool = True,
) -> Iterator[Job]:
    """The rows of the table: networks, pixels, PCA, dictionaries.

    `n_units` chooses among the networks, `alphas` says how many times k units their codes have.
    Without `dictionary` the last rivals are left out: on 50,000 images they take hours.

    Raises what `Sweep.by_k_and_seed` raises.

    Chapter 15.
    """
    networks = sweep.by_k_and_seed(n_units)
    for (k, seed), network in networks.items():
        for alpha in alphas:
            if alpha * k <= network.n_units:
                measure = partial(of_network, network, alpha, sweep)
                settings = _hash(network.settings, alpha)
                yield Job(f"k-sparse, k={k}, α={alpha}", seed, settings, measure)
    rivals = Rivals(sweep)
    yield Job("raw pixels", 0, _hash(sweep.data), rivals.pixels)
    ks = {k for k, _ in networks} | {network.n_units for network in networks.values()}
    for k in sorted(k for k in ks if k <= PIXELS):  # there are no more components
        yield Job(f"PCA, k={k}", 0, _hash(sweep.data, k), partial(rivals.pca, k))
    by_seed = sorted(networks.values(), key=lambda network: network.seed)
    for network in by_seed if dictionary else []:
        size = network.n_units, network.k
        yield Job(
            f"dictionary + OMP, k={network.k}",
            network.seed,
            _hash(sweep.data, *size),
            partial(rivals.omp, *size, network.seed),
        )


def probe_row(encode: Encode, dataset: Dataset) -> Row:
    """One row: how many numbers of a code are not zero, the C that was chosen, and two errors.

    `encode` takes images (batch, d) to codes (batch, n).

    Raises what `best_probe` raises.

    Chapter 15.
    """
    z_train, z_val, z_test = map(encode, (dataset.x_train, dataset.x_val, dataset.x_test))
    probe = best_probe((z_train, dataset.y_train), (z_val, dataset.y_val), (z_test, dataset.y_test))
    return {"active": np.count_nonzero(z_test) / len(z_test)} | probe._asdict()


def of_network(network: Network, alpha: int, sweep: Sweep) -> Row:
    """The row of a network whose codes have α k units.

    Chapter 15.
    """
    model = network.model()
    model.k = alpha * network.k
    return probe_row(model.encode, sweep.dataset)


class Rivals:
    """Codes of other makes, fitted to the training images when they are first asked for.

    Chapter 15.
    """

    def __init__(self, sweep: Sweep):
        self.sweep = sweep

    @cached_property
    def x(self) -> np.ndarray:
        """The training images (samples, d), in float64."""
        return self.sweep.dataset.x_train.astype(float)

    @cached_property
    def mean(self) -> np.ndarray:
        """Their mean (d,)."""
        return self.x.mean(axis=0)

    @cached_property
    def components(self) -> np.ndarray:
        """All of PCA's components, one a row (d, d)."""
        from sklearn.decomposition import PCA

        return PCA(svd_solver="covariance_eigh").fit(self.x).components_

    @lru_cache(maxsize=1)  # noqa: B019 (there is one Rivals, and it lives as long as the command)
    def atoms(self, count: int, seed: int) -> np.ndarray:
        """A dictionary (count, d) for OMP, as chapter 1 learns it."""
        from sklearn.decomposition import MiniBatchDictionaryLearning

        learner = MiniBatchDictionaryLearning(
            n_components=count, alpha=1, batch_size=64, max_iter=20, random_state=seed
        )
        return learner.fit(self.x - self.mean).components_

    def pixels(self) -> Row:
        """The row of the images themselves."""
        return probe_row(lambda x: x, self.sweep.dataset)

    def pca(self, k: int) -> Row:
        """The row of the first k components."""
        return probe_row(lambda x: (x - self.mean) @ self.components[:k].T, self.sweep.dataset)

    def omp(self, count: int, k: int, seed: int) -> Row:
        """The row of codes that choose k of `count` atoms."""
        from sklearn.linear_model import orthogonal_mp_gram

        W = self.atoms(count, seed)
        gram = W @ W.T

        def encode(x: np.ndarray) -> np.ndarray:
            return orthogonal_mp_gram(gram, W @ (x - self.mean).T, n_nonzero_coefs=k).T

        return probe_row(encode, self.sweep.dataset)


def _hash(*what: object) -> str:
    """A hash of what a row depends on, the seed apart."""
    return hash_of(f"{STRENGTHS} {what}")
