"""The exercises of Part III, SparseDream."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.metrics import dead_units
from ksae_lab.models.foldiak import Foldiak, bar_patterns, bars
from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.models.sparse_dream_2020 import update_2020


def _lengths_after_one_step(step: Callable[..., Any]) -> str | None:
    for length, rate in [(1.0, 0.1), (0.5, 0.01), (2.0, 0.001), (0.0, 1.0)]:
        w = length * np.array([0.6, 0.0, -0.8])  # any direction will do
        fading = np.linalg.norm(w - rate * 4 * (w @ w) * w)
        wanted = np.linalg.norm(w - rate * 4 * (w @ w - 1) * w)
        result = step(length, rate)
        if np.shape(result) != (2,):
            return "return two lengths: as found, and as wanted."
        if not np.isclose(result[0], fading):
            return f"as found, {length} becomes {fading:.5f} at rate {rate}, yours {result[0]:.5f}."
        if not np.isclose(result[1], wanted):
            return (
                f"as wanted, {length} becomes {wanted:.5f} at rate {rate}, yours {result[1]:.5f}: "
                "what is the derivative of (‖w‖² − 1)²?"
            )
    return None


def _harmless_share(answer: float) -> str | None:
    x = load_dataset("mnist5k").x_train.astype(np.float64)
    before, after = (
        SparseDream(784, 100, init="as_found", rng=np.random.default_rng(1), dtype=np.float64)
        for _ in range(2)
    )
    update_2020(after, x[:1])
    step = {name: after.parameters[name] - w for name, w in before.parameters.items()}
    start = {name: w.copy() for name, w in before.parameters.items()}
    alive = dead_units(before.encode(x))

    def killed(share: float) -> int:
        for name, w in before.parameters.items():
            w[...] = start[name] + share * step[name]
        return dead_units(before.encode(x)) - alive

    if killed(answer) > 5:
        return f"at a share of {answer:g} {killed(answer)} units die; go on halving."
    if killed(2 * answer) <= 5:
        return (
            f"a share of {2 * answer:g} kills only {killed(2 * answer)}; {answer:g} is too small."
        )
    return None


def _missing_length_piece(piece: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    for shape in [(3, 4), (20, 49)]:
        W = rng.normal(size=shape)
        result = np.asarray(piece(W.copy()))
        if result.shape != shape:
            return f"for W of shape {shape} expected the same shape, got {result.shape}."
        lengths = (W**2).sum(axis=1, keepdims=True)
        if not np.allclose(result, 4 * (lengths - 1) * W - 4 * lengths * W):
            return "divide measured − claimed by W, number by number, and look at the result."
    return None


def _reading_part(part: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    n, d = 6, 5
    for _ in range(5):
        W, S, b, x = (rng.normal(size=shape) for shape in [(n, d), (n, n), (n,), (d,)])

        def image_term(W_read: np.ndarray, given: tuple[np.ndarray, ...] = (W, S, b, x)) -> float:
            W, S, b, x = given
            a = np.maximum(S @ np.maximum(W_read @ x, 0) + b, 0)
            return np.sum((a @ W - x) ** 2)

        nudges = 1e-6 * np.eye(n * d).reshape(-1, n, d)
        slopes = [(image_term(W + by) - image_term(W - by)) / 2e-6 for by in nudges]
        expected = np.reshape(slopes, (n, d))
        result = np.asarray(part(W.copy(), S.copy(), b.copy(), x.copy()))
        if result.shape != (n, d):
            return f"expected an array of shape {(n, d)}, got {result.shape}."
        if not np.allclose(result, expected, atol=1e-4):
            return "nudge only the W that reads; mind both relus, and which way S is passed."
    return None


def _two_units(laterals: Callable[..., Any]) -> str | None:
    for c in (0.1, 0.5, 0.9):
        result = laterals(c)
        if np.shape(result) != (2,):
            return "return a pair: S_12 and S_21."
        for name, weight in zip(("S_12", "S_21"), result, strict=True):
            if max(weight * 1 + c, 0) > 1e-9:
                return f"with an overlap of {c} and {name} = {weight:.3f} the other still speaks."
            if max((weight + 1e-6) * 1 + c, 0) == 0:
                return f"with an overlap of {c} less than {name} = {weight:.3f} is enough."
    return None


def _without_a_price(answer: str) -> str | None:
    hints = {
        "a": "relu still silences: who sees little, or hears inhibition, says nothing.",
        "b": None,
        "c": "what would draw the digit then? Nothing asks them to be quiet.",
    }
    return hints.get(answer, "answer 'a', 'b' or 'c'.")


def _lca_step(step: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    for rows, n, d in [(5, 8, 6), (4, 3, 7)]:
        W = rng.normal(size=(n, d))
        W /= np.linalg.norm(W, axis=1, keepdims=True)
        u, x = rng.normal(size=(rows, n)), rng.normal(size=(rows, d))
        sparsity, rate = 0.3, 0.1
        a = np.where(u > sparsity, u - sparsity, 0)
        # Without W Wᵀ: a unit hears what nobody has drawn yet, and what it draws itself.
        expected = (1 - rate) * u + rate * ((x - a @ W) @ W.T + a)
        result = np.asarray(step(u.copy(), x.copy(), W.copy(), sparsity, rate))
        if result.shape != u.shape:
            return f"expected the next states, of shape {u.shape}, got {result.shape}."
        if np.allclose(result, expected):
            continue
        if np.allclose(result, expected - rate * a):
            return "a unit does not hush itself: take the diagonal out."
        if np.allclose(result, np.maximum(expected - sparsity, 0)):
            return "return the states u, not the code."
        return "mind the sign of the lateral weights, the leak −u, and that a is relu(u − λ)."
    return None


def _bars_without_hushing(answer: int) -> str | None:
    rng = np.random.default_rng(0)
    net = Foldiak(64, 16, 1 / 8, alpha=0, beta=0, gamma=0.1, rng=rng, dtype=np.float64)
    for step in range(300):
        net.beta, net.gamma = (0, 0.1) if step < 100 else (0.02, 0.02)
        net.learn(bars(1 if step < 100 else 10, 8, 1 / 8, rng).astype(np.float64))
    q = net.q - net.q.mean(axis=1, keepdims=True)
    p = bar_patterns(8) - 1 / 8  # every bar fills an eighth of the picture
    likeness = q @ p.T / np.outer(np.linalg.norm(q, axis=1), np.linalg.norm(p, axis=1))
    if answer == int((likeness > 0.9).any(axis=0).sum()):
        return None
    return "without lateral weights, what makes two units answer to different pictures?"


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "9.1": _lengths_after_one_step,
    "9.2": _harmless_share,
    "10.1": _missing_length_piece,
    "10.2": _reading_part,
    "11.1": _two_units,
    "11.2": _without_a_price,
    "12.1": _lca_step,
    "12.2": _bars_without_hushing,
}
