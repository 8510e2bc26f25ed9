"""Whether a unit has a class: how much of what it says it says of one."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from sklearn.decomposition import PCA

from ksae_lab.data.datasets import Dataset
from ksae_lab.experiments.networks import Network, Sweep
from ksae_lab.experiments.probe_rivals import untrained
from ksae_lab.experiments.tables import Job, hash_of

SEEDS = (0, 1, 2)


def shares(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How much of its activity each unit spends on each class: z (samples, n) → (n, classes).

    What is below zero counts by its size; the row of a unit that says nothing is NaN.
    """
    total = np.array([np.abs(z[y == c]).sum(axis=0) for c in np.unique(y)]).T
    with np.errstate(invalid="ignore"):
        return total / total.sum(axis=1, keepdims=True)


def favourites(encode, dataset: Dataset) -> dict:
    """One row: mean over units of the share of the favourite class, and of the entropy in bits.

    Favourites are found with training digits and measured on test digits: a unit that speaks for
    ten digits of a set has a favourite among these whatever it does.
    """
    seen = shares(encode(dataset.x_train), dataset.y_train)
    unseen = shares(encode(dataset.x_test), dataset.y_test)
    speaks = ~np.isnan(seen).any(axis=1) & ~np.isnan(unseen).any(axis=1)
    seen, unseen = seen[speaks], unseen[speaks]
    share = unseen[np.arange(len(seen)), seen.argmax(axis=1)]
    bits = -(seen * np.log2(np.where(seen > 0, seen, 1))).sum(axis=1)
    return {
        "units": len(seen),
        "share": share.mean(),
        "lowest": share.min(),
        "highest": share.max(),
        "entropy": bits.mean(),
    }


def of_network(network: Network, dataset: Dataset) -> dict:
    """The row of a network."""
    return favourites(network.model().encode, dataset)


def of_images(units: int, k: int, dataset: Dataset, seed: int) -> dict:
    """The row of a network that nobody trained, whose units are some of the training digits."""
    return favourites(untrained("raw images", dataset.x_train, units, k, seed), dataset)


def of_pca(k: int, dataset: Dataset) -> dict:
    """The row of PCA's first k components."""
    return favourites(PCA(k, svd_solver="full").fit(dataset.x_train).transform, dataset)


def of_pixels(dataset: Dataset) -> dict:
    """The row of the digits themselves."""
    return favourites(lambda x: x, dataset)


def jobs(k_sweep: Sweep) -> Iterator[Job]:
    """Every network and one that nobody trained; and what components and pixels come to."""
    dataset, networks = k_sweep.dataset, k_sweep.by_k_and_seed(seeds=SEEDS)
    for (k, seed), network in networks.items():
        settings = hash_of(repr(("classes", network.settings)))
        yield Job(f"k-sparse, k={k}", seed, settings, partial(of_network, network, dataset))
        settings = hash_of(repr(("classes", network.n_units, k, "raw images")))
        measure = partial(of_images, network.n_units, k, dataset, seed)
        yield Job(f"raw images, k={k}", seed, settings, measure)
    units = next(iter(networks.values())).n_units
    settings = hash_of(repr(("classes", units)))
    yield Job(f"PCA, k={units}", 0, settings, partial(of_pca, units, dataset))
    yield Job("raw pixels", 0, hash_of(repr(("classes",))), partial(of_pixels, dataset))


TABLES = {"classes.csv": jobs}
