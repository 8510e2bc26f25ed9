"""Keeping units alive: know which are dead, and give them a new start."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from ksae_lab.nn import checks, inputs
from ksae_lab.nn.checks import Rng
from ksae_lab.nn.module import ForwardPass
from ksae_lab.training.loop import Callback, Trainer
from ksae_lab.training.optimizers import BaseOptimizer


class DeadUnitMonitor(Callback):
    """Counts, for each unit, how many training images have passed since it was last active.

    `silent` is that count, integers (n,); `dead` is True (n,) where it has reached `after` images.
    Take at least one epoch's images: a minibatch is no evidence. At each epoch's end the number of
    dead units, a scalar, is noted as "dead".

    Raises `ValueError` if `n_units` or `after` is below 1, and, at the first step, for a model of
    another number of units.

    Source: Gao et al. (2024), who wait for ten million tokens.
    Chapter 8.
    """

    reads_weights = False

    def __init__(self, n_units: int, after: int):
        self.after = checks.whole(after, "after")
        self.silent = np.zeros(checks.whole(n_units, "n_units"), dtype=np.int64)

    @property
    def dead(self) -> np.ndarray:
        """True for each unit that has been inactive for `after` images or more, of shape (n,)."""
        return self.silent >= self.after

    def after_step(self, trainer: Trainer, forward: ForwardPass) -> None:
        """Count one batch of codes, of shape (batch, n)."""
        active = forward.active
        if active.shape != self.silent.shape:
            raise ValueError(
                f"The monitor is for {len(self.silent)} units, the model has {len(active)}; "
                "make it for as many."
            )
        self.silent += len(forward.x)
        self.silent[active] = 0

    def logs(self) -> dict[str, float]:
        """The number of dead units, a scalar, as "dead"."""
        return {"dead": int(self.dead.sum())}

    @property
    def state(self) -> dict[str, np.ndarray]:
        """The counts, as "silent" of shape (n,)."""
        return {"silent": self.silent.copy()}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Go on from these counts."""
        self.silent[:] = state["silent"]


@dataclass(frozen=True)
class ResetPlan:
    """When dead units are reset: after every `every` epochs, until progress `until`.

    Raises `ValueError` if `every` is below 1 or `until` is not between 0 and 1.

    Chapter 8.
    """

    every: int
    until: float = 0.5

    def __post_init__(self) -> None:
        checks.whole(self.every, "every")
        checks.share(self.until, "until")

    def is_due(self, epoch: int, epochs: int) -> bool:
        """Whether it is time, once `epoch` of `epochs`, both scalars, are done."""
        return epoch % self.every == 0 and epoch <= self.until * epochs


def restart_dead(
    dead: np.ndarray,
    residual: np.ndarray,
    W_enc: np.ndarray,
    W_dec: np.ndarray,
    b_enc: np.ndarray,
    rng: Rng,
) -> np.ndarray:
    """Start each dead unit anew at a residual, in place; returns the indices of those units.

    `dead` is boolean (n,), `residual` x − x̂ (samples, d), W_enc (d, n), W_dec (n, d), b_enc (n,).
    For each dead unit an image is drawn by `rng`, the more likely the larger its residual, and no
    image twice while there are any: two units with one residual would stay duplicates. The
    residual, brought to length 1, becomes the unit's row of W_dec and, with the mean length of the
    other units' columns, its column of W_enc; its b_enc is set to 0. Without dead units, or where
    every residual is zero, nothing is changed and the result is empty.

    Raises what `ksae_lab.nn.inputs.rows` raises for the residual.

    Source: Bricken et al. (2023), who take the image itself and not its residual.
    Chapter 8.
    """
    units = np.flatnonzero(dead)
    residual = inputs.rows(residual, len(W_enc), "residuals")
    squares = (residual**2).sum(axis=1, dtype=np.float64)
    if not len(units) or not squares.any():
        return units[:0]
    again = len(units) > int(np.count_nonzero(squares))
    chosen = checks.generator(rng).choice(
        len(residual), len(units), replace=again, p=squares / squares.sum()
    )
    drawn = residual[chosen]
    direction = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    alive = np.delete(np.linalg.norm(W_enc, axis=0), units)
    W_enc[:, units] = direction.T * (alive.mean() if len(alive) else 1)
    W_dec[units] = direction  # after W_enc: with tied weights it is the same array
    b_enc[units] = 0
    return units


