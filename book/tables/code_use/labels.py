"""How well a probe reads codes, components and pixels when few digits have labels."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from sklearn.decomposition import PCA

from ksae_lab.data.datasets import Dataset
from ksae_lab.evaluation.probe import best_probe
from ksae_lab.experiments.networks import Network, Sweep
from ksae_lab.experiments.tables import Job, hash_of

LABELS = (10, 30, 100, 300, 1000)
DRAWS = 10
KS = (5, 10, 50)


def some(y: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` indices of labels y (samples,), equally many of each class."""
    classes = np.unique(y)
    each = count // len(classes)
    drawn = [rng.choice(np.flatnonzero(y == c), each, replace=False) for c in classes]
    return np.concatenate(drawn)


def few_labels(encode, dataset: Dataset, seed: int) -> dict:
    """One row: the mean error of the probes for each number of labels, over the draws."""
    codes, z_val, z_test = map(encode, (dataset.x_train, dataset.x_val, dataset.x_test))
    validation, test = (z_val, dataset.y_val), (z_test, dataset.y_test)
    # How loud a unit is, all the training digits tell, and these need no label. With few labels it
    # matters whether quiet units are brought to the same scale: the validation digits say.
    scales = [codes.std(axis=0), np.full(codes.shape[1], codes.std())]
    row = {}
    for count in LABELS:
        errors = []
        for draw in range(DRAWS):
            few = some(dataset.y_train, count, np.random.default_rng([seed, draw]))
            train = codes[few], dataset.y_train[few]
            errors.append(best_probe(train, validation, test, scales).test)
        row[f"error_{count}"] = np.mean(errors)
    return row


def of_network(network: Network, dataset: Dataset) -> dict:
    """The row of a network."""
    return few_labels(network.model().encode, dataset, network.seed)


def of_pca(k: int, dataset: Dataset, seed: int) -> dict:
    """The row of PCA's first k components, fitted to all training digits."""
    return few_labels(PCA(k, svd_solver="full").fit(dataset.x_train).transform, dataset, seed)


def of_pixels(dataset: Dataset, seed: int) -> dict:
    """The row of the digits themselves."""
    return few_labels(lambda x: x, dataset, seed)


def jobs(short_sweep: Sweep) -> Iterator[Job]:
    """Codes, components and pixels, with the same labels for all of a seed."""
    dataset, networks = short_sweep.dataset, short_sweep.by_k_and_seed()
    for k in KS:
        for network in (network for network in networks.values() if network.k == k):
            seed = network.seed
            settings = hash_of(repr((LABELS, DRAWS, network.settings)))
            yield Job(f"k-sparse, k={k}", seed, settings, partial(of_network, network, dataset))
            settings = hash_of(repr((LABELS, DRAWS, k)))
            yield Job(f"PCA, k={k}", seed, settings, partial(of_pca, k, dataset, seed))
    for seed in sorted({seed for _, seed in networks}):
        settings = hash_of(repr((LABELS, DRAWS)))
        yield Job("raw pixels", seed, settings, partial(of_pixels, dataset, seed))


TABLES = {"labels.csv": jobs}
