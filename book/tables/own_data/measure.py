"""The table of the page on data of your own: k-sparse codes against dictionary learning with OMP.

Both learn as many units from the same rows, and code with the same k. A seed draws the split and
starts both. For each method six settings are tried, and validation rows choose one for each k.
Errors are shares of the variance of the test rows around the mean of the training rows.
"""

import time
from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import numpy as np
from skimage.data import lfw_subset
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import MiniBatchDictionaryLearning, sparse_encode
from sklearn.model_selection import train_test_split

from ksae_lab.experiments.tables import Job, hash_of
from ksae_lab.sklearn import KSparseCoder

SEEDS = (0, 1, 2, 3, 4)
KS = {"digits": (3, 10, 20), "patches": (10,)}
N_UNITS = {"digits": 100, "patches": 50}
NOISES = (0.1, 0.25, 0.5)  # each with codes above zero and with signs
ALPHAS = (0.1, 0.3, 1, 2, 4, 8)  # for rows whose numbers have variance 1
REPEATS = 10  # of the coding, which takes milliseconds

Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


def load(data: str) -> np.ndarray:
    """Rows (samples, d): scikit-learn's digits, or scikit-image's patches, half of them faces."""
    return load_digits().data if data == "digits" else lfw_subset().reshape(200, -1)


def split(data: str, seed: int) -> Parts:
    """Training, validation and test rows, three fifths and twice one fifth.

    They are centred and divided by one number, so that training rows have mean 0 and variance 1.
    """
    x_train, rest = train_test_split(load(data), test_size=0.4, random_state=seed)
    x_val, x_test = train_test_split(rest, test_size=0.5, random_state=seed)
    mean = x_train.mean(axis=0)
    scale = (x_train - mean).std()
    return tuple((x - mean) / scale for x in (x_train, x_val, x_test))


def coder(data: str, k: int, seed: int, positive_code: bool, noise: float) -> KSparseCoder:
    """The estimator, not yet trained; what is left out has its default."""
    return KSparseCoder(
        N_UNITS[data], k, positive_code=positive_code, noise=noise, random_state=seed
    )


def learner(data: str, seed: int, alpha: float) -> MiniBatchDictionaryLearning:
    """The rival, not yet trained; its own rule ends the training."""
    return MiniBatchDictionaryLearning(N_UNITS[data], alpha=alpha, random_state=seed)


def unexplained(x: np.ndarray, x_hat: np.ndarray) -> float:
    """The share of the variance of x (samples, d), around 0, that x̂ leaves."""
    return float(((x - x_hat) ** 2).sum() / (x**2).sum())


def error(fitted: KSparseCoder | MiniBatchDictionaryLearning, x: np.ndarray) -> float:
    """What the reconstruction of x (samples, d) leaves."""
    return unexplained(x, fitted.inverse_transform(fitted.transform(x)))


def searching(fitted: MiniBatchDictionaryLearning, k: int) -> MiniBatchDictionaryLearning:
    """A copy of a dictionary that codes with k steps of orthogonal matching pursuit."""
    searching = clone(fitted)
    searching.set_params(transform_algorithm="omp", transform_n_nonzero_coefs=k)
    searching.components_, searching.n_features_in_ = fitted.components_, fitted.n_features_in_
    return searching


def timed(do: Callable[[], object]) -> tuple[float, object]:
    """Seconds of one thread, and the result."""
    started = time.process_time()
    result = do()
    return time.process_time() - started, result


@lru_cache(maxsize=1)
def dictionaries(data: str, seed: int) -> dict[float, tuple[float, MiniBatchDictionaryLearning]]:
    """For each alpha the seconds of training and the dictionary; k comes later."""
    x_train = split(data, seed)[0]
    return {alpha: timed(partial(learner(data, seed, alpha).fit, x_train)) for alpha in ALPHAS}


def measure(data: str, k: int, seed: int) -> dict:
    """One row: the setting that validation rows prefer and its test error, for both methods.

    `k_sparse_omp` is the error of pursuit with the network's atoms. Times are those of the
    dictionary, in times of the network.
    """
    x_train, x_val, x_test = split(data, seed)
    coders = {
        (positive, noise): timed(partial(coder(data, k, seed, positive, noise).fit, x_train))
        for positive in (True, False)
        for noise in NOISES
    }
    learners = {
        alpha: (seconds, searching(fitted, k))
        for alpha, (seconds, fitted) in dictionaries(data, seed).items()
    }
    (positive, noise), alpha = (
        min(tried, key=lambda setting: error(tried[setting][1], x_val))
        for tried in (coders, learners)
    )
    (own_seconds, ours), (its_seconds, theirs) = coders[positive, noise], learners[alpha]
    offset, atoms = ours.model_.b_dec, ours.components_
    searched = sparse_encode(x_test - offset, atoms, algorithm="omp", n_nonzero_coefs=k)
    own_coding, its_coding = (
        timed(lambda fitted=fitted: [fitted.transform(x_test) for _ in range(REPEATS)])[0]
        for fitted in (ours, theirs)
    )
    return {
        "data": data,
        "k": k,
        "positive_code": positive,
        "noise": noise,
        "alpha": alpha,
        "k_sparse": error(ours, x_test),
        "dictionary": error(theirs, x_test),
        "k_sparse_omp": unexplained(x_test, offset + searched @ atoms),
        "fit_ratio": its_seconds / own_seconds,
        "code_ratio": its_coding / own_coding,
    }


def jobs() -> Iterator[Job]:
    """Every data set, seed and k; those of one split stand together."""
    for data, ks in KS.items():
        settings = hash_of(f"{N_UNITS[data]} {NOISES} {ALPHAS} {KSparseCoder().get_params()}")
        for seed in SEEDS:
            for k in ks:
                yield Job(f"{data}, k={k}", seed, settings, partial(measure, data, k, seed))


TABLES = {"table.csv": jobs}
