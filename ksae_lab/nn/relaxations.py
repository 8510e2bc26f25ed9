"""Soft answers to "which k?": relaxations of top-k selection, forward beside backward.

Each takes pre-activations h (batch, n) and returns weights p (batch, n), which sum to k in
every row, and a function: `backward(dp)` is ∂L/∂h (batch, n) for ∂L/∂p (batch, n).
p and ∂L/∂h have the dtype of h; what lies between is computed in float64.
A code z = φ(h) ⊙ p then has ∂L/∂h = dz ⊙ φ′(h) ⊙ p + backward(dz ⊙ φ(h)):
what the units say, and which of them are heard.

Four of the relaxations are one formula, p = c f(h/τ + t), with τ the temperature, f a rising
function of one number, and t one shift for the whole row, chosen so that p sums to k:

    shift_sigmoid: f a sigmoid       capped_simplex: f a ramp from 0 to 1
    sparsemax: f = relu, c = k       entmax15: f = relu² (of half the score), c = k

When one score rises, t gives way and pushes the others down. With v the slopes of f at the
shifted scores, ∂t/∂(h/τ) = −v/Σv, so the Jacobian is c (diag(v) − v vᵀ/Σv)/τ.
"""

import math
from collections.abc import Callable

import numpy as np

from ksae_lab.nn import activations
from ksae_lab.nn.checks import Rng, generator, positive, whole
from ksae_lab.nn.inputs import real
from ksae_lab.nn.topk import top_k_mask

Relaxed = tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]


def hard(h: np.ndarray, k: int) -> Relaxed:
    """The top-k mask of h (batch, n) as zeros and ones, and a backward that returns zeros.

    The mask is constant wherever it does not jump, so zero is its derivative almost everywhere.
    In a code this leaves dz ⊙ φ′(h) ⊙ p: the masked gradient.

    Raises `TypeError` and `ValueError` as `top_k_mask` does.

    Source: Makhzani & Frey (2013).
    Chapter 7.
    """
    mask = top_k_mask(h, k)
    return mask.astype(real(h).dtype), np.zeros_like


def shift_sigmoid(h: np.ndarray, k: int, *, temperature: float) -> Relaxed:
    """p = σ(h/τ + t) for h (batch, n): every unit is a little selected, none more than once.

    t is found by bisection. This is also the unsorted SOFT top-k of optimal transport:
    n units share out their mass to two places, 0 and 1, of which the second takes k/n, at a
    squared cost and with entropy weight 2τ; Sinkhorn's iterations compute the same p.
    p tends to the top-k mask as the temperature falls, and to k/n as it rises.

    Raises `ValueError` for a temperature that is not above 0, k outside 1…n−1, or an h that is
    not (batch, n), not finite or does not hold floats, and `TypeError` for a k that is no integer.

    Source: Amos, Koltun & Kolter (2019) and Ahle's note on differentiable top-k for the shift,
    Xie et al. (2020) for the transport.
    Chapter 7.
    """
    scores = _scores(h, k, temperature)
    sigmoid = activations.get("sigmoid")
    shifted = scores + _shift(sigmoid, math.log(k / (h.shape[1] - k)), scores, k)
    return sigmoid(shifted).astype(h.dtype), _weigh(sigmoid.derivative(shifted), temperature, h)


def straight_through(h: np.ndarray, k: int, *, temperature: float) -> Relaxed:
    """The top-k mask of h (batch, n) forwards, the gradient of `shift_sigmoid` backwards.

    The code has exactly k units, and the gradient is that of another function: it is biased,
    but a unit that was not selected gets a slope, too.

    Raises what `shift_sigmoid` raises.

    Source: Bengio, Léonard & Courville (2013) for the idea.
    Chapter 7.
    """
    _, backward = shift_sigmoid(h, k, temperature=temperature)
    p, _ = hard(h, k)
    return p, backward


def capped_simplex(h: np.ndarray, k: int, *, temperature: float) -> Relaxed:
    """p = clip(h/τ + t, 0, 1): of all weights in [0, 1] that sum to k, the nearest to h/τ.

    h and p are (batch, n). t is found by bisection. A unit at 0 or 1 has slope zero, so only
    those in between learn about the choice: each by its own dp less their mean.
    When the gap between the k-th and the next score reaches τ, p is the top-k mask and there
    are none in between.

    Raises what `shift_sigmoid` raises.

    Source: Wang & Lu (2015).
    Chapter 7.
    """
    scores = _scores(h, k, temperature)
    p = _ramp(scores + _shift(_ramp, k / h.shape[1], scores, k))
    return p.astype(h.dtype), _weigh((p > 0) & (p < 1), temperature, h)


