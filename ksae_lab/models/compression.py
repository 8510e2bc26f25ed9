"""A smaller network from a trained one: weights that become zero, weights of few bits.

What returns a network returns a copy and leaves biases alone, which are few: n + d numbers beside
2 n d. Nothing trains again.
"""

import copy
from collections.abc import Callable

import numpy as np

from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn import checks
from ksae_lab.nn.topk import top_k_mask


def prune(model: KSparseAutoencoder, share: float) -> KSparseAutoencoder:
    """A copy without its smallest weights: that share of each matrix is zero.

    W_enc (d, n) and W_dec (n, d) lose round(share · n · d) weights each, those of the least
    magnitude, of two equal ones the later. Rows of W_dec become a little shorter than 1, and stay
    so: what was pruned carried a part of the reconstruction.

    Raises `ValueError` for a share outside 0…1, and `TypeError` for what is no number, and for
    another kind of model.

    Source: Han et al. (2015), without their training afterwards.
    Chapter 15.
    """
    checks.share(share, "share")

    def thinned(W: np.ndarray) -> np.ndarray:
        kept = W.size - round(share * W.size)
        return np.where(top_k_mask(W.ravel(), kept, by="magnitude").reshape(W.shape), W, 0)

    return _with_matrices(model, thinned)


def quantise_weights(model: KSparseAutoencoder, bits: int = 8) -> KSparseAutoencoder:
    """A copy whose weights are whole multiples of a step, and fit into that many bits.

    Each unit has one step for its encoder, a column of W_enc (d, n), and one for its decoder, a
    row of W_dec (n, d): its largest weight in magnitude, divided by 2^(bits − 1) − 1. Weights are
    rounded to the nearest multiple. So zero stays zero, the largest weight stays what it is, and no
    weight moves by more than half a step. There are 2^bits − 1 levels, as many below zero as above;
    the one that is left over is not used.

    Raises `ValueError` for bits outside 2…16, and `TypeError` if bits is no integer, and for
    another kind of model.

    Source: Jacob et al. (2018), who have one scale for each whole array.
    Chapter 15.
    """

    def rounded(W: np.ndarray) -> np.ndarray:
        integers, step = quantised(W, bits)
        return step * integers

    return _with_matrices(model, rounded)


def quantised(W: np.ndarray, bits: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers (n, d), as floats, and a step (n, 1) a row; their product is about W (n, d).

    Raises what `quantise_weights` raises for bits.

    Chapter 15.
    """
    top = 2 ** (checks.whole(bits, "bits", 2, 16) - 1) - 1
    step = np.abs(W).max(axis=1, keepdims=True) / top
    return np.round(W / np.where(step > 0, step, 1)), step


def _with_matrices(
    model: KSparseAutoencoder, change: Callable[[np.ndarray], np.ndarray]
) -> KSparseAutoencoder:
    """A copy of the model, its matrices changed; `change` sees each as (n, d), one row a unit."""
    if not isinstance(model, KSparseAutoencoder):
        raise TypeError(f"A {type(model).__name__} is given; give a KSparseAutoencoder.")
    other = copy.deepcopy(model)
    other.W_dec = change(model.W_dec)
    if not model.tied:
        other.W_enc = change(model.W_enc.T).T.copy()
    return other
