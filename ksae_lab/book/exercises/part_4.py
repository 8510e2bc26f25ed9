"""The exercises of Part IV, choosing k."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ksae_lab.evaluation.code_length import quantise


def _paired_difference(difference: Callable[..., Any]) -> str | None:
    from scipy.stats import ttest_rel

    for seed, seeds in [(0, 5), (1, 3), (2, 12)]:
        rng = np.random.default_rng(seed)
        a = rng.normal(size=seeds)
        b = a + 1 + 0.1 * rng.normal(size=seeds)
        low, high = ttest_rel(a, b).confidence_interval(0.95)
        result = difference(a.copy(), b.copy())
        if np.shape(result) != (2,):
            return "return two numbers: the mean of a − b, and half the width of its interval."
        if not np.isclose(result[0], (low + high) / 2):
            mean = (low + high) / 2
            return f"the mean difference of {seeds} pairs is {mean:.4f}, not {result[0]:.4f}."
        if np.isclose(result[1], high - low):
            return "that is the whole width; give half of it."
        if not np.isclose(result[1], (high - low) / 2):
            return (
                f"for {seeds} pairs half the interval is {(high - low) / 2:.4f}, not "
                f"{result[1]:.4f}: take the differences', with {seeds - 1} degrees of freedom."
            )
    return None


def _thresholding_step(step: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    for n, d, k in [(6, 9, 2), (20, 10, 5)]:
        W = rng.normal(size=(n, d))
        W /= np.linalg.norm(W, axis=1, keepdims=True)
        x, a = rng.normal(size=(4, d)), rng.normal(size=(4, n)) * (rng.random((4, n)) < 0.3)
        L = np.linalg.norm(W, 2) ** 2
        result = step(x.copy(), W.copy(), a.copy(), k)
        if np.shape(result) != (4, n):
            return f"return codes of shape (4, {n}) for 4 images; yours is {np.shape(result)}."
        if (np.count_nonzero(result, axis=1) > k).any():
            return f"more than k = {k} units speak for an image."
        for i in range(4):  # one image, one unit at a time
            left = x[i] - sum(a[i, j] * W[j] for j in range(n))
            u = np.array([a[i, j] + W[j] @ left / L for j in range(n)])
            chosen = np.argsort(-np.abs(u))[:k]
            if not np.isin(np.flatnonzero(result[i]), chosen).all():
                return "another choice of units is right: the k largest |u|, of either sign."
            if not np.allclose(result[i, chosen], u[chosen]):
                return "the right units speak, with wrong values: they keep those of u."
    return None


def _bits_of_names(bits: Callable[..., Any]) -> str | None:
    for n, k in [(5, 2), (100, 10), (100, 90), (784, 1), (7, 7), (1_000_000, 32)]:
        result, expected = bits(n, k), math.log2(math.comb(n, k))  # integers of any size
        if np.isclose(result, expected, atol=1e-6):
            continue
        if np.isclose(result, math.log2(math.perm(n, k))):
            return f"{result:.1f} bits tell the order of the {k} names, too; take its bits off."
        if np.isclose(result, expected * math.log(2)):
            return "these are natural logarithms; a bit is a logarithm to the base 2."
        return f"for {k} of {n} expected {expected:.2f} bits, got {result:.2f}."
    return None


def _bits_of_a_value(bits: Callable[..., Any]) -> str | None:
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


def _area(area: Callable[..., Any]) -> str | None:
    from scipy.stats import rankdata

    rng = np.random.default_rng(0)
    for known, strange in [
        (rng.normal(size=40), rng.normal(1, 1, size=25)),
        (rng.integers(4, size=30).astype(float), rng.integers(2, 6, size=50).astype(float)),
        (np.array([2.0, 2.0]), np.array([2.0])),
    ]:
        # By ranks: the strangers' sum of ranks, less what it is if they are all below.
        n = len(strange)
        ranks = rankdata(np.concatenate([known, strange]))[len(known) :]
        expected = (ranks.sum() - n * (n + 1) / 2) / (n * len(known))
        result = float(area(known.copy(), strange.copy()))
        if np.isclose(result, expected):
            continue
        if np.isclose(result, 1 - expected):
            return "the other way round: count the pairs in which the stranger's score is larger."
        ties = (known[:, None] == strange).mean()
        if ties and np.isclose(abs(result - expected), ties / 2):
            return "the pairs are right where scores differ; a tie counts half."
        return f"expected {expected:.4f}, got {result:.4f}: pair every stranger with every known."
    return None


def _shrink(shrink: Callable[..., Any]) -> str | None:
    for v, sigma in [(4.0, 0.5), (1.0, 1.0), (0.01, 0.4), (0.0, 0.3)]:
        # A parabola in f through three points: where is it lowest, and how low?
        f = np.array([0.0, 0.5, 1.0])
        a, b, c = np.polyfit(f, (1 - f) ** 2 * v + f**2 * sigma**2, 2)
        best, least = -b / (2 * a), c - b * b / (4 * a)
        result = shrink(v, sigma)
        if np.shape(result) != (2,):
            return "return two numbers: the factor and its error."
        if not np.isclose(result[0], best, atol=1e-9):
            if np.isclose(result[0], v / (v + sigma)):
                return "σ is a standard deviation; the noise has variance σ²."
            return f"for v = {v} and σ = {sigma} the best f is {best:.4f}, yours {result[0]:.4f}."
        if not np.isclose(result[1], least, atol=1e-9):
            return (
                f"f is right; its error for v = {v} and σ = {sigma} is {least:.4f}, "
                f"yours {result[1]:.4f}: what is (1 − f)² v + f² σ² there?"
            )
    return None


def _batch_mask(mask: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    ties = rng.integers(-3, 4, size=(8, 5)) / 2
    for h, k in [(rng.normal(size=(50, 6)), 2), (ties, 1), (ties, 4), (np.ones((3, 4)), 2)]:
        shape = h.shape
        # One by one: the largest that is left, the first of equals.
        left, expected = h.copy(), np.zeros(shape, bool)
        for _ in range(k * len(h)):
            place = np.unravel_index(left.argmax(), shape)
            expected[place] = h[place] > 0
            left[place] = -np.inf
        result = np.asarray(mask(h.copy(), k))
        if result.shape != shape or result.dtype != bool:
            return f"return booleans of shape {shape}, as h has."
        if (result & (h <= 0)).any():
            return "what is not above zero does not speak."
        if result.sum() != expected.sum():
            return (
                f"{expected.sum()} of {h.size} numbers are to be marked, you marked {result.sum()}."
            )
        if (result.sum(axis=1) != expected.sum(axis=1)).any():
            return "rank all numbers of the batch together, and mind the rule for ties."
        if (result != expected).any():
            return "of equal numbers, take the one of the earlier image, and further to the left."
    return None


def _threshold_slopes(slopes: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    for rows, n, bandwidth, price in [(40, 3, 0.5, 0.3), (200, 5, 2.0, 0.0), (64, 2, 0.8, 2.0)]:
        h, dz = rng.normal(size=(rows, n)), 0.01 * rng.normal(size=(rows, n))
        theta = rng.uniform(0.2, 1.0, size=n)

        settings = h, theta, bandwidth, dz, price

        def made_up(moved: np.ndarray, part: str, settings: tuple[Any, ...] = settings) -> Any:
            """The loss if the step were a ramp, and the jump as high as it is at theta."""
            h, theta, bandwidth, dz, price = settings
            ramp = np.clip((h - moved) / bandwidth + 0.5, 0, 1)
            gain = {"z": dz * theta, "count": price / len(h)}
            return (gain[part] * ramp).sum(axis=0)

        nudge = 1e-7
        parts = {
            part: (made_up(theta + nudge, part) - made_up(theta - nudge, part)) / (2 * nudge)
            for part in ("z", "count")
        }
        result = np.asarray(slopes(h.copy(), theta.copy(), dz.copy(), price, bandwidth))
        expected = parts["z"] + parts["count"]
        if result.shape != (n,):
            return f"return one slope for each threshold, of shape {(n,)}; yours is {result.shape}."
        if np.allclose(result, expected, atol=1e-5):
            continue
        if np.allclose(result, -expected, atol=1e-5):
            return "the sign: a higher threshold means fewer active units."
        if np.allclose(result, parts["z"] + rows * parts["count"], atol=1e-5):
            return "the price is paid for the mean number of active units of an image."
        if np.allclose(result, theta * expected, atol=1e-5):
            return "that is the slope of log θ; give that of θ."
        if np.allclose(result, parts["z"], atol=1e-5):
            return "the price is missing."
        return "who is within ε/2 of the threshold gives −θ/ε for z, and −1/ε for the count."
    return None


def _idle(idle: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    for missed, rate, beta_1, beta_2 in [
        (1, 0.1, 0.9, 0.999),
        (7, 0.01, 0.5, 0.9),
        (60, 1, 0.8, 1),
    ]:
        w, m, v = rng.normal(size=5), rng.normal(size=5), rng.uniform(0.1, 2, size=5)
        expected = [w.copy(), m.copy(), v.copy()]
        for _ in range(missed):  # one step after the other, each with a gradient of zero
            expected[1] *= beta_1
            expected[2] *= beta_2
            expected[0] -= rate * expected[1] / np.sqrt(expected[2])
        result = idle(w.copy(), m.copy(), v.copy(), missed, rate, beta_1, beta_2)
        if len(result) != 3 or any(np.shape(each) != w.shape for each in result):
            return "return w, m and v after the missed steps, three arrays of the shape of w."
        if not np.allclose(result[1], expected[1]) or not np.allclose(result[2], expected[2]):
            return f"in each of {missed} steps m keeps β₁ = {beta_1} of itself, and v keeps β₂."
        r = beta_1 / np.sqrt(beta_2)
        gone, right = w - result[0], w - expected[0]
        if np.allclose(gone, right):
            continue
        if np.allclose(gone * r, right):
            return "the first missed step already has a faded m: the series begins with r, not 1."
        if np.allclose(gone, rate * m / np.sqrt(v) * r / (1 - r)):
            return "that is where the weight comes to rest; it is given some steps only."
        return f"after {missed} steps w has gone {right[0]:.4f}, by your formula {gone[0]:.4f}."
    return None


def _break_even(break_even: Callable[..., Any]) -> str | None:
    for n, gflops, gbs in [(1000, 90.0, 30.0), (4096, 50.0, 100.0), (300, 1000.0, 40.0)]:
        batch, d = 16, 784
        product = 2 * batch * n * d / (gflops * 1e9)
        reading = [4 * batch * k * d / (gbs * 1e9) for k in range(n + 1)]
        expected = next((k for k, seconds in enumerate(reading) if seconds > product), n + 1)
        result = break_even(n, gflops, gbs)
        if result == expected:
            continue
        if abs(result - 4 * expected) <= 4:
            return "a float32 has four bytes."
        if abs(2 * result - expected) <= 2 or abs(result - 2 * expected) <= 2:
            return "a product multiplies and adds; gathering reads a weight once for both."
        if result == expected - 1:
            return (
                f"at k = {result} gathering does not yet lose; give the first k at which it does."
            )
        return (
            f"for n = {n}, {gflops:g} GFLOP/s and {gbs:g} GB/s expected {expected}, got {result}."
        )
    return None


def _candidates(candidates: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    for batch, n, k in [(20, 12, 3), (8, 40, 1), (5, 6, 6)]:
        score, eps = rng.normal(size=(batch, n)), rng.exponential(0.4, size=(batch, n))
        expected = np.empty((batch, n), bool)
        for r in range(batch):  # who can be among the k largest? All others as low as they can be.
            for u in range(n):
                best, rest = score[r, u] + eps[r, u], np.delete(score[r] - eps[r], u)
                expected[r, u] = (rest > best).sum() < k
        result = np.asarray(candidates(score.copy(), eps.copy(), k))
        if result.shape != score.shape or result.dtype != bool:
            return f"return booleans of shape {score.shape}, as the scores have."
        if (expected & ~result).any():
            return (
                "a unit was ruled out that may be among the k largest: whom are k units sure to "
                "beat, even if each of them is as low as it can be?"
            )
        if (result & ~expected).any():
            return (
                "nobody is missed, but some who are looked at cannot win: is there a higher bar "
                "that k units are sure to pass?"
            )
    return None


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "13.1": _paired_difference,
    "13.2": _thresholding_step,
    "14.1": _bits_of_names,
    "14.2": _bits_of_a_value,
    "15.1": _area,
    "15.2": _shrink,
    "16.1": _batch_mask,
    "16.2": _threshold_slopes,
    "17.1": _idle,
    "17.2": _break_even,
    "17.3": _candidates,
}
