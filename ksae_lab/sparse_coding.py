"""Sparse coding: a code that is the answer to an optimisation, and not one pass of an encoder.

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

from ksae_lab import penalties, training
from ksae_lab.losses import Pass, mse

Codes = Iterator[np.ndarray]


def objective(
    x: np.ndarray, a: np.ndarray, W: np.ndarray, sparsity: float, penalty: str = "l1"
) -> np.ndarray:
    """½ ‖x − a W‖² + λ Σ penalty(a) of each image, of shape (batch,).

    x has shape (batch, d), a (batch, n), W (n, d); `penalty` is a name from `ksae_lab.penalties`.

    Source: Olshausen & Field (1996).
    Chapter 12.
    """
    price = penalties.get(penalty)(a).sum(axis=1)
    return 0.5 * ((x - a @ W) ** 2).sum(axis=1) + sparsity * price


def after(steps: int, codes: Codes) -> np.ndarray:
    """The code (batch, n) that stands after that many steps of `codes`.

    Raises `ValueError` for fewer than one step.

    Chapter 12.
    """
    if steps < 1:
        raise ValueError(f"{steps} steps give no code; take at least one.")
    return next(islice(codes, steps - 1, None))


def soft_threshold(u: np.ndarray, threshold: float, nonnegative: bool = False) -> np.ndarray:
    """Bring every number of u nearer to zero by `threshold`, those that are nearer to zero itself.

    The result has the shape of u, as (batch, n). It minimises ½ ‖a − u‖² + threshold ‖a‖₁.
    `nonnegative=True` minimises over a ≥ 0, and is a relu with bias −threshold.

    Chapter 12.
    """
    if nonnegative:
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
    price = penalties.get(penalty)
    drive, gram, L = _prepare(x, W, sparsity)
    step = 1 / (L + 2 * sparsity)
    a = np.zeros_like(drive)
    while True:
        a = a - step * (a @ gram - drive + sparsity * price.derivative(a))
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
    the active ones move just as in `ista` with step `rate`, and are stable below 2 / L (silent ones
    below 2). The L of the active atoms alone is smaller than that of all: larger rates often hold.

    Raises `ValueError` at the first step for arrays that do not fit, and a negative λ.

    Source: Rozell et al. (2008).
    Chapter 12.
    """
    drive, gram, L = _prepare(x, W, sparsity)
    rate = min(1 / L, 1) if rate is None else rate
    inhibition = gram - np.eye(len(gram), dtype=gram.dtype)
    u, a = np.zeros_like(drive), np.zeros_like(drive)
    while True:
        u = u + rate * (drive - u - a @ inhibition)
        a = soft_threshold(u, sparsity, nonnegative)
        yield a


