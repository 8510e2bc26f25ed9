"""How many bits a sparse code costs.

A code is sent in two parts: which units are active, and their values, rounded to multiples of a
step. Both are counted for an ideal arithmetic coder: an event of probability p costs −log₂ p
bits. A real one needs a few bits more for a whole message, however long it is.

The probabilities come from other, training codes, which the receiver is supposed to know as well.
What did not happen there is still possible: its probability is small, never zero.
"""

import numpy as np

from ksae_lab.nn import inputs
from ksae_lab.nn.checks import positive, whole

WEIGHT = 30  # how many training values the smooth curve of `value_bits` counts for


def index_bits(n: int, k: int | np.ndarray) -> float | np.ndarray:
    """log₂ C(n, k): the bits for which k of n units are active, all equally likely.

    k is a scalar or an array of any shape, and so is the result.

    Raises `ValueError` if a k is outside 0…n, and `TypeError` if n or a k is no integer.

    Source: Cover & Thomas (2006), chapter 11.
    Chapter 14.
    """
    from scipy.special import gammaln

    whole(n, "n", 0)
    k = _integers(k, "numbers of active units")
    if np.any(np.less(k, 0)) or np.any(np.greater(k, n)):
        raise ValueError(f"k is {k}, but there are {n} units; choose k from 0 to {n}.")
    bits = (gammaln(n + 1) - gammaln(np.add(k, 1)) - gammaln(n - np.asarray(k) + 1)) / np.log(2)
    return bits if np.ndim(k) else float(bits)


def quantise(values: np.ndarray, step: float) -> np.ndarray:
    """The nearest multiples of `step`, as integers of the shape (batch, n) of `values`.

    The receiver puts integer · step, the middle of each interval, in place of a value, and is wrong
    by half a step at most; by step² / 12 in the mean square where values fall evenly.

    Raises `ValueError` for a step that is not above 0, or too small for the values, and what
    `ksae_lab.nn.inputs.real` raises.

    Source: Gray & Neuhoff (1998).
    Chapter 14.
    """
    positive(step, "step")
    with np.errstate(over="ignore"):
        q = np.rint(inputs.floats(values, "values").astype(np.float64) / step)
    if np.abs(q).max(initial=0) >= 2**63:
        raise ValueError(f"step is {step}, too small for int64 to count the values in; enlarge it.")
    return q.astype(np.int64)


def support_bits(z: np.ndarray, z_train: np.ndarray) -> np.ndarray:
    """The bits that say which units of each code are not zero: z (batch, n) → (batch,).

    Every unit is active or not, with the probability that z_train (samples, n) suggests, whatever
    the others do: (its active codes + ½) / (codes + 1).

    Raises `ValueError` if the two have different numbers of units, or there are no training codes,
    and what `ksae_lab.nn.inputs.real` raises.

    Source: Shannon (1948) for −log₂ p; Krichevsky & Trofimov (1981) for the two halves.
    Chapter 14.
    """
    z, z_train = _same_units(z, z_train)
    p = (np.count_nonzero(z_train, axis=0) + 0.5) / (len(z_train) + 1)
    return np.where(z != 0, -np.log2(p), -np.log2(1 - p)).sum(axis=1)


def value_bits(q: np.ndarray, q_train: np.ndarray) -> np.ndarray:
    """The bits of the integers of each code that are not zero: q (batch, n) → (batch,).

    That they are not zero is known from the support. Each unit has probabilities of its own: what
    it said in q_train (samples, n), counted, plus `WEIGHT` times a two-sided geometric distribution
    around the median of that, which gives every integer something.

    Raises `ValueError` as `support_bits` does, and `TypeError` if the numbers are not integers.

    Source: Shannon (1948); Cover & Thomas (2006), chapter 13, for counts with a prior.
    Chapter 14.
    """
    q, q_train = _same_units(q, q_train)
    q, q_train = _integers(q, "codes"), _integers(q_train, "codes to learn from")
    bits = np.zeros(q.shape)
    for unit in range(q.shape[1]):
        active = q[:, unit] != 0
        bits[active, unit] = _bits_of_integers(
            q[active, unit], q_train[q_train[:, unit] != 0, unit]
        )
    return bits.sum(axis=1)


def code_bits(q: np.ndarray, q_train: np.ndarray) -> np.ndarray:
    """All bits of each quantised code, support and values: q (batch, n) → (batch,).

    Raises what `value_bits` raises.

    Chapter 14.
    """
    return support_bits(q, q_train) + value_bits(q, q_train)


def _bits_of_integers(v: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """−log₂ p of integers v (m,), none of them zero, given those that were seen before."""
    middle = int(np.median(seen)) if len(seen) else 0
    # The one more distance of 1 keeps the tails alive where little was seen, or all the same.
    spread = (np.abs(seen - middle).sum() + 1) / (len(seen) + 1)
    # P(v) = (1 − θ) / (1 + θ) · θ^|v − middle|, a little wider than what was seen: after few values
    # too narrow a guess would cost more than too wide a one.
    theta = spread / (1 + spread)
    height = np.log2((1 - theta) / (1 + theta))
    log_curve = height + np.abs(v - middle) * np.log2(theta)
    at_zero = 2 ** (height + abs(middle) * np.log2(theta))  # zero does not come: leave it out
    log_curve -= np.log2(1 - at_zero)

    values, counts = np.unique(seen, return_counts=True)
    counted = dict(zip(values.tolist(), counts.tolist(), strict=True))
    count = np.array([counted.get(i, 0) for i in v.tolist()], dtype=float)
    with np.errstate(divide="ignore"):  # log₂ 0 = −∞ adds nothing; far out, 2^log_curve would be 0
        log_p = np.logaddexp2(np.log2(count), np.log2(WEIGHT) + log_curve)
    return np.log2(len(seen) + WEIGHT) - log_p


def _integers(q: int | np.ndarray, what: str) -> np.ndarray:
    """As int64, in which differences cannot wrap."""
    q = inputs.real(q, what)
    if q.dtype.kind not in "iu":
        raise TypeError(f"The {what} are {q.dtype}, not integers; to count values, quantise first.")
    if q.size and q.max() > np.iinfo(np.int64).max:
        raise ValueError(f"The {what} hold {q.max()}, which is too large for int64.")
    return q.astype(np.int64)


def _same_units(z: np.ndarray, z_train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z, z_train = inputs.real(z, "codes"), inputs.real(z_train, "codes to learn from")
    if z.ndim != 2 or z_train.ndim != 2 or z.shape[1] != z_train.shape[1] or not len(z_train):
        raise ValueError(
            f"The codes have shape {z.shape}, those to learn from {z_train.shape}; expected "
            "(batch, n) and (samples, n), with one sample or more."
        )
    return z, z_train
