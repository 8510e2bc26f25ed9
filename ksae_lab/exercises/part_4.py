"""The exercises of Part IV, choosing k."""

import math
from collections.abc import Callable

import numpy as np

from ksae_lab.code_length import quantise


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


def _bits_of_names(bits: Callable) -> str | None:
    for n, k in [(5, 2), (100, 10), (100, 90), (784, 1), (7, 7), (1_000_000, 32)]:
        found, expected = bits(n, k), math.log2(math.comb(n, k))  # integers of any size
        if np.isclose(found, expected, atol=1e-6):
            continue
        if np.isclose(found, math.log2(math.perm(n, k))):
            return f"{found:.1f} bits tell the order of the {k} names, too; take its bits off."
        if np.isclose(found, expected * math.log(2)):
            return "these are natural logarithms; a bit is a logarithm to the base 2."
        return f"for {k} of {n} expected {expected:.2f} bits, got {found:.2f}."
    return None


def _bits_of_a_value(bits: Callable) -> str | None:
    rng = np.random.default_rng(0)
    for extra, top, k, d in [(1e-4, 4.0, 10, 784), (3e-5, 1.0, 5, 49), (1e-5, 7.0, 20, 196)]:
        step = top / 2.0 ** bits(extra, top, k, d)
        values = rng.uniform(0, top, size=(40_000, k))
        added = np.mean((quantise(values, step) * step - values) ** 2) * k / d
        if not np.isclose(added, extra, rtol=0.05):
            way = "more" if added > extra else "fewer"
            return (
                f"with {k} numbers up to {top:g}, your bits give a step of {step:.3f}, "
                f"which adds {added:.2g} instead of {extra:.2g}: {way} bits."
            )
    return None


CHECKERS = {
    "13.1": _paired_difference,
    "13.2": _thresholding_step,
    "14.1": _bits_of_names,
    "14.2": _bits_of_a_value,
}
