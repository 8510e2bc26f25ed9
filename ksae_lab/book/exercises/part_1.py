"""The exercises of Part I, the problem."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ksae_lab.nn.topk import top_k_mask


def _best_constant(answer: str) -> str | None:
    hints = {
        "median": None,
        "mean": "it minimises the mean of (x − p)²; here the difference is not squared.",
        "black": "make one pixel brighter: for which digits does the error fall?",
    }
    return hints.get(answer, "answer 'black', 'median' or 'mean'.")


def _error_without_reconstruction(error: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    for d, n, k in [(6, 6, 2), (9, 4, 3), (5, 3, 0)]:
        axes = np.linalg.qr(rng.normal(size=(d, d)))[0][:n]
        x = rng.normal(size=(8, d))
        c = x @ axes.T
        z = np.where(top_k_mask(c, k, by="magnitude"), c, 0)
        expected = np.mean((z @ axes - x) ** 2)
        result = error(x.copy(), c.copy(), k)
        if np.shape(result) != ():
            return f"expected a single number, got an array of shape {np.shape(result)}."
        if not np.isclose(result, expected):
            return (
                f"for {n} axes in {d} dimensions and k = {k} the reconstruction's error is "
                f"{expected:.4f}, yours is {result:.4f}. Mind the part that no axis sees."
            )
    return None


def _threshold_count(answer: int) -> str | None:
    h, k = np.zeros(4), 2
    right = np.count_nonzero(h >= np.sort(h)[-k])
    return None if answer == right else "sort the four numbers: how many reach the second one?"


def _top_k_by_sorting(mask_of: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    for n, k in [(5, 0), (5, 1), (5, 3), (5, 5), (100, 10)]:
        h = rng.integers(-2, 3, (200, n)).astype(float)
        mask = np.asarray(mask_of(h.copy(), k))
        if mask.shape != h.shape or mask.dtype != bool:
            return f"expected a boolean array of shape {h.shape}, got {mask.dtype} {mask.shape}."
        if not (mask.sum(axis=1) == k).all():
            return f"some row keeps {mask.sum(axis=1).max()} units where k = {k}."
        wrong = (mask != top_k_mask(h, k)).any(axis=1)
        if wrong.any():
            row = h[wrong][0]
            return f"k = {k}, h = {row}: keep {np.flatnonzero(top_k_mask(row, k))}, lowest first."
    return None


def _self_masking(names: set[str]) -> str | None:
    right = {"softplus", "squared relu"}
    if not isinstance(names, set):
        return "answer with a set of names, such as {'softsign', 'arctan'}."
    if extra := names - right:
        return f"what is the derivative of {min(extra)} where its output is 0?"
    return "there is one more." if names < right else None


def _gradient_of_top_k(backward: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    h, dz, epsilon = rng.normal(size=(4, 6)), rng.normal(size=(4, 6)), 1e-6

    def loss(h: np.ndarray) -> float:
        return (np.where(top_k_mask(h, 2), h, 0) * dz).sum()

    expected = np.empty_like(h)
    for i in np.ndindex(h.shape):
        nudge = np.zeros_like(h)
        nudge[i] = epsilon
        expected[i] = (loss(h + nudge) - loss(h - nudge)) / (2 * epsilon)
    result = np.asarray(backward(h.copy(), 2, dz.copy()))
    if result.shape != h.shape:
        return f"expected an array of shape {h.shape}, got {result.shape}."
    if not np.allclose(result, expected, atol=1e-6):
        row = np.abs(result - expected).max(axis=1).argmax()
        return f"for h = {h[row].round(2)} the slopes are {expected[row].round(2)}."
    return None


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "1.1": _best_constant,
    "1.2": _error_without_reconstruction,
    "2.1": _threshold_count,
    "2.2": _top_k_by_sorting,
    "3.1": _self_masking,
    "3.2": _gradient_of_top_k,
}