@runtime_checkable
class HasEncoderAndDecoder(Protocol):
    """What can be reset: W_enc (d, n), W_dec (n, d), b_enc (n,), and a reconstruction.

    Chapter 8.
    """

    @property
    def W_enc(self) -> np.ndarray:
        """The encoder's matrix (d, n), live."""

    W_dec: np.ndarray
    b_enc: np.ndarray

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """x̂ (batch, d) for x (batch, d)."""


class ResetDeadUnits(Callback):
    """Every `every` epochs, until progress `until`, each dead unit starts again at a residual.

    `restart_dead` says how, with the images of training, arrays (samples, d), or with some of them
    that `rng` draws, where they stay on the disk, or with those of the epoch's last batch, where
    batches come ready-made.
    The optimizer forgets what it remembers of these weights, else old momentum would pull the new
    unit away, and the monitor counts from zero.

    Raises `ValueError` if `every` is below 1 or `until` is not between 0 and 1, and `TypeError` for
    what is no monitor and, at the first reset, for a model without W_enc, W_dec and b_enc.

    Source: Bricken et al. (2023).
    Chapter 8.
    """

    def __init__(self, monitor: DeadUnitMonitor, every: int, until: float = 0.5):
        self.monitor = _monitor(monitor)
        self.plan = ResetPlan(every, until)

    def after_epoch(self, trainer: Trainer) -> None:
        """Reset what is dead now, if it is time."""
        if not self.plan.is_due(trainer.epoch, trainer.epochs) or not self.monitor.dead.any():
            return
        model, x = trainer.model, trainer.images
        if not isinstance(model, HasEncoderAndDecoder):
            raise TypeError(
                f"A {type(model).__name__} has no W_enc, W_dec and b_enc to reset; "
                "train a KSparseAutoencoder, or leave ResetDeadUnits out."
            )
        if isinstance(x, inputs.LazyRows):
            x = x.some(trainer.rng, int(self.monitor.dead.sum()))
        residual = x - model.reconstruct(x)
        units = restart_dead(
            self.monitor.dead, residual, model.W_enc, model.W_dec, model.b_enc, trainer.rng
        )
        if isinstance(trainer.optimizer, BaseOptimizer):
            for name, where in (("W_enc", np.s_[:, units]), ("W_dec", units), ("b_enc", units)):
                if name in model.parameters:
                    trainer.optimizer.forget(name, where)
        self.monitor.silent[units] = 0


def forget_laterals(dead: np.ndarray, S: np.ndarray, b: np.ndarray, rate: float) -> None:
    """Move the rows of dead units towards S = I and b = 0, by the share `rate`, in place.

    `dead` is boolean (n,), S (n, n), b (n,).

    Chapter 11.
    """
    units = np.flatnonzero(dead)
    S[units] *= 1 - rate
    S[units, units] += rate
    b[units] *= 1 - rate


@runtime_checkable
class HasLaterals(Protocol):
    """What can be revived: lateral weights S (n, n), biases b (n,).

    Chapter 11.
    """

    S: np.ndarray
    b: np.ndarray


class ReviveDead(Callback):
    """Each dead unit of a `SparseDream` forgets its inhibition until it is active again.

    While a unit is inactive for every image, no gradient reaches its row of S (n, n) and its b
    (n,). With every step they go back towards the identity and 0, by the share `rate`, a scalar, of
    what is left; as soon as it is active, learning takes over again.
    Raising b alone revives as well, and goes too far: other units inhibit it ever more strongly,
    its b rises ever higher, and one day it is far too active for an image that inhibits it less.

    Raises `ValueError` for a rate that is not above 0 and at most 1, and `TypeError` for what is no
    monitor and, at the first step, for a model without S and b.

    Chapter 11.
    """

    def __init__(self, monitor: DeadUnitMonitor, rate: float = 0.01):
        self.monitor = _monitor(monitor)
        self.rate = checks.share(checks.positive(rate, "rate"), "rate")

    def after_step(self, trainer: Trainer, forward: ForwardPass) -> None:
        """Move S (n, n) and b (n,) of the dead a little towards their start."""
        model = trainer.model
        if not isinstance(model, HasLaterals):
            raise TypeError(
                f"A {type(model).__name__} has no lateral weights S and biases b; "
                "train a SparseDream, or leave ReviveDead out."
            )
        forget_laterals(self.monitor.dead, model.S, model.b, self.rate)


def _monitor(monitor: DeadUnitMonitor) -> DeadUnitMonitor:
    if not isinstance(monitor, DeadUnitMonitor):
        raise TypeError(f"The monitor is {monitor!r}; give a DeadUnitMonitor.")
    return monitor
