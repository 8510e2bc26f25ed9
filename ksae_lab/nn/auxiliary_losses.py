"""Terms that may be added to the error in training: for dead units, for diversity, for sparsity.

Each gives its value and its gradients, forward beside backward.
"""

from collections.abc import Iterable
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from ksae_lab.nn.checks import not_negative, whole
from ksae_lab.nn.losses import mse, mse_gradient
from ksae_lab.nn.module import ForwardPass
from ksae_lab.nn.selectors import JumpReLU
from ksae_lab.nn.topk import top_k_mask


class OfUnits(NamedTuple):
    """A gradient that is zero but for some units (m,): only theirs are here, and nobody adds zeros.

    Units are counted along `axis` of the whole: `values` are (batch, m) of a gradient (batch, n),
    with axis 1, and (m, d) of one (n, d), with axis 0.

    Chapter 17.
    """

    units: np.ndarray
    values: np.ndarray
    axis: int

    def in_full(self, n_units: int) -> np.ndarray:
        """The gradient with its zeros, (batch, n) or (n, d)."""
        shape = list(self.values.shape)
        shape[self.axis] = n_units
        gradient = np.zeros(shape, self.values.dtype)
        gradient[(slice(None),) * self.axis + (self.units,)] = self.values
        return gradient


Gradients = dict[str, np.ndarray | OfUnits]


@runtime_checkable
class AuxiliaryLoss(Protocol):
    """A further term of the loss: called with a `ForwardPass`, it returns value and gradients.

    The value is a scalar, already weighted; the gradients are a dict with some of the keys
    "h" and "z" (batch, n), and names of the model's parameters, such as "W_dec" (n, d). Where a
    gradient is zero but for few units, it may be `OfUnits`.

    Chapter 8.
    """

    def __call__(self, forward: ForwardPass) -> tuple[float, Gradients]:
        """The term's value, a scalar, and its gradients."""


def add_up(losses: Iterable[AuxiliaryLoss], forward: ForwardPass) -> tuple[float, Gradients]:
    """The sum of several terms, a scalar, and of their gradients, by name.

    Chapter 8.
    """
    total, gradients, n = 0.0, Gradients(), len(forward.W_dec)
    for loss in losses:
        value, own = loss(forward)
        total += value
        for name, gradient in own.items():
            if name in gradients:
                gradient = in_full(gradients[name], n) + in_full(gradient, n)
            gradients[name] = gradient
    return total, gradients


def in_full(gradient: np.ndarray | OfUnits, n_units: int) -> np.ndarray:
    """A gradient with all its zeros, of the shape that its name has.

    Chapter 8.
    """
    return gradient.in_full(n_units) if isinstance(gradient, OfUnits) else gradient


@runtime_checkable
class HasDead(Protocol):
    """Whoever knows which units are dead: `dead` is boolean of shape (n,).

    Chapter 8.
    """

    @property
    def dead(self) -> np.ndarray:
        """True for each dead unit, of shape (n,)."""


