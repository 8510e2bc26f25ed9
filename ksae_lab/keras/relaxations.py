"""The relaxations of `ksae_lab.nn.relaxations` as tensors; the backend finds their slopes.

Four of them are p = f(h/τ + t), with t such that a sum comes out. t is found without a gradient;
one step of Newton's method, which moves nothing, then gives it the slope of the exact solution.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from ksae_lab.keras.topk import top_k_mask

HALVINGS = 53  # one for each bit of a float64
TINY = 1e-30
HALF = ("float16", "bfloat16")


def shift_sigmoid(h: Any, k: Any, temperature: Any) -> Any:
    """p = σ(h/τ + t), which sums to k: h and p (batch, n).

    Chapter 7.
    """
    scores = _scores(h, temperature)
    count = ops.cast(k, scores.dtype)
    level = ops.log(count / (scores.shape[-1] - count))
    t = _shift(ops.sigmoid, level, scores, count)
    return _solved(ops.sigmoid, lambda s: ops.sigmoid(s) * ops.sigmoid(-s), scores, t, count)


def straight_through(h: Any, k: Any, temperature: Any) -> Any:
    """The top-k mask forwards, the gradient of `shift_sigmoid` backwards: h (batch, n).

    Chapter 7.
    """
    soft = shift_sigmoid(h, k, temperature)
    return ops.cast(top_k_mask(h, k), soft.dtype) + soft - ops.stop_gradient(soft)


def capped_simplex(h: Any, k: Any, temperature: Any) -> Any:
    """p = clip(h/τ + t, 0, 1), which sums to k: h and p (batch, n).

    Chapter 7.
    """
    scores = _scores(h, temperature)
    count = ops.cast(k, scores.dtype)
    t = _shift(_ramp, count / scores.shape[-1], scores, count)
    return _solved(_ramp, _inside, scores, t, count)


def sparsemax(h: Any, k: Any, temperature: Any) -> Any:
    """p = k relu(h/τ + t), which sums to k: h and p (batch, n).

    Chapter 7.
    """
    scores = _scores(h, temperature)
    ranked, r = _ranked(scores)
    t = -_last_below((ops.cumsum(ranked, axis=-1) - 1) / r, ranked)
    weights = _solved(ops.relu, lambda s: ops.cast(s > 0, s.dtype), scores, t, 1.0)
    return ops.cast(k, weights.dtype) * weights


def entmax15(h: Any, k: Any, temperature: Any) -> Any:
    """p = k relu(h/2τ + t)², which sums to k: h and p (batch, n).

    Chapter 7.
    """
    halves = _scores(h, temperature) / 2
    ranked, r = _ranked(halves)
    mean = ops.cumsum(ranked, axis=-1) / r
    deviation = ops.cumsum(ranked**2, axis=-1) - r * mean**2
    t = -_last_below(mean - ops.sqrt(ops.relu(1 - deviation) / r), ranked)
    weights = _solved(lambda s: ops.relu(s) ** 2, lambda s: 2 * ops.relu(s), halves, t, 1.0)
    return ops.cast(k, weights.dtype) * weights


def perturbed(h: Any, k: Any, temperature: Any, samples: int, seed: Any) -> Any:
    """The mean top-k mask of h + τ Z over draws of normal noise Z: h and p (batch, n).

    Its slope is the sample covariance of Z and the masks, over τ: a term that is zero carries it.

    Chapter 7.
    """
    Z = keras.random.normal((samples, *ops.shape(h)), dtype=h.dtype, seed=seed)
    masks = ops.cast(top_k_mask(ops.stop_gradient(h) + temperature * Z, k), h.dtype)
    mean = ops.mean(masks, axis=0)
    move = ops.sum(Z * (h - ops.stop_gradient(h)), axis=-1, keepdims=True)  # zero, with a slope
    return mean + ops.sum((masks - mean) * move, axis=0) / (samples - 1) / temperature


def gumbel_subset(h: Any, k: Any, temperature: Any, seed: Any) -> Any:
    """The sum of k softmaxes of h plus Gumbel noise, in turn: h and p (batch, n).

    On JAX k is a number, fixed when the graph is made: a loop of unknown length has no slope there.

    Chapter 7.
    """
    kind = "float32" if h.dtype in HALF else h.dtype  # to a half, TINY is zero
    uniform = keras.random.uniform(ops.shape(h), minval=TINY, maxval=1.0, dtype=kind, seed=seed)
    start = ops.cast(h, kind) - ops.log(-ops.log(uniform))
    temperature = ops.cast(temperature, kind)

    def draw(alpha: Any, total: Any) -> tuple[Any, Any]:
        a = ops.softmax(alpha / temperature, axis=-1)
        return alpha + ops.log(ops.maximum(1 - a, TINY)), total + a

    return ops.cast(_repeated(draw, k, (start, ops.zeros_like(start)), h.shape[-1])[1], h.dtype)


RELAXATIONS: dict[str, Callable[..., Any]] = {
    operator.__name__: operator
    for operator in (
        shift_sigmoid,
        straight_through,
        capped_simplex,
        sparsemax,
        entmax15,
        perturbed,
        gumbel_subset,
    )
}


def _repeated(step: Callable[..., Any], times: Any, state: tuple[Any, Any], most: int) -> Any:
    """The state after so many steps, `most` at the most, with a slope."""
    if isinstance(times, int):
        for _ in range(times):
            state = step(*state)
        return state
    return ops.while_loop(
        lambda i, *_: i < times,
        lambda i, *state: (i + 1, *step(*state)),
        (ops.zeros_like(times), *state),
        maximum_iterations=most,  # which XLA wants to know
    )[1:]


def _scores(h: Any, temperature: Any) -> Any:
    """h/τ less each row's largest, which changes no choice."""
    largest = ops.stop_gradient(ops.max(h, axis=-1, keepdims=True))
    return (h - largest) / ops.convert_to_tensor(temperature, h.dtype)