def sparsemax(h: np.ndarray, k: int, *, temperature: float) -> Relaxed:
    """k times the point of the simplex nearest to h/τ: p = k relu(h/τ + t), h (batch, n).

    The sum is k, but the rest is not top-k's: the data, not k, decide how many weights are above
    zero, and a weight may be as large as k. As τ falls, one unit gets all of it.
    For r units above zero, −t = (their sum − 1)/r. Sorting tries every r at once:
    the right one is the largest whose smallest unit is still above −t.

    Raises what `shift_sigmoid` raises.

    Source: Martins & Astudillo (2016).
    Chapter 7.
    """
    scores = _scores(h, k, temperature)
    ranked, r = -np.sort(-scores, axis=1), np.arange(1, h.shape[1] + 1)
    thresholds = (ranked.cumsum(axis=1) - 1) / r
    p = np.maximum(scores - _last_below(thresholds, ranked), 0)
    return (k * p).astype(h.dtype), _weigh(p > 0, temperature / k, h)


def entmax15(h: np.ndarray, k: int, *, temperature: float) -> Relaxed:
    """k times the 1.5-entmax of h/τ: p = k relu(h/2τ + t)², between softmax and `sparsemax`.

    h and p are (batch, n). As in `sparsemax` the data decide how many weights are above zero,
    and a weight may be as large as k.
    For r units above zero, whose x = h/2τ have mean m and summed squared deviation S,
    Σ (x + t)² = 1 is solved by −t = m − √((1 − S)/r); the right r is found as in `sparsemax`.

    Raises what `shift_sigmoid` raises.

    Source: Peters, Niculae & Martins (2019).
    Chapter 7.
    """
    halves = _scores(h, k, temperature) / 2
    ranked, r = -np.sort(-halves, axis=1), np.arange(1, h.shape[1] + 1)
    mean = ranked.cumsum(axis=1) / r
    S = (ranked**2).cumsum(axis=1) - r * mean**2
    thresholds = mean - np.sqrt(np.maximum(1 - S, 0) / r)
    root = np.maximum(halves - _last_below(thresholds, ranked), 0)
    return (k * root**2).astype(h.dtype), _weigh(root, temperature / k, h)


def perturbed(h: np.ndarray, k: int, *, temperature: float, samples: int, rng: Rng) -> Relaxed:
    """The mean top-k mask of h + τ Z over `samples` draws of normal noise Z, h (batch, n).

    The mask jumps, but its expectation is smooth, and integration by parts moves the derivative
    from the mask to the normal density: with the payoff F = Σ mask ⊙ dp of a row,
    ∂E[F]/∂h = E[Z F]/τ. As E[Z] = 0, any constant may be taken from F to calm the estimate.
    The mean payoff of the same draws is not quite a constant, as each draw has its share in it;
    dividing by samples − 1 corrects for that, and makes this the sample covariance of Z and F,
    over τ: unbiased. Keeps samples · batch · n draws until the backward pass.

    Raises what `shift_sigmoid` raises, and `ValueError` for fewer than two samples.

    Source: Berthet et al. (2020).
    Chapter 7.
    """
    _scores(h, k, temperature)
    whole(samples, "samples", 2)  # one alone has no covariance with its noise
    Z = generator(rng).standard_normal((samples, *h.shape))
    masks = top_k_mask(h + temperature * Z, k).astype(h.dtype)

    def backward(dp: np.ndarray) -> np.ndarray:
        payoff = np.einsum("mbi,bi->mb", masks, dp)
        covariance = np.einsum("mb,mbi->bi", payoff - payoff.mean(axis=0), Z) / (samples - 1)
        return (covariance / temperature).astype(h.dtype)

    return masks.mean(axis=0), backward


