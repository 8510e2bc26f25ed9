"""What each unit of a trained network explains of the data."""

from collections.abc import Iterable

import numpy as np

from ksae_lab.models.k_sparse import KSparseAutoencoder


def contributions(model: KSparseAutoencoder, batches: Iterable[np.ndarray]) -> np.ndarray:
    """The share (n,) of the variance of all x, in batches (batch, d), that each unit explains.

    With the residual r = x − x̂ the variance explained is Var x − Var r = Σⱼ Cov(zⱼ, wⱼ · (x + r)),
    wⱼ a row of W_dec, variances added up over the d numbers. The terms of the sum are the Shapley
    values of the units: what leaving one out costs, averaged over all orders in which units may be
    left out, while the others say what they said. A term may be below zero, of a unit that does
    more harm than good. Where x does not vary, all are 0.

    Source: Shapley (1953).
    Chapter 13.
    """
    n, d = model.W_dec.shape
    count, sum_z, sum_a, sum_za = 0, np.zeros(n), np.zeros(n), np.zeros(n)
    sum_x, sum_xx = np.zeros(d), 0.0
    for x in batches:
        x = x.astype(np.float64) - model.b_dec  # else large means would swallow the variance
        z = model.encode((x + model.b_dec).astype(model.b_dec.dtype))
        a = (2 * x - z @ model.W_dec) @ model.W_dec.T
        count += len(x)
        sum_z += z.sum(axis=0)
        sum_a += a.sum(axis=0)
        sum_za += (z * a).sum(axis=0)
        sum_x += x.sum(axis=0)
        sum_xx += (x**2).sum()
    explained = sum_za - sum_z * sum_a / count
    total = sum_xx - (sum_x**2).sum() / count
    return explained / total if total > 0 else np.zeros(n)
