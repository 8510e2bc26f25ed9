"""Units that inhibit each other, learn whom to inhibit, and find the parts of a picture."""

from typing import Any

import numpy as np

from ksae_lab.nn import activations, checks, inputs
from ksae_lab.nn.checks import Rng, not_negative, whole
from ksae_lab.nn.module import Arrays, Module

STEP = 0.05  # of a unit's time constant; much longer ones would swing across the resting point
MAX_STEPS = 400  # enough but for near ties, where two units that inhibit each other drift apart


class Foldiak(Module):
    """A layer of binary units in which each learns from what it sees, and nothing else.

    x (batch, d) reaches the units through q (n, d), and they reach each other through w (n, n),
    which is symmetric, never positive, and zero on its diagonal; t (n,) are their thresholds.
    `n_pixels` is d, `n_units` n.
    q starts at uniform numbers with rows of length 1, w and t at zero.

    `p` is how often each unit should be active, a share of the images. `alpha`, `beta` and
    `gamma` are the learning rates of w, q and t, `slope` the steepness λ of the logistic function.
    All of them may be changed at any time: with alpha and beta at zero, only the thresholds move.

    Raises `ValueError` for a p that is not between 0 and 1, a negative rate and a slope that is not
    above 0, and `TypeError` for settings of another type.

    Source: Földiák (1990), with the settings of his bars.
    Chapter 12.
    """

    def __init__(
        self,
        n_pixels: int,
        n_units: int,
        p: float,
        *,
        alpha: float = 0.1,
        beta: float = 0.02,
        gamma: float = 0.02,
        slope: float = 10.0,
        rng: Rng,
        dtype: type | str = np.float32,
    ):
        if not 0 < checks.finite(p, "p") < 1:
            raise ValueError(f"p is {p}; give the share of images to answer, between 0 and 1.")
        self.p = p
        self.alpha = not_negative(alpha, "alpha")
        self.beta = not_negative(beta, "beta")
        self.gamma = not_negative(gamma, "gamma")
        self.slope = checks.positive(slope, "slope")
        n_pixels, n_units = whole(n_pixels, "n_pixels"), whole(n_units, "n_units")
        dtype = checks.floating(dtype)
        q = checks.generator(rng).uniform(0, 1, (n_units, n_pixels))
        self.q = (q / np.linalg.norm(q, axis=1, keepdims=True)).astype(dtype)
        self.w = np.zeros((n_units, n_units), dtype)
        self.t = np.zeros(n_units, dtype)

    @property
    def parameters(self) -> Arrays:
        """What the units learn by their own rules: q (n, d), w (n, n), t (n,)."""
        return {"q": self.q, "w": self.w, "t": self.t}

    def get_config(self) -> dict[str, Any]:
        """Sizes and settings, as they are now."""
        n, d = self.q.shape
        rates = {name: float(getattr(self, name)) for name in ("alpha", "beta", "gamma", "slope")}
        own = {"n_pixels": d, "n_units": n, "p": float(self.p)}
        return own | rates | {"dtype": self.q.dtype.name}

    def settle(self, x: np.ndarray) -> np.ndarray:
        """Where y* comes to rest, (batch, n), for x (batch, d): y* = f(x qᵀ + y* w − t).

        dy*/dt = f(x qᵀ + y* w − t) − y* is followed from y* = 0 in small steps, until no unit
        is .001 away from where it is pulled, or for twenty time constants.

        Raises `ValueError` for images of another shape.
        """
        x = inputs.rows(x, self.q.shape[1], dtype=self.q.dtype)
        f = activations.get("sigmoid")
        drive = x @ self.q.T - self.t
        y = np.zeros_like(drive)
        for _ in range(MAX_STEPS):
            pull = f(self.slope * (drive + y @ self.w)) - y
            if np.abs(pull).max(initial=0) < 1e-3:
                break
            y += STEP * pull
        return y

    def encode(self, x: np.ndarray) -> np.ndarray:
        """The binary code y (batch, n) of x (batch, d): 1 where y* settled above one half, else 0.

        Raises `ValueError` for images of another shape.
        """
        return (self.settle(x) > 0.5).astype(self.q.dtype)

    def learn(self, x: np.ndarray) -> np.ndarray:
        """Show x (batch, d), learn from the codes y (batch, n), and return them.

        Δw_ij = −α (y_i y_j − p²), then w is held at or below 0, with no unit inhibiting itself;
        Δq_ij = β y_i (x_j − q_ij); Δt_i = γ (y_i − p).
        The paper shows one image at a time. The steps of a batch are summed, and all its images
        meet the weights from before: nearly the same for a few images, and much faster.

        Raises `ValueError` for images of another shape.
        """
        x = inputs.rows(x, self.q.shape[1], dtype=self.q.dtype)
        y = self.encode(x)
        counts = y.sum(axis=0)
        self.w -= self.alpha * (y.T @ y - len(x) * self.p**2)
        np.minimum(self.w, 0, out=self.w)
        np.fill_diagonal(self.w, 0)
        self.q += self.beta * (y.T @ x - counts[:, None] * self.q)
        self.t += self.gamma * (counts - len(x) * self.p)
        return y


def bar_patterns(size: int) -> np.ndarray:
    """Every bar alone, of shape (2 · size, size²): the horizontal ones, then the vertical ones.

    Raises `ValueError` for a size below 1, and `TypeError` for what is no integer.

    Source: Földiák (1990).
    Chapter 12.
    """
    whole(size, "size")
    rows = np.kron(np.eye(size), np.ones((1, size)))
    columns = np.kron(np.ones((1, size)), np.eye(size))
    return np.concatenate([rows, columns]).astype(np.float32)


def bars(n_images: int, size: int, p: float, rng: Rng) -> np.ndarray:
    """Pictures of bars, (n_images, size²), of 0 and 1: each of 2 · size bars is there or not.

    Each is present with probability `p`, a scalar, whatever the others do; where two cross,
    the pixel is 1 all the same, so a picture is no sum of its bars.

    Raises what `bar_patterns` raises, for the number of images, too, and `ValueError` for a p
    outside 0…1.

    Source: Földiák (1990).
    Chapter 12.
    """
    patterns = bar_patterns(size)
    whole(n_images, "n_images", 0)
    checks.share(p, "p")
    present = checks.generator(rng).random((n_images, len(patterns))) < p
    return np.minimum(present.astype(np.float32) @ patterns, 1)
