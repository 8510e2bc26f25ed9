"""Keeping units alive: know which are dead, and give them a new start."""

import numpy as np

from ksae_lab.training.loop import Callback, Trainer


class DeadUnitMonitor(Callback):
    """Counts, for each unit, how many training images have passed since it was last active.

    `silent` is that count, integers (n,); `dead` is True (n,) where it has reached `after` images.
    Take at least one epoch's images: a minibatch is no evidence. At each epoch's end the number of
    dead units, a scalar, is noted as "dead".

    Raises `ValueError` if `after` is below 1.

    Source: Gao et al. (2024), who wait for ten million tokens.
    Chapter 8.
    """

    def __init__(self, n_units: int, after: int):
        if after < 1:
            raise ValueError(f"Dead after {after} images is no rule; give 1 or more.")
        self.after = after
        self.silent = np.zeros(n_units, dtype=np.int64)

    @property
    def dead(self) -> np.ndarray:
        """True for each unit that has been silent for `after` images or more, of shape (n,)."""
        return self.silent >= self.after

    def after_step(self, trainer: Trainer) -> None:
        """Count one batch of codes, trainer.model.latest.z of shape (batch, n)."""
        z = trainer.model.latest.z
        self.silent += len(z)
        self.silent[(z != 0).any(axis=0)] = 0

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


class ResetDeadUnits(Callback):
    """Every `every` epochs, until progress `until`, each dead unit starts again at a leftover.

    An image is drawn, the more likely the worse it is drawn by the network now. What is left of it,
    x − x̂ brought to length 1, becomes the unit's row of W_dec (n, d) and, with the mean length of
    the living units' columns, its column of W_enc (d, n); its b_enc is set to 0.
    The optimiser forgets what it remembers of these weights, else old momentum would pull the new
    unit away, and the monitor counts from zero.

    Raises `ValueError` if `every` is below 1 or `until` is not between 0 and 1.

    Source: Bricken et al. (2023), who take the image itself and not what is left of it.
    Chapter 8.
    """

    def __init__(self, monitor: DeadUnitMonitor, every: int, until: float = 0.5):
        if every < 1 or not 0 <= until <= 1:
            raise ValueError(
                f"Resets every {every} epochs until {until} make no plan; "
                "give 1 epoch or more, and a share of training from 0 to 1."
            )
        self.monitor = monitor
        self.every = every
        self.until = until

    def after_epoch(self, trainer: Trainer) -> None:
        """Reset what is dead now, if it is time."""
        dead = np.flatnonzero(self.monitor.dead)
        if (
            trainer.epoch % self.every
            or trainer.epoch > self.until * trainer.epochs
            or not len(dead)
        ):
            return
        model, x = trainer.model, trainer.data[0]
        leftover = x - model.reconstruct(x)
        squares = (leftover**2).sum(axis=1, dtype=np.float64)
        if not squares.any():
            return  # every image is drawn perfectly: nothing is left to start from
        # Two units with one leftover would stay twins for good: no image twice while there are any.
        again = len(dead) > np.count_nonzero(squares)
        chosen = trainer.rng.choice(len(x), len(dead), replace=again, p=squares / squares.sum())
        drawn = leftover[chosen]
        direction = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        alive = np.delete(np.linalg.norm(model.W_enc, axis=0), dead)
        model.W_enc[:, dead] = direction.T * (alive.mean() if len(alive) else 1)
        model.W_dec[dead] = direction  # after W_enc: with tied weights it is the same array
        model.b_enc[dead] = 0
        for name, where in (("W_enc", np.s_[:, dead]), ("W_dec", dead), ("b_enc", dead)):
            if name in model.parameters:
                trainer.optimizer.forget(name, where)
        self.monitor.silent[dead] = 0


class ReviveDead(Callback):
    """Each dead unit of a `SparseDream` forgets what the others told it, until it speaks again.

    While a unit is silent for every image, no gradient reaches its row of S (n, n) and its b (n,).
    With every step they go back towards the identity and 0, by the share `rate`, a scalar, of what
    is left; as soon as it speaks, learning takes over again.
    Raising b alone wakes as well, and goes too far: others hush the unit ever more strongly, its b
    rises ever higher, and one day it shouts at an image that hushes it less.

    Raises `ValueError` for a rate that is not above 0 and at most 1.

    Chapter 11.
    """

    def __init__(self, monitor: DeadUnitMonitor, rate: float = 0.01):
        if not 0 < rate <= 1:
            raise ValueError(f"A rate of {rate} wakes nobody; give one above 0 and at most 1.")
        self.monitor = monitor
        self.rate = rate

    def after_step(self, trainer: Trainer) -> None:
        """Move S (n, n) and b (n,) of the dead a little towards their start."""
        dead = np.flatnonzero(self.monitor.dead)
        trainer.model.S[dead] *= 1 - self.rate
        trainer.model.S[dead, dead] += self.rate
        trainer.model.b[dead] *= 1 - self.rate