def gumbel_subset(h: np.ndarray, k: int, *, temperature: float, rng: Rng) -> Relaxed:
    """The sum of k softmaxes of h plus Gumbel noise, each after the one before has had its pick.

    h and p are (batch, n). With α₁ = h + noise: a_j = softmax(α_j/τ), α_{j+1} = α_j + log(1 − a_j).
    As τ falls, p tends to the top-k mask of h + noise, a draw of k units without replacement,
    not to that of h. A pick lowers a unit's score by (its lead over the others)/τ or so: after a
    narrow lead, or at a high τ, it may be picked again, and its weight may exceed 1.
    Keeps 2 k · batch · n numbers until the backward pass.

    Raises what `shift_sigmoid` raises.

    Source: Xie & Ermon (2019).
    Chapter 7.
    """
    _scores(h, k, temperature)
    alpha = h + generator(rng).gumbel(size=h.shape)
    rounds = []
    for _ in range(k):
        a = np.exp((alpha - alpha.max(axis=1, keepdims=True)) / temperature)
        a /= a.sum(axis=1, keepdims=True)
        rest = _of_others(a, a)
        rounds.append((a, rest))
        with np.errstate(divide="ignore"):
            alpha = alpha + np.log(rest)  # where nothing is left for others, −∞ bars the unit

    def backward(dp: np.ndarray) -> np.ndarray:
        dalpha = np.zeros(h.shape)
        for a, rest in reversed(rounds):
            # With da = dp − dα/(1 − a), softmax gives a (da − Σ a da): multiply out, collect da.
            # The bound is for units that no later round reached: their dα is 0, their 1 − a may be.
            others = _of_others(a * (dp - dalpha / np.maximum(rest, 1e-290)), a)
            dalpha += a * (rest * dp - dalpha - others) / temperature
        return dalpha.astype(h.dtype)

    return sum((a for a, _ in rounds), np.zeros_like(h)).astype(h.dtype), backward


RELAXATIONS: dict[str, Callable[..., Relaxed]] = {
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


def _scores(h: np.ndarray, k: int, temperature: float) -> np.ndarray:
    """h/τ in float64, less each row's largest, once it is sure that something can be made of it.

    What all units have in common changes no choice, and would drown small differences in sums.
    """
    if type(h) is not np.ndarray or h.ndim != 2 or h.dtype.kind != "f":
        given = f"{h.dtype} of shape {h.shape}" if hasattr(h, "dtype") else type(h).__name__
        raise ValueError(f"h is {given}; expected floats of (batch, n), in a NumPy array.")
    n = h.shape[1]
    top_k_mask(np.zeros(n), k)  # says what is wrong with most impossible k
    if not 1 <= k < n:
        raise ValueError(f"k = {k} of {n} leaves nothing to choose; take 0 < k < {n}, or `hard`.")
    positive(temperature, "temperature")
    with np.errstate(over="ignore", invalid="ignore"):
        scores = (h.astype(np.float64) - h.max(axis=1, keepdims=True)) / temperature
    if not np.isfinite(scores).all():
        raise ValueError(
            "h / temperature holds NaN or infinity. If h does, look for it in the data or lower "
            "the learning rate; if not, raise the temperature."
        )
    return scores


def _shift(
    f: Callable[[np.ndarray], np.ndarray], level: float, scores: np.ndarray, k: int
) -> np.ndarray:
    """The t (batch, 1) at which f(scores + t) sums to k, by bisection; f(level) is k/n.

    The largest score, which is 0, at that level is too little for a row, the smallest too much.
    A float64 has 53 bits, and each halving settles one.
    """
    high = level - scores.min(axis=1, keepdims=True)
    low = np.full_like(high, level)
    for _ in range(53):
        middle = (low + high) / 2
        total = f(scores + middle).sum(axis=1, keepdims=True)
        # A row that hits k stays there. On a plateau of solutions that is inside, not on its edge,
        # where a tie would look like units in between.
        low = np.where(total <= k, middle, low)
        high = np.where(total >= k, middle, high)
    return (low + high) / 2


def _weigh(v: np.ndarray, temperature: float, h: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The backward pass that four share: a unit's dp counts by how far it beats the others'.

    v (batch, n) are the slopes; a row without any has nothing to learn about its choice.
    """
    share = v / np.maximum(v.sum(axis=1, keepdims=True), np.finfo(float).tiny)

    def backward(dp: np.ndarray) -> np.ndarray:
        others = (share * dp).sum(axis=1, keepdims=True)
        return (v * (dp - others) / temperature).astype(h.dtype)

    return backward


def _ramp(scores: np.ndarray) -> np.ndarray:
    return np.clip(scores, 0, 1)


def _last_below(thresholds: np.ndarray, ranked: np.ndarray) -> np.ndarray:
    """Of the thresholds (batch, n) for 1, 2, … units, the last that its smallest unit reaches."""
    support = (thresholds <= ranked).sum(axis=1, keepdims=True)
    return np.take_along_axis(thresholds, support - 1, axis=1)


def _of_others(x: np.ndarray, a: np.ndarray) -> np.ndarray:
    """The row's sum of x less the unit's own x, for weights a that sum to one.

    For a unit with nearly everything that difference would have no digits left: add the others.
    """
    most = a > 0.5
    few = np.where(most, 0, x).sum(axis=1, keepdims=True)
    return np.where(most, few, x.sum(axis=1, keepdims=True) - x)
