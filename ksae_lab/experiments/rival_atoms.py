"""Rivals of a k-sparse network that learn atoms from a heap of images, with pursuit to find codes.

Atoms W are (n, d), with the mean image (d,) that is taken away before and added after. Whatever
takes steps with batches stands in `ksae_lab.experiments.rival_networks`.
"""

import warnings
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

import numpy as np

from ksae_lab.data.datasets import Dataset
from ksae_lab.data.shifts import shifted
from ksae_lab.inference.ksvd import ksvd
from ksae_lab.inference.pursuit import nonnegative_omp
from ksae_lab.nn.rows import unit_rows
from ksae_lab.nn.topk import top_k_mask

Reconstruct = Callable[[np.ndarray], np.ndarray]  # images (batch, d) → what is drawn of them
Encode = Callable[[np.ndarray], np.ndarray]  # images (batch, d) → codes (batch, n)


class Atoms(NamedTuple):
    """Atoms W (n, d), and the mean image (d,).

    Lab 2.
    """

    W: np.ndarray
    mean: np.ndarray


def heap(dataset: Dataset, seed: int, moved: bool, copies: int = 4) -> np.ndarray:
    """Several `copies` of the training images, one below the other: (images, d), in float64.

    Half of them are moved by a pixel, as those of a network's batches are, or none.

    Lab 2.
    """
    rng, image = np.random.default_rng(seed), dataset.image or ()
    share = 0.5 if moved else 0
    several = [shifted(dataset.x_train, image, share, rng) for _ in range(copies)]
    return np.concatenate(several).astype(float)


def codes_by_omp(atoms: Atoms, k: int, *, signed: bool = True) -> Encode:
    """The codes that orthogonal matching pursuit finds with k of the atoms, of length 1.

    Unless `signed`, it may not take away.

    Lab 13.
    """
    from sklearn.linear_model import orthogonal_mp_gram

    W, mean = atoms
    gram = W @ W.T if signed else None

    def encode(x: np.ndarray) -> np.ndarray:
        if gram is None:
            return nonnegative_omp(x - mean, W, k)
        codes = orthogonal_mp_gram(gram, W @ (x - mean).T, n_nonzero_coefs=k)
        return codes.reshape(len(W), len(x)).T  # scikit-learn squeezes a single image

    return encode


def by_omp(atoms: Atoms, k: int, *, signed: bool = True) -> Reconstruct:
    """What orthogonal matching pursuit draws, see `codes_by_omp`.

    Lab 2.
    """
    encode = codes_by_omp(atoms, k, signed=signed)
    return lambda x: atoms.mean + encode(x) @ atoms.W


def pca(x: np.ndarray, n_units: int, k: int, *, own: bool = False) -> Reconstruct:
    """What PCA of x (samples, d) draws with its first k axes, or of n with each image's `own` k.

    Lab 2.
    """
    from sklearn.decomposition import PCA

    fitted = PCA(n_units, svd_solver="full").fit(x)

    def reconstruct(x: np.ndarray) -> np.ndarray:
        scores = fitted.transform(x.astype(float))
        mask = top_k_mask(scores, k, by="magnitude") if own else np.arange(n_units) < k
        return np.asarray(fitted.inverse_transform(np.where(mask, scores, 0)))

    return reconstruct


def raw(x: np.ndarray, n_units: int, seed: int) -> Atoms:
    """Some of the images x (samples, d) less the mean, as they are: nothing is learned.

    Lab 2.
    """
    x = x.astype(float)
    drawn = np.random.default_rng(seed).choice(len(x), n_units, replace=False)
    mean = x.mean(axis=0)
    return Atoms(unit_rows(x[drawn] - mean), mean)


def dictionary(
    x: np.ndarray,
    n_units: int,
    alpha: float,
    passes: int,
    seed: int,
    start: np.ndarray | None = None,
) -> Atoms:
    """scikit-learn's dictionary learning: `passes` of x (samples, d), its early stop off.

    It begins at the rows of `start` (n, d), else, whatever the seed, at the principal axes of x.

    Lab 2.
    """
    from sklearn.decomposition import MiniBatchDictionaryLearning
    from sklearn.exceptions import ConvergenceWarning

    mean = x.mean(axis=0)
    learner = MiniBatchDictionaryLearning(
        n_units,
        alpha=alpha,
        batch_size=256,
        max_iter=passes,
        tol=0,
        max_no_improvement=None,
        random_state=seed,
        dict_init=start,
        fit_algorithm="cd",  # the same codes as by LARS, ten times as fast
    )
    # Where units are many, a batch's codes stop short of their last digits, and atoms do not mind.
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        return Atoms(learner.fit(x - mean).components_, mean)


def factors(x: np.ndarray, n_units: int, rounds: int, seed: int) -> Atoms:
    """NMF's atoms of x (samples, d), which keeps its mean.

    Lab 2.
    """
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    learner = NMF(n_units, init="nndsvda", max_iter=rounds, tol=0, random_state=seed)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # as it should
        W = unit_rows(learner.fit(x).components_)
    return Atoms(W, np.zeros(x.shape[1]))


def k_svd(x: np.ndarray, n_units: int, k: int, rounds: int, seed: int) -> Atoms:
    """K-SVD's atoms of x (samples, d), which start at some of its rows and learn for this k.

    Lab 2.
    """
    drawn = np.random.default_rng(seed).choice(len(x), n_units, replace=False)
    start = x[drawn] - x.mean(axis=0)
    *_, (W, mean) = islice(ksvd(x, start, x.mean(axis=0), k), rounds)
    return Atoms(W, mean)
