"""Codes that are the answer to an optimisation, and not one pass of an encoder.

For a dictionary W (n, d), whose rows are the atoms, the code of an image x minimises
½ ‖x − a W‖² + λ Σ penalty(a). The functions below are four ways there. Each takes
x (batch, d) and W (n, d) and yields one code a (batch, n) after another, starting from a = 0;
the caller decides when to stop:

    a = after(50, fista(x, W, sparsity))

With G = W Wᵀ, the part without penalty has the gradient a G − x Wᵀ, and its slope changes at most
L times as fast as a, where L is the largest eigenvalue of G. All step sizes follow from L.
λ is `sparsity`. SparseDream's loss has no ½ before the square: its λ is twice the one here.
"""

import math
from collections.abc import Iterator
from itertools import islice

import numpy as np

from ksae_lab.nn import inputs, penalties
from ksae_lab.nn.checks import flag, not_negative, positive, whole

Codes = Iterator[np.ndarray]


def objective(
    x: np.ndarray, a: np.ndarray, W: np.ndarray, sparsity: float, penalty: str = "l1"
) -> np.ndarray:
    """½ ‖x − a W‖² + λ Σ penalty(a) of each image, of shape (batch,).

    x has shape (batch, d), a (batch, n), W (n, d); `penalty` is a name of `nn.penalties`.

    Raises `ValueError` for arrays that do not fit, and a negative λ.

    Source: Olshausen & Field (1996).
    Chapter 12.
    """
    x, W = images_and_atoms(x, W)
    a = inputs.rows(a, len(W), "codes")
    if len(a) != len(x):
        raise ValueError(f"There are {len(a)} codes of {len(x)} images; give one for each.")
    not_negative(sparsity, "sparsity")
    cost = penalties.get(penalty)(a).sum(axis=1)
    return 0.5 * ((x - a @ W) ** 2).sum(axis=1) + sparsity * cost


def after(steps: int, codes: Codes) -> np.ndarray:
    """The code (batch, n) that stands after that many steps of `codes`.

    Raises `ValueError` for fewer than one step, and `TypeError` for what is no integer.

    Chapter 12.
    """
    whole(steps, "steps")
    return next(islice(codes, steps - 1, None))


def soft_threshold(u: np.ndarray, threshold: float, nonnegative: bool = False) -> np.ndarray:
    """Bring every number of u nearer to zero by `threshold`, those that are nearer to zero itself.

    The result has the shape of u, as (batch, n). It minimises ½ ‖a − u‖² + threshold ‖a‖₁.
    `nonnegative=True` minimises over a ≥ 0, and is a relu with bias −threshold.

    Raises `ValueError` for a negative threshold, and what `ksae_lab.nn.inputs.floats` raises.

    Chapter 12.
    """
    u = inputs.floats(u, "codes", finite=False)
    not_negative(threshold, "threshold")
    if flag(nonnegative, "nonnegative"):
        return np.maximum(u - threshold, 0)
    return u - np.clip(u, -threshold, threshold)


def gradient_descent(x: np.ndarray, W: np.ndarray, sparsity: float, penalty: str = "log") -> Codes:
    """Yield codes (batch, n) of plain descent, as Olshausen and Field's networks do.

    x has shape (batch, d), W (n, d). The step is 1 / (L + 2 λ): log(1 + a²) bends by 2 at most,
    and any step below 2 / (L + 2 λ) goes down. What "log" finds may be a local minimum.
    Nothing is ever exactly zero. With "l1", whose slope jumps at zero, the smallest numbers hop
    to and fro across it for ever.

    Raises `ValueError` at the first step for arrays that do not fit, and a negative λ.

    Source: Olshausen & Field (1996).
    Chapter 12.
    """
    penalised = penalties.get(penalty)
    drive, gram, L = _prepare(x, W, sparsity)
    step = 1 / (L + 2 * sparsity)
    a = np.zeros_like(drive)
    while True:
        a = a - step * (a @ gram - drive + sparsity * penalised.derivative(a))
        yield a


