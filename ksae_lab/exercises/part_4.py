"""The exercises of Part IV, choosing k."""

from collections.abc import Callable

import numpy as np


def _paired_difference(difference: Callable) -> str | None:
    from scipy.stats import ttest_rel

    for seed, seeds in [(0, 5), (1, 3), (2, 12)]:
        rng = np.random.default_rng(seed)
        a = rng.normal(size=seeds)
        b = a + 1 + 0.1 * rng.normal(size=seeds)
        low, high = ttest_rel(a, b).confidence_interval(0.95)
        found = difference(a.copy(), b.copy())
        if np.shape(found) != (2,):
            return "return two numbers: the mean of a − b, and half the width of its interval."
        if not np.isclose(found[0], (low + high) / 2):
            mean = (low + high) / 2
            return f"the mean difference of {seeds} pairs is {mean:.4f}, not {found[0]:.4f}."
        if np.isclose(found[1], high - low):
            return "that is the whole width; give half of it."
        if not np.isclose(found[1], (high - low) / 2):
            return (
                f"for {seeds} pairs half the interval is {(high - low) / 2:.4f}, not "
                f"{found[1]:.4f}: take the differences', with {seeds - 1} degrees of freedom."
            )
    return None


def _thresholding_step(step: Callable) -> str | None:
    rng = np.random.default_rng(0)
    for n, d, k in [(6, 9, 2), (20, 10, 5)]:
        W = rng.normal(size=(n, d))
        W /= np.linalg.norm(W, axis=1, keepdims=True)
        x, a = rng.normal(size=(4, d)), rng.normal(size=(4, n)) * (rng.random((4, n)) < 0.3)
        L = np.linalg.norm(W, 2) ** 2
        found = step(x.copy(), W.copy(), a.copy(), k)
        if np.shape(found) != (4, n):
            return f"return codes of shape (4, {n}) for 4 images; yours is {np.shape(found)}."
        if (np.count_nonzero(found, axis=1) > k).any():
            return f"more than k = {k} units speak for an image."
        for i in range(4):  # one image, one unit at a time
            left = x[i] - sum(a[i, j] * W[j] for j in range(n))
            u = np.array([a[i, j] + W[j] @ left / L for j in range(n)])
            chosen = np.argsort(-np.abs(u))[:k]
            if not np.isin(np.flatnonzero(found[i]), chosen).all():
                return "another choice of units is right: the k largest |u|, of either sign."
            if not np.allclose(found[i, chosen], u[chosen]):
                return "the right units speak, with wrong values: they keep those of u."
    return None


CHECKERS = {"13.1": _paired_difference, "13.2": _thresholding_step}
