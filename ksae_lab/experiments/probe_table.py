"""A table of what a linear classifier reads off codes, and off their rivals.

The networks are those of a sweep over k and seeds. Their codes are taken with k units, and with
several times as many. The rivals are the pixels, PCA's first components, as many as there are units
or may be active, a dictionary of as many atoms with OMP, and two networks that nobody trained: the
same top-k of the same number of units, which are random directions, or some of the training images.

A row says of each test image whether the probe was wrong, so that intervals can be drawn over
images and seeds from the table alone.
"""

import base64
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from ksae_lab.data.datasets import Dataset
from ksae_lab.evaluation.probe import STRENGTHS, best_probe
from ksae_lab.experiments.networks import Network, Sweep
from ksae_lab.experiments.probe_rivals import COPIES, PASSES, UNTRAINED, Encode, Rivals, weight
from ksae_lab.experiments.tables import Job, Row, hash_of

PIXELS = 784
DICTIONARIES = 2  # seeds; as in Lab 2, each takes minutes


def probe_jobs(
    sweep: Sweep,
    n_units: int | None = None,
    alphas: Sequence[int] = (1, 2),
    dictionary: bool = True,
    untrained: Sequence[str] = UNTRAINED,
    seeds: Sequence[int] | None = None,
) -> Iterator[Job]:
    """The rows of the table: networks, pixels, PCA, untrained networks, dictionaries.

    `n_units` and `seeds` choose among the networks, `alphas` says how many times k units their
    codes have. Without `dictionary` those rivals are left out: on 50,000 images they take hours.
    `untrained` are those of `UNTRAINED` that are probed.

    Raises what `Sweep.by_k_and_seed` raises.

    Chapter 15.
    """
    networks = sweep.by_k_and_seed(n_units, seeds)
    for (k, seed), network in networks.items():
        for alpha in alphas:
            if alpha * k <= network.n_units:
                measure = partial(of_network, network, alpha, sweep)
                settings = _hash(network.settings, alpha)
                yield Job(f"k-sparse, k={k}, α={alpha}", seed, settings, measure)
    rivals = Rivals(sweep)

    def rival(name: str, seed: int, make: Callable[[], Encode], *what: object) -> Job:
        return Job(name, seed, _hash(sweep.data, *what), partial(of_rival, make, sweep))

    yield rival("raw pixels", 0, rivals.pixels)
    ks = {k for k, _ in networks} | {network.n_units for network in networks.values()}
    for k in sorted(k for k in ks if k <= PIXELS):  # there are no more components
        yield rival(f"PCA, k={k}", 0, partial(rivals.pca, k), k)
    first = sorted({seed for _, seed in networks})[:DICTIONARIES]
    for network in sorted(networks.values(), key=lambda network: network.seed):
        n, k, seed = network.n_units, network.k, network.seed
        for atoms in untrained:
            make = partial(rivals.untrained, atoms, n, k, seed)
            yield rival(f"{atoms}, k={k}", seed, make, n, k, atoms)
        if dictionary and seed in first:
            make = partial(rivals.omp, n, k, seed)
            how = n, k, COPIES, PASSES, weight(k), rivals.moved
            yield rival(f"dictionary + OMP, k={k}", seed, make, *how)


def packed(wrong: np.ndarray) -> str:
    """Yes and no for each image (images,) as a word of a table; `unpacked` takes it back.

    Chapter 15.
    """
    return base64.b64encode(np.packbits(wrong).tobytes()).decode()


def unpacked(word: str, images: int) -> np.ndarray:
    """What `packed` has packed: whether the probe was wrong, for each image (images,).

    Chapter 15.
    """
    return np.unpackbits(np.frombuffer(base64.b64decode(word), np.uint8))[:images].astype(bool)


def probe_row(encode: Encode, dataset: Dataset) -> Row:
    """One row: how many numbers of a code are not zero, the C that was chosen, and the errors.

    `encode` takes images (batch, d) to codes (batch, n).

    Raises what `best_probe` raises.

    Chapter 15.
    """
    z_train, z_val, z_test = map(encode, (dataset.x_train, dataset.x_val, dataset.x_test))
    probe = best_probe((z_train, dataset.y_train), (z_val, dataset.y_val), (z_test, dataset.y_test))
    row = {"active": np.count_nonzero(z_test) / len(z_test)} | probe._asdict()
    return row | {"wrong": packed(probe.wrong)}


def of_network(network: Network, alpha: int, sweep: Sweep) -> Row:
    """The row of a network whose codes have α k units.

    Chapter 15.
    """
    model = network.model()
    model.k = alpha * network.k
    return probe_row(model.encode, sweep.dataset)


def of_rival(make: Callable[[], Encode], sweep: Sweep) -> Row:
    """The row of a rival, which is fitted for it.

    Chapter 15.
    """
    return probe_row(make(), sweep.dataset)


def _hash(*what: object) -> str:
    """A hash of what a row depends on, the seed apart."""
    return hash_of(f"{STRENGTHS} {what}")