def ista(x: np.ndarray, W: np.ndarray, sparsity: float, nonnegative: bool = False) -> Codes:
    """Yield codes (batch, n): a step down the square error, then a soft threshold for λ ‖a‖₁.

    x has shape (batch, d), W (n, d). The step is 1 / L; it converges below 2 / L.
    The objective falls with every step, and after t of them is off by O(1 / t).
    The first step from a = 0 is an encoder: x Wᵀ / L and a threshold.

    Raises `ValueError` at the first step for arrays that do not fit, and a negative λ.

    Source: Daubechies, Defrise & De Mol (2004).
    Chapter 12.
    """
    drive, gram, L = _prepare(x, W, sparsity)
    a = np.zeros_like(drive)
    while True:
        a = soft_threshold(a - (a @ gram - drive) / L, sparsity / L, nonnegative)
        yield a


def fista(x: np.ndarray, W: np.ndarray, sparsity: float, nonnegative: bool = False) -> Codes:
    """Yield codes (batch, n) of `ista` with a run-up: each step starts ahead, where the last led.

    x has shape (batch, d), W (n, d). The step may be 1 / L at most.
    After t steps the objective is off by O(1 / t²); it may rise in between.

    Raises `ValueError` at the first step for arrays that do not fit, and a negative λ.

    Source: Beck & Teboulle (2009).
    Chapter 12.
    """
    drive, gram, L = _prepare(x, W, sparsity)
    a = ahead = np.zeros_like(drive)
    t = 1.0
    while True:
        last = a
        a = soft_threshold(ahead - (ahead @ gram - drive) / L, sparsity / L, nonnegative)
        # Through math: NumPy's root of a float would turn float32 codes into float64.
        t_last, t = t, (1 + math.sqrt(1 + 4 * t * t)) / 2
        ahead = a + (t_last - 1) / t * (a - last)
        yield a


def lca(
    x: np.ndarray,
    W: np.ndarray,
    sparsity: float,
    nonnegative: bool = False,
    *,
    rate: float | None = None,
) -> Codes:
    """Yield codes (batch, n) of neurons that inhibit each other: τ u̇ = x Wᵀ − u − a (G − I).

    a is u after a soft threshold at λ. Unit i leaks, is driven by how well its atom fits x, and
    held back by each active unit as much as their atoms overlap. x has shape (batch, d), W (n, d).
    Where it comes to rest, a minimises what `ista` minimises.

    `rate` is the time step in units of τ, 1 / L if not given. While no unit crosses its threshold,
    the active ones move just as in `ista` with step `rate`, and are stable below 2 / L (inactive
    below 2). The L of the active atoms alone is smaller than that of all: larger rates often hold.

    Raises `ValueError` at the first step for arrays that do not fit, a negative λ, and a rate that
    is not above 0.

    Source: Rozell et al. (2008).
    Chapter 12.
    """
    drive, gram, L = _prepare(x, W, sparsity)
    rate = min(1 / L, 1) if rate is None else positive(rate, "rate")
    inhibition = gram - np.eye(len(gram), dtype=gram.dtype)
    u, a = np.zeros_like(drive), np.zeros_like(drive)
    while True:
        u = u + rate * (drive - u - a @ inhibition)
        a = soft_threshold(u, sparsity, nonnegative)
        yield a


def images_and_atoms(x: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x (batch, d) and the dictionary W (n, d), both as floats.

    Raises `ValueError` for other shapes, and what `ksae_lab.nn.inputs.floats` raises.

    Chapter 12.
    """
    x, W = inputs.floats(x, "images"), inputs.floats(W, "atoms")
    if W.ndim != 2 or x.ndim != 2 or x.shape[1] != W.shape[1] or not len(W):
        raise ValueError(
            f"The images have shape {x.shape}, the dictionary {W.shape}; "
            "expected (batch, d) and (n, d), one row for each atom."
        )
    return x, W


def _prepare(x: np.ndarray, W: np.ndarray, sparsity: float) -> tuple[np.ndarray, np.ndarray, float]:
    """x Wᵀ (batch, n), G = W Wᵀ (n, n), and L, the largest eigenvalue of G."""
    x, W = images_and_atoms(x, W)
    not_negative(sparsity, "sparsity")
    gram = W @ W.T
    L = float(np.linalg.eigvalsh(gram)[-1])
    if not L > 0:
        raise ValueError("Every atom of the dictionary is zero; give at least one that is not.")
    return x @ W.T, gram, L