def _shift(f: Callable[[Any], Any], level: Any, scores: Any, total: Any) -> Any:
    """The t (batch, 1) at which f(scores + t) sums to `total`, by bisection, without a slope."""
    scores = ops.stop_gradient(scores)
    high = level - ops.min(scores, axis=-1, keepdims=True)
    low = ops.ones_like(high) * level

    def halve(_: Any, bounds: Any) -> Any:
        low, high = bounds
        middle = (low + high) / 2
        found = ops.sum(f(scores + middle), axis=-1, keepdims=True)
        return ops.where(found <= total, middle, low), ops.where(found >= total, middle, high)

    low, high = ops.fori_loop(0, HALVINGS, halve, (low, high))
    return ops.stop_gradient((low + high) / 2)


def _solved(
    f: Callable[[Any], Any], slope: Callable[[Any], Any], scores: Any, t: Any, total: Any
) -> Any:
    """f(scores + t), where t moves with the scores so that the sum stays `total`."""
    t = ops.stop_gradient(t)
    slopes = ops.stop_gradient(ops.sum(slope(scores + t), axis=-1, keepdims=True))
    residual = ops.sum(f(scores + t), axis=-1, keepdims=True) - total
    # Where a row is saturated nothing moves, and t neither.
    move = (residual - ops.stop_gradient(residual)) / ops.where(slopes > 0, slopes, 1)
    t = t - ops.where(slopes > 0, move, 0)
    return f(scores + t)


def _ramp(s: Any) -> Any:
    # Flat at 0 and 1 themselves, whatever the backend holds of clip there.
    return ops.where(_inside(s) > 0, s, ops.stop_gradient(ops.clip(s, 0, 1)))


def _inside(s: Any) -> Any:
    return ops.cast((s > 0) & (s < 1), s.dtype)


def _ranked(scores: Any) -> tuple[Any, Any]:
    """Each row from the largest down, without a slope, and 1, 2, …, n."""
    ranked = -ops.sort(-ops.stop_gradient(scores), axis=-1)
    return ranked, ops.cast(ops.arange(1, scores.shape[-1] + 1), scores.dtype)


def _last_below(thresholds: Any, ranked: Any) -> Any:
    """Of the thresholds (batch, n) for 1, 2, … units, the last that its smallest unit reaches."""
    support = ops.sum(ops.cast(thresholds <= ranked, "int32"), axis=-1, keepdims=True)
    return ops.take_along_axis(thresholds, support - 1, axis=-1)
