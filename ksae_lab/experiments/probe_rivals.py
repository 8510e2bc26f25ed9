"""What a probe of codes is held against: other codes of the same images.

Pixels, PCA's components, a dictionary with OMP, and two networks that nobody trained: top-k of as
many units, which are random directions, or some of the training images.
"""

from collections.abc import Callable
from functools import cached_property, lru_cache

import numpy as np

from ksae_lab.experiments.networks import Sweep
from ksae_lab.experiments.rival_atoms import Atoms, dictionary, heap, raw
from ksae_lab.nn.rows import unit_rows
from ksae_lab.nn.topk import top_k_mask

COPIES, PASSES = 4, 20  # of the images that a dictionary learns from, as in Lab 2
# The weight of L1 by k, up to a hundred atoms: what validation digits preferred in Lab 2.
WEIGHTS = {10: 1.0, 30: 0.5, 100: 0.125}
UNTRAINED = "random directions", "raw images"

Encode = Callable[[np.ndarray], np.ndarray]  # images (batch, d) → codes (batch, n)


def weight(k: int) -> float:
    """The weight of L1 for a dictionary whose codes will have k atoms, as Lab 2 chose it.

    Chapter 15.
    """
    return WEIGHTS[min(upto for upto in WEIGHTS if k <= upto)]


def untrained(atoms: str, x: np.ndarray, count: int, k: int, seed: int) -> Encode:
    """Top-k and relu on `count` unit rows that nobody trained: one of `UNTRAINED`.

    A unit's drive is its row times the image, less the mean of the training images x (samples, d).

    Chapter 15.
    """
    rng, mean = np.random.default_rng(seed), x.mean(axis=0, dtype=float)
    if atoms == "random directions":
        W = unit_rows(rng.normal(size=(count, x.shape[1])))
    else:
        W = raw(x, count, seed).W

    def encode(x: np.ndarray) -> np.ndarray:
        h = (x - mean) @ W.T
        return np.where(top_k_mask(h, k), np.maximum(h, 0), 0)

    return encode


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

    @property
    def moved(self) -> bool:
        """Whether images move while the networks learn."""
        return bool(self.sweep.networks[0].experiment.training.shifts)

    @lru_cache(maxsize=1)  # noqa: B019 (there is one Rivals, and it lives as long as the command)
    def atoms(self, count: int, alpha: float, seed: int) -> Atoms:
        """A dictionary (count, d) for OMP, from images that move if those of the networks do."""
        x = heap(self.sweep.dataset, seed, self.moved, COPIES)
        return dictionary(x, count, alpha, PASSES // COPIES, seed)

    def pixels(self) -> Encode:
        """The images themselves."""
        return lambda x: x

    def pca(self, k: int) -> Encode:
        """The first k components."""
        return lambda x: (x - self.mean) @ self.components[:k].T

    def untrained(self, atoms: str, count: int, k: int, seed: int) -> Encode:
        """Top-k of units that nobody trained."""
        return untrained(atoms, self.x, count, k, seed)

    def omp(self, count: int, k: int, seed: int) -> Encode:
        """Codes that choose k of `count` atoms."""
        from sklearn.linear_model import orthogonal_mp_gram

        W, mean = self.atoms(count, weight(k), seed)
        gram = W @ W.T

        def encode(x: np.ndarray) -> np.ndarray:
            return orthogonal_mp_gram(gram, W @ (x - mean).T, n_nonzero_coefs=k).T

        return encode