class SparseCoding:
    """A dictionary learnt by two loops, one in the other: x̂ = a W, with a the answer of `fista`.

    x and x̂ have shape (batch, d), a (batch, n), W (n, d): `n_pixels` is d, `n_units` n.
    The inner loop takes `steps` steps towards the codes with the least ½ ‖x − a W‖² + λ ‖a‖₁;
    λ is `sparsity`. The outer loop takes one step with W, ΔW = η aᵀ (x − a W), or whatever an
    optimizer makes of that gradient, and brings each atom back to length 1. Else longer atoms
    would make every code cheaper. (Olshausen and Field adapt the lengths in place of that, until
    each unit's codes have a set variance.)
    Atoms start at random directions of `rng`, in `dtype`; `start_from` starts them at images. At
    random directions nothing answers to an image by more than a large λ: then all codes are zero,
    and so are all gradients. Each batch starts from a = 0, and no code is kept for the next epoch.
    `sparsity` and `steps` may be changed at any time.

    Source: Olshausen & Field (1996).
    Chapter 12.
    """

    def __init__(
        self,
        n_pixels: int,
        n_units: int,
        sparsity: float,
        steps: int = 50,
        *,
        nonnegative: bool = False,
        rng: np.random.Generator,
        dtype: type = np.float32,
    ):
        self.sparsity = sparsity
        self.steps = steps
        self.nonnegative = nonnegative
        self.latest: Pass | None = None
        self.W = _unit_rows(rng.normal(size=(n_units, n_pixels))).astype(dtype)

    def start_from(self, x: np.ndarray, rng: np.random.Generator) -> None:
        """Start each atom at one image of x (samples, d), each drawn once if there are enough.

        Chapter 12.
        """
        self.W[:] = _unit_rows(x[rng.choice(len(x), len(self.W), replace=len(self.W) > len(x))])

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """The live dictionary by name: W (n, d).

        Chapter 12.
        """
        return {"W": self.W}

    def encode(self, x: np.ndarray) -> np.ndarray:
        """The code a (batch, n) of x (batch, d), after `steps` steps.

        Raises `ValueError` for another shape, a negative `sparsity`, or no steps.

        Chapter 12.
        """
        return after(self.steps, fista(x, self.W, self.sparsity, self.nonnegative))

    def decode(self, a: np.ndarray) -> np.ndarray:
        """The images x̂ (batch, d) that the codes a (batch, n) draw.

        Chapter 12.
        """
        return a @ self.W

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """x̂ (batch, d) for x (batch, d).

        Chapter 12.
        """
        return self.decode(self.encode(x))

    def error(self, x: np.ndarray) -> float:
        """The mean squared error of the reconstruction of x (batch, d), without prices: a scalar.

        Chapter 12.
        """
        return mse(self.reconstruct(x), x)

    def loss(self, x: np.ndarray) -> float:
        """The mean `objective` of x (batch, d) at the codes that were found: a scalar.

        Chapter 12.
        """
        return self.loss_and_gradients(x)[0]

    def loss_and_gradients(self, x: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
        """The loss of x (batch, d), a scalar, and its gradient for W, of shape (n, d).

        The codes change when W does, but at a minimum over a, moving a changes nothing in first
        order: with codes that have settled, the gradient at fixed codes is the gradient.
        `latest` then holds the pass; its h is x Wᵀ, what the units hear before they compete.

        Source: Danskin (1967) for the gradient of a minimum.
        Chapter 12.
        """
        a = self.encode(x)
        x_hat = self.decode(a)
        self.latest = Pass(x, x @ self.W.T, a, x_hat, self.W)
        loss = objective(x, a, self.W, self.sparsity).mean()
        return float(loss), {"W": a.T @ (x_hat - x) / len(x)}

    def constrain(self) -> None:
        """Bring the atoms, the rows of W (n, d), back to length 1; called after each step.

        Chapter 12.
        """
        self.W[:] = _unit_rows(self.W)

    def fit(self, x: np.ndarray, **how) -> training.History:
        """Train on x (samples, d); `ksae_lab.training.fit` says what else to give.

        Chapter 12.
        """
        return training.fit(self, (x,), **how)


def _prepare(x: np.ndarray, W: np.ndarray, sparsity: float) -> tuple[np.ndarray, np.ndarray, float]:
    """x Wᵀ (batch, n), G = W Wᵀ (n, n), and L, the largest eigenvalue of G."""
    if W.ndim != 2 or x.ndim != 2 or x.shape[1] != W.shape[1]:
        raise ValueError(
            f"The images have shape {x.shape}, the dictionary {W.shape}; "
            "expected (batch, d) and (n, d), one row for each atom."
        )
    if not sparsity >= 0:
        raise ValueError(f"The sparsity λ is {sparsity}; a price must be 0 or more.")
    gram = W @ W.T
    L = float(np.linalg.eigvalsh(gram)[-1])
    if not L > 0:
        raise ValueError("Every atom of the dictionary is zero; give at least one that draws.")
    return x @ W.T, gram, L


def _unit_rows(W: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(W, axis=1, keepdims=True)
    return W / np.where(length > 0, length, 1)
