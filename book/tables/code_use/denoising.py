"""How much of a clean digit each method finds in a noisy one.

Every method has settings, and validation digits with noise of the same strength choose one. The
networks come twice: those of the sweep as they are, and trained again with the noise to come.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle
from sklearn.decomposition import PCA

from ksae_lab.data.datasets import Dataset
from ksae_lab.experiments.build import build
from ksae_lab.experiments.networks import Network, Sweep
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.tables import Job, hash_of
from ksae_lab.nn.losses import mse

SIGMAS = (0.1, 0.2, 0.4, 0.8)
TRAINED_KS = (10, 20, 50, 100)  # of the networks that are trained again
COMPONENTS = (5, 7, 10, 14, 20, 30, 40, 50, 70, 100, 150)
WEIGHTS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
BANDWIDTHS = (0.4, 0.6, 0.8, 1.0, 1.5)  # in σ

Clean = Callable[[np.ndarray], np.ndarray]  # noisy images (batch, d) → clean ones (batch, d)
Settings = dict[float, Clean]
Networks = dict[tuple[int, int], Network]  # by k and seed


def noisy(x: np.ndarray, sigma: float, *seeds: int) -> np.ndarray:
    """x (batch, d) with normal noise of σ grey levels, not clipped."""
    noise = np.random.default_rng(seeds).normal(size=x.shape)
    return (x + sigma * noise).astype(np.float32)


def as_they_are(networks: Networks, dataset: Dataset, sigma: float, seed: int) -> Settings:
    """The networks of a seed, whatever noise they have met."""
    return {k: network.model().reconstruct for (k, s), network in networks.items() if s == seed}


def trained_for_it(networks: Networks, dataset: Dataset, sigma: float, seed: int) -> Settings:
    """Networks with the settings of those of a seed, but for the noise they meet in training."""
    again = {}
    for k in TRAINED_KS:
        training = build(with_noise(networks[k, seed].experiment, sigma), dataset)
        training.fit()
        again[k] = training.model.reconstruct
    return again


def with_noise(experiment: Experiment, sigma: float) -> Experiment:
    """The same experiment with another noise on the input."""
    training = experiment.training.model_copy(update={"noise": sigma})
    return experiment.model_copy(update={"training": training})


def components(networks: Networks, dataset: Dataset, sigma: float, seed: int) -> Settings:
    """PCA's first k components are kept as they are, the others dropped."""
    pca = all_components(dataset)

    def kept(k, x):
        return pca.mean_ + (x - pca.mean_) @ pca.components_[:k].T @ pca.components_[:k]

    return {k: partial(kept, k) for k in COMPONENTS}


def shrunk(networks: Networks, dataset: Dataset, sigma: float, seed: int) -> Settings:
    """Each of PCA's components as far as it is signal: if images were normal, the best answer."""
    pca = all_components(dataset)
    share = pca.explained_variance_ / (pca.explained_variance_ + sigma**2)
    return {0: lambda x: pca.mean_ + (x - pca.mean_) @ pca.components_.T * share @ pca.components_}


def all_components(dataset: Dataset) -> PCA:
    """PCA of the training digits, with as many components as pixels."""
    return PCA(svd_solver="covariance_eigh").fit(dataset.x_train.astype(float))


def total_variation(networks: Networks, dataset: Dataset, sigma: float, seed: int) -> Settings:
    """scikit-image's, with several weights."""
    return {
        weight: partial(one_by_one, partial(denoise_tv_chambolle, weight=weight))
        for weight in WEIGHTS
    }


def non_local_means(networks: Networks, dataset: Dataset, sigma: float, seed: int) -> Settings:
    """scikit-image's, with several bandwidths; it is given σ."""
    means = partial(denoise_nl_means, patch_size=5, patch_distance=6, fast_mode=True, sigma=sigma)
    return {h: partial(one_by_one, partial(means, h=h * sigma)) for h in BANDWIDTHS}


def one_by_one(denoise: Clean, x: np.ndarray) -> np.ndarray:
    """`denoise`, which takes one image with its two sides, for x (batch, d)."""
    side = int(np.sqrt(x.shape[1]))
    return np.array([denoise(image.reshape(side, side)).ravel() for image in x])


def nothing(networks: Networks, dataset: Dataset, sigma: float, seed: int) -> Settings:
    """The noisy image as it is."""
    return {0: lambda x: x}


# What a row of the method depends on beside σ and the networks.
METHODS = {
    "k-sparse": (as_they_are, ()),
    "k-sparse, trained for σ": (trained_for_it, TRAINED_KS),
    "PCA": (components, COMPONENTS),
    "PCA, shrunk": (shrunk, ()),
    "total variation": (total_variation, WEIGHTS),
    "non-local means": (non_local_means, BANDWIDTHS),
    "nothing": (nothing, ()),
}


def denoise(networks: Networks, dataset: Dataset, sigma: float, method: str, seed: int) -> dict:
    """One row: the setting that validation digits prefer, and the error on test digits."""
    candidates = METHODS[method][0](networks, dataset, sigma, seed)
    spoilt = noisy(dataset.x_val, sigma, seed, 0)
    errors = {name: mse(clean(spoilt), dataset.x_val) for name, clean in candidates.items()}
    best = min(errors, key=errors.get)
    test = mse(candidates[best](noisy(dataset.x_test, sigma, seed, 1)), dataset.x_test)
    return {"setting": best, "validation": errors[best], "test": test}


def jobs(short_sweep: Sweep) -> Iterator[Job]:
    """Every σ, every method, every seed."""
    dataset, networks = short_sweep.dataset, short_sweep.by_k_and_seed()
    hashes: dict[int, list[str]] = {}
    for network in networks.values():
        hashes.setdefault(network.seed, []).append(network.settings)
    for sigma in SIGMAS:
        for method, (_, choices) in METHODS.items():
            for seed, own in hashes.items():
                settings = hash_of(repr((sigma, choices, own if "k-sparse" in method else "")))
                measure = partial(denoise, networks, dataset, sigma, method, seed)
                yield Job(f"{method}, σ={sigma}", seed, settings, measure)


TABLES = {"denoising.csv": jobs}
