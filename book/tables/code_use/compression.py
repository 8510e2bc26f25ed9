"""What pruning and quantising do to a network, and to PCA in the form of one."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from sklearn.decomposition import PCA

from ksae_lab.data.datasets import Dataset
from ksae_lab.experiments.networks import Sweep
from ksae_lab.experiments.probe_table import probe_row
from ksae_lab.experiments.tables import Job, hash_of
from ksae_lab.models.compression import prune, quantise_weights
from ksae_lab.models.k_sparse import KSparseAutoencoder

KS, SEEDS = (10, 50), (0, 1, 2)
AT_50 = "pruned 0%", "3 bits"  # the chapter says no more of fifty units
SHARES = (0, 0.5, 0.7, 0.8, 0.9, 0.95)
BITS = (8, 6, 5, 4, 3, 2)


def pca_as_network(x: np.ndarray, k: int) -> KSparseAutoencoder:
    """PCA of x (samples, d) as a network whose k units, all linear, are always active."""
    pca = PCA(k, svd_solver="full").fit(x)
    rng = np.random.default_rng(0)
    model = KSparseAutoencoder(x.shape[1], k, k, "linear", rng=rng)
    model.b_dec[:], model.W_dec[:], model.W_enc[:] = pca.mean_, pca.components_, pca.components_.T
    return model


def compressed(load, change, dataset: Dataset) -> dict:
    """One row: the error on test digits, and what a probe reads, of a network that was changed."""
    model = change(load())
    return {"mse": model.error(dataset.x_test)} | probe_row(model.encode, dataset)


def jobs(k_sweep: Sweep) -> Iterator[Job]:
    """Every k and seed, and PCA(k), pruned and quantised."""
    dataset, networks = k_sweep.dataset, k_sweep.by_k_and_seed(seeds=SEEDS).values()
    changes = {f"pruned {share:.0%}": partial(prune, share=share) for share in SHARES}
    changes |= {f"{bits} bits": partial(quantise_weights, bits=bits) for bits in BITS}
    for name, change in changes.items():
        for k in KS if name in AT_50 else KS[:1]:
            for network in (network for network in networks if network.k == k):
                measure = partial(compressed, network.model, change, dataset)
                settings = hash_of(repr((name, network.settings)))
                yield Job(f"k-sparse, k={k}, {name}", network.seed, settings, measure)
            load = partial(pca_as_network, dataset.x_train, k)
            measure = partial(compressed, load, change, dataset)
            yield Job(f"PCA, k={k}, {name}", 0, hash_of(repr((name, k))), measure)


TABLES = {"compression.csv": jobs}
