"""How much of a clean digit each method finds in a noisy one.

Every method has settings, and validation digits with noise of the same strength choose one. The
networks come twice: those of the sweep as they are, and trained again, a third as long, with the
noise to come. They learn from digits that move, so PCA has the choice of moved digits, too.

`denoising.csv` has the mean errors. `denoising_verdicts.csv` holds both kinds of networks against
the shrunk PCA, over seeds and test digits; the errors that it needs are kept in `runs/chapter_15`.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import joblib
import numpy as np
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle
from sklearn.decomposition import PCA

from ksae_lab.data.datasets import Dataset
from ksae_lab.evaluation.metrics import squared_errors
from ksae_lab.evaluation.statistics import difference
from ksae_lab.experiments.build import build
from ksae_lab.experiments.networks import Network, Sweep
from ksae_lab.experiments.rival_atoms import heap
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.tables import Job, Row, hash_of
from ksae_lab.nn.losses import mse

SIGMAS = (0.1, 0.2, 0.4, 0.8)
SEEDS = (0, 1, 2)
TRAINED_KS, TRAINED_SEEDS = (50, 100), (0, 1)  # of the networks that are trained again
EPOCHS = 80  # of these: a third of the sweep's
COPIES = 4  # of the training digits, of which half have moved
COMPONENTS = (5, 7, 10, 14, 20, 30, 40, 50, 70, 100, 150)
WEIGHTS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
BANDWIDTHS = (0.4, 0.6, 0.8, 1.0, 1.5)  # in σ

Clean = Callable[[np.ndarray], np.ndarray]  # noisy images (batch, d) → clean ones (batch, d)
Settings = dict[float | str, Clean]
Networks = dict[tuple[int, int], Network]  # by k and seed

memory = joblib.Memory(Path(__file__).parents[3] / "runs" / "chapter_15", verbose=0)


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
    """The same experiment with another noise on the input, and `EPOCHS`."""
    training = experiment.training.model_copy(update={"noise": sigma, "epochs": EPOCHS})
    return experiment.model_copy(update={"training": training})


def components(networks: Networks, dataset: Dataset, sigma: float, seed: int) -> Settings:
    """PCA's first k components are kept as they are, the others dropped."""

    def kept(k: int, pca: PCA, x: np.ndarray) -> np.ndarray:
        return pca.mean_ + (x - pca.mean_) @ pca.components_[:k].T @ pca.components_[:k]

    both = all_components(dataset)
    return {f"{k}{m}": partial(kept, k, both[m]) for k, m in product(COMPONENTS, both)}


def shrunk(networks: Networks, dataset: Dataset, sigma: float, seed: int) -> Settings:
    """Each of PCA's components as far as it is signal: if images were normal, the best answer."""

    def share(pca: PCA, x: np.ndarray) -> np.ndarray:
        signal = pca.explained_variance_ / (pca.explained_variance_ + sigma**2)
        return pca.mean_ + (x - pca.mean_) @ pca.components_.T * signal @ pca.components_

    return {f"all{m}": partial(share, pca) for m, pca in all_components(dataset).items()}


def all_components(dataset: Dataset) -> dict[str, PCA]:
    """PCA of the training digits, and of moved ones, with as many components as pixels."""
    heaps = {"": heap(dataset, 0, False, 1), ", moved": heap(dataset, 0, True, COPIES)}
    return {name: PCA(svd_solver="covariance_eigh").fit(x) for name, x in heaps.items()}


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
    "k-sparse, trained for σ": (trained_for_it, (*TRAINED_KS, EPOCHS)),
    "PCA": (components, (*COMPONENTS, COPIES)),
    "PCA, shrunk": (shrunk, COPIES),
    "total variation": (total_variation, WEIGHTS),
    "non-local means": (non_local_means, BANDWIDTHS),
    "nothing": (nothing, ()),
}


AGAINST = "PCA, shrunk"


def denoise(
    networks: Networks, dataset: Dataset, sigma: float, method: str, seed: int
) -> tuple[Row, np.ndarray]:
    """A row, with the setting that validation digits prefer; and each test digit's error (images,).

    The row's `test` is the mean of the latter.
    """
    candidates = METHODS[method][0](networks, dataset, sigma, seed)
    spoilt = noisy(dataset.x_val, sigma, seed, 0)
    errors = {name: mse(clean(spoilt), dataset.x_val) for name, clean in candidates.items()}
    best = min(errors, key=errors.get)
    found = candidates[best](noisy(dataset.x_test, sigma, seed, 1))
    test = squared_errors(dataset.x_test.astype(float), found)
    return {"setting": best, "validation": errors[best], "test": test.mean()}, test


@memory.cache(ignore=["networks", "dataset"])
def kept(
    settings: str, networks: Networks, dataset: Dataset, sigma: float, method: str, seed: int
) -> tuple[Row, np.ndarray]:
    """The same, kept on disk: a training takes half a minute."""
    return denoise(networks, dataset, sigma, method, seed)


def plan(k_sweep: Sweep, sigma: float, method: str) -> dict[int, tuple]:
    """What `kept` is called with, for each seed."""
    dataset, networks = k_sweep.dataset, k_sweep.by_k_and_seed(seeds=SEEDS)
    trains, result = method == "k-sparse, trained for σ", {}
    for seed in TRAINED_SEEDS if trains else SEEDS:
        own = [network.settings for (_, s), network in networks.items() if s == seed]
        what = (sigma, METHODS[method][1], own if "k-sparse" in method else "")
        result[seed] = hash_of(repr(what)), networks, dataset, sigma, method, seed
    return result


def jobs(k_sweep: Sweep) -> Iterator[Job]:
    """Every σ, every method, every seed."""
    for sigma, method in product(SIGMAS, METHODS):
        for seed, call in plan(k_sweep, sigma, method).items():
            yield Job(f"{method}, σ={sigma}", seed, call[0], partial(row, call))


def row(call: tuple) -> Row:
    """The row of a call of `kept`."""
    return kept(*call)[0]


def verdict(ours: list[tuple], theirs: list[tuple]) -> Row:
    """One row: how far the networks' error lies above the rival's, for seeds and digits drawn."""
    a, b = (np.stack([kept(*call)[1] for call in calls]) for calls in (ours, theirs))
    apart = difference(a, b)
    means = {"network": a.mean(), "rival": b.mean()}
    return means | apart.row()


def verdict_jobs(k_sweep: Sweep) -> Iterator[Job]:
    """Both kinds of networks against the shrunk PCA at each σ: one family."""
    for sigma in SIGMAS:
        theirs = list(plan(k_sweep, sigma, AGAINST).values())
        for method in ("k-sparse", "k-sparse, trained for σ"):
            ours = list(plan(k_sweep, sigma, method).values())
            settings = hash_of(f"{[call[0] for call in ours + theirs]}")
            job = partial(verdict, ours, theirs)
            yield Job(f"{method} against {AGAINST}, σ={sigma}", 0, settings, job)


TABLES = {"denoising.csv": jobs, "denoising_verdicts.csv": verdict_jobs}
