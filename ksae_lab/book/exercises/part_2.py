"""The exercises of Part II, the masked gradient."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ksae_lab.nn import relaxations


def _three_slopes(slopes: Callable[..., Any]) -> str | None:
    for w, c in [(0.8, 0.25), (0.5, 0.0), (0.3, 1.0), (0.9, 1.7)]:
        x = np.linspace(0, 1, 200_001)

        def average(v: float, c: float = c, x: np.ndarray = x) -> float:
            return float(np.mean(np.where(x < v, (x - c * v) ** 2, 0)))

        true = (average(w + 1e-2) - average(w - 1e-2)) / 2e-2
        averaged = float(np.mean(np.where(x < w, -2 * c * (x - c * w), 0)))
        expected = {"average of the gradients": averaged, "border": true - averaged, "slope": true}
        result = slopes(w, c)
        if np.shape(result) != (3,):
            return "return three numbers: the averaged gradient, the border's term, the true slope."
        for (name, right), claimed in zip(expected.items(), result, strict=True):
            if not np.isclose(claimed, right, atol=1e-3):
                return f"for w = {w} and c = {c} the {name} is {right:.3f}, yours is {claimed:.3f}."
    return None


def _no_jump(names: set[str]) -> str | None:
    if not isinstance(names, set):
        return "answer with a set of letters, such as {'b', 'c'}."
    if "b" in names:
        return "in (b), a long row is louder than a short one that would draw better."
    if "c" in names:
        return "in (c), the two loudest may both say the same thing, and a third draw better."
    return None if names == {"a", "d"} else "where are the loudest units always the best ones?"


def _louder(louder: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    x, W_enc, b_enc, W_dec = (rng.normal(size=shape) for shape in [(9, 5), (5, 4), (4,), (4, 5)])
    for unit, factor in [(0, 3.0), (3, 0.2)]:
        given = W_enc.copy(), b_enc.copy(), W_dec.copy()
        new_enc, new_b, new_dec = louder(*given, unit, factor)
        if any((a != b).any() for a, b in zip(given, (W_enc, b_enc, W_dec), strict=True)):
            return "return new arrays, and leave those that you were given as they were."
        before, after = np.maximum(x @ W_enc + b_enc, 0), np.maximum(x @ new_enc + new_b, 0)
        scale = np.where(np.arange(4) == unit, factor, 1)
        if not np.allclose(after, before * scale):
            return (
                f"every z of unit {unit} should be {factor} times as large, the others as before."
            )
        if not np.allclose(after[..., None] * new_dec, before[..., None] * W_dec):
            return "what each unit contributes to the image has changed."
    return None


def _tied_gradient(gradient: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    x, W = rng.normal(size=(6, 5)), rng.normal(size=(3, 5))

    def loss(W: np.ndarray) -> float:
        return np.mean((np.maximum(x @ W.T, 0) @ W - x) ** 2)

    h = x @ W.T
    z = np.maximum(h, 0)
    d_x_hat = 2 * (z @ W - x) / x.size
    dh = d_x_hat @ W.T * (h > 0)
    expected = np.empty_like(W)
    for i in np.ndindex(W.shape):
        nudge = np.zeros_like(W)
        nudge[i] = 1e-6
        expected[i] = (loss(W + nudge) - loss(W - nudge)) / 2e-6
    result = np.asarray(gradient(x.copy(), z.copy(), dh.copy(), d_x_hat.copy()))
    if result.shape != W.shape:
        return f"expected the shape of W, {W.shape}, got {result.shape}."
    if np.allclose(result, expected, atol=1e-6):
        return None
    parts = {"decoder": z.T @ d_x_hat, "encoder": dh.T @ x}
    for name, part in parts.items():
        if np.allclose(result, part):
            return f"this is the {name}'s share; W is used twice."
    return "W is used twice: which gradient does each use give, in the shape of W?"


def _stops_nothing(names: set[str]) -> str | None:
    if not isinstance(names, set):
        return "answer with a set of letters, such as {'b', 'c'}."
    if names & {"a", "b"}:
        return "in (a) and (b): what came back through the mask before it was stopped?"
    if "d" in names:
        return "in (d), is it W that the path through x leads to?"
    return None if names == {"c"} else "by which path does W reach z?"


def _encode_with(encode_with: Callable[..., Any]) -> str | None:
    from ksae_lab.keras.models import KSparseAutoencoder
    from ksae_lab.models.k_sparse import KSparseAutoencoder as InNumpy

    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 5)).astype(np.float32)
    for k, alpha in [(3, 1.0), (3, 2.0), (2, 1.5), (4, 1.25)]:
        numpy_model = InNumpy(5, 8, k, "linear", rng=rng)
        model = KSparseAutoencoder.from_numpy(numpy_model)
        result = encode_with(model, x.copy(), alpha)
        if model.k != k:
            return f"the model came with k = {k} and is left with k = {model.k}."
        if not isinstance(result, np.ndarray):
            return f"expected a NumPy array, got {type(result).__name__}."
        numpy_model.k = round(alpha * k)
        expected = numpy_model.encode(x)
        if result.shape != expected.shape:
            return f"expected codes of shape {expected.shape}, got {result.shape}."
        active = np.count_nonzero(result, axis=1).max()
        if active != numpy_model.k:
            return f"k = {k} and alpha = {alpha}: {active} units speak, expected {numpy_model.k}."
        if not np.allclose(result, expected, atol=1e-5):
            return "the right number of units speak, but they do not say the right numbers."
    return None


def _who_is_asked(temperatures: tuple[float, float]) -> str | None:
    h = np.array([[3.0, 2.0, 1.0, 0.0]])

    def in_between(temperature: float) -> int:
        p, _ = relaxations.capped_simplex(h, 2, temperature=temperature)
        return int(np.count_nonzero((p > 1e-9) & (p < 1 - 1e-9)))

    if np.shape(temperatures) != (2,):
        return "answer with two temperatures, such as (0.2, 5)."
    nobody, everybody = temperatures
    if not 0 < nobody < everybody:
        return "both are above 0, and the second is the higher one."
    if in_between(0.99 * nobody) > 0 or in_between(1.01 * nobody) == 0:
        return "the ramp is as wide as the temperature: when does it fit between the middle two?"
    if in_between(0.99 * everybody) == 4 or in_between(1.01 * everybody) < 4:
        return "the ramp lies evenly around the line: when does it reach the first and the last?"
    return None


def _slope_of_the_choice(backward: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    h, dp, epsilon = rng.normal(size=(5, 7)), rng.normal(size=(5, 7)), 1e-5
    for temperature in (1.0, 0.3):

        def payoff(h: np.ndarray, temperature: float = temperature) -> float:
            return (relaxations.shift_sigmoid(h, 3, temperature=temperature)[0] * dp).sum()

        expected = np.empty_like(h)
        for i in np.ndindex(h.shape):
            nudge = np.zeros_like(h)
            nudge[i] = epsilon
            expected[i] = (payoff(h + nudge) - payoff(h - nudge)) / (2 * epsilon)
        p, _ = relaxations.shift_sigmoid(h, 3, temperature=temperature)
        result = np.asarray(backward(p.copy(), dp.copy(), temperature))
        if result.shape != h.shape:
            return f"expected an array of shape {h.shape}, got {result.shape}."
        if np.allclose(result, expected, atol=1e-6):
            continue
        if np.allclose(result / temperature, expected, atol=1e-6):
            return "when h rises by 1, h / temperature rises by 1 / temperature."
        if np.allclose(result, p * (1 - p) * dp / temperature, atol=1e-6):
            return "p sums to k: when one unit rises, t gives way, and the others pay for it."
        row = np.abs(result - expected).max(axis=1).argmax()
        return f"for p = {p[row].round(2)} the slopes are {expected[row].round(2)}."
    return None


def _which_remedy(names: set[str]) -> str | None:
    if not isinstance(names, set):
        return "answer with a set of names, such as {'AuxK', 'diversity'}."
    hints = {
        "curriculum": "selected or not, what does relu make of a number below zero, and its slope?",
        "AuxK": "AuxK reads the dead units through relu.",
        "diversity": "diversity looks at codes: what is this unit's code?",
    }
    for name in sorted(names):
        if name != "resets":
            return hints.get(name, f"{name!r} is none of the four.")
    return None if names else "one of them asks for no gradient."


def _aux_gradients(gradients: Callable[..., Any]) -> str | None:
    rng = np.random.default_rng(0)
    arrays = {"h": rng.normal(size=(6, 4)), "W": rng.normal(size=(4, 5))}
    e = rng.normal(size=(6, 5))

    def loss() -> float:
        return float(np.mean((np.maximum(arrays["h"], 0) @ arrays["W"] - e) ** 2))

    result = gradients(arrays["h"].copy(), e.copy(), arrays["W"].copy())
    if len(result) != 2:
        return "return two arrays, the gradients with respect to h and to W."
    for (name, array), claimed in zip(arrays.items(), result, strict=True):
        if np.shape(claimed) != array.shape:
            return f"the gradient for {name} should have its shape, {array.shape}."
        for i in np.ndindex(array.shape):
            original, ends = array[i], []
            for array[i] in (original + 1e-6, original - 1e-6):
                ends.append(loss())
            array[i] = original
            slope = (ends[0] - ends[1]) / 2e-6
            if not np.isclose(claimed[i], slope, atol=1e-6):
                place = ", ".join(map(str, i))
                return f"for {name}[{place}] the slope is {slope:.4f}, yours is {claimed[i]:.4f}."
    return None


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "4.1": _three_slopes,
    "4.2": _no_jump,
    "5.1": _louder,
    "5.2": _tied_gradient,
    "6.1": _stops_nothing,
    "6.2": _encode_with,
    "7.1": _who_is_asked,
    "7.2": _slope_of_the_choice,
    "8.1": _which_remedy,
    "8.2": _aux_gradients,
}