class AuxK:
    """Dead units reconstruct the residual of the others.

    e = x − x̂ is the residual, held fixed. Of the dead units, the `k_aux` with the largest h
    give ê = z_aux W_dec with z_aux = relu(h), without b_dec, which x̂ has had already.
    The term is weight · Var(x) · mse(ê, e) / Var(e), where Var is the mean square around the
    batch's mean image. The main loss of the source is mse(x̂, x) / Var(x); ours is plain mse,
    so Var(x), a constant, stands here instead.
    `monitor` says which units are dead; without dead units, or residual, the term is 0.

    A dead unit with h ≤ 0 gets no gradient from an image: relu hides it.

    Raises `ValueError` for k_aux below 1 and a negative weight, `TypeError` for what is no number,
    and for a monitor without `dead`.

    Source: Gao et al. (2024), as in their code.
    Chapter 8.
    """

    def __init__(self, monitor: HasDead, k_aux: int, weight: float = 1 / 32):
        if not isinstance(monitor, HasDead):
            raise TypeError(f"A {type(monitor).__name__} knows no dead units; give a monitor.")
        self.monitor = monitor
        self.k_aux = whole(k_aux, "k_aux")
        self.weight = not_negative(weight, "weight")

    def __call__(self, forward: ForwardPass) -> tuple[float, Gradients]:
        """The value, a scalar, and gradients for "h" (batch, n) and "W_dec" (n, d), of the dead."""
        dead = np.flatnonzero(self.monitor.dead)
        e = forward.x - forward.x_hat  # from here on a constant: nothing flows back through x̂
        spread = _variance(e)
        if not len(dead) or spread == 0:
            return 0.0, {}
        h = forward.h_of(dead)
        active = top_k_mask(h, min(self.k_aux, len(dead))) & (h > 0)
        z_aux, W_dec = np.where(active, h, 0), forward.W_dec[dead]
        e_hat = z_aux @ W_dec
        scale = self.weight * _variance(forward.x) / spread

        d_e_hat = scale * mse_gradient(e_hat, e)
        dh = OfUnits(dead, np.where(active, d_e_hat @ W_dec.T, 0), axis=1)
        dW_dec = OfUnits(dead, z_aux.T @ d_e_hat, axis=0)
        return scale * mse(e_hat, e), {"h": dh, "W_dec": dW_dec}


class DeCov:
    """Units that are active together cost: weight · ½ Σ_{i≠j} C_ij².

    C (n, n) is the covariance of the codes z over the batch.

    Raises `ValueError` for a negative weight, and `TypeError` for what is no number.

    Source: Cogswell et al. (2016), who call it DeCov.
    Chapter 8.
    """

    def __init__(self, weight: float):
        self.weight = not_negative(weight, "weight")

    def __call__(self, forward: ForwardPass) -> tuple[float, Gradients]:
        """The value, a scalar, and the gradient for "z" (batch, n)."""
        centred = forward.z - forward.z.mean(axis=0)
        between = centred.T @ centred / len(centred)
        np.fill_diagonal(between, 0)
        value = self.weight * 0.5 * float((between**2).sum())
        # Centring needs no backward pass of its own: the rows of this sum to zero already.
        return value, {"z": self.weight * 2 / len(centred) * centred @ between}


class L1:
    """Activity costs: weight · the mean over images of Σᵢ abs(zᵢ).

    Raises what `DeCov` raises.

    Source: Olshausen & Field (1996) for a price on activity.
    Lab 2.
    """

    def __init__(self, weight: float):
        self.weight = not_negative(weight, "weight")

    def __call__(self, forward: ForwardPass) -> tuple[float, Gradients]:
        """The value, a scalar, and the gradient for "z" (batch, n), which is 0 where z is."""
        weight, z = self.weight / len(forward.z), forward.z
        return weight * float(np.abs(z).sum()), {"z": weight * np.sign(z)}


class L0:
    """Active units cost: weight · the mean number of units above their threshold in an image.

    `selector` is the model's own `JumpReLU`: only its thresholds, log_threshold (n,), learn
    from it, by the same made-up slope as from the error.

    Raises `TypeError` for another selector, and what `DeCov` raises.

    Source: Rajamanoharan et al. (2024).
    Chapter 16.
    """

    def __init__(self, selector: JumpReLU, weight: float):
        if not isinstance(selector, JumpReLU):
            raise TypeError(f"{selector!r} has no thresholds to learn; give a model's JumpReLU.")
        self.selector = selector
        self.weight = not_negative(weight, "weight")

    def __call__(self, forward: ForwardPass) -> tuple[float, Gradients]:
        """The value, a scalar, and the gradient for "log_threshold" (n,)."""
        h = forward.h
        value = self.weight * float(self.selector.mask(h).sum(axis=1).mean())
        height = np.full_like(h, self.weight / len(h))
        return value, {"log_threshold": self.selector.slope(h, height)}


def _variance(x: np.ndarray) -> float:
    return float(np.mean((x - x.mean(axis=0)) ** 2))
