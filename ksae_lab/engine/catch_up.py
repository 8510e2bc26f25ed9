r"""What a weight would have done in steps whose gradient is zero: closed forms of dense optimizers.

A unit that no row of a batch uses has no gradient, and still moves: Adam's mean of gradients fades
by β₁ a step and its mean of squares by β₂, and their ratio is the step. After τ such steps the
weight has gone

    Σ aⱼ rʲ · m / √v with r = β₁ / √β₂, j from 1 to τ,

where aⱼ is the rate of the j-th of them, corrected for both means' beginning. ε is left out of the
fading, which is right as long as √v stays far above it. So a unit need not be touched in every
step. But it must be touched soon: others are ranked against where it stands, and with many units
that are seldom used, and a high rate, a training with long debts may go astray (chapter 17). After
τ steps a share of about r^τ of the way is still to go, whatever the gradient was, and exactly that
while the rate stays the same; so a few payments keep the debt small. What is not the same: between
them others see a unit where it was, and rows of length 1 are brought back to it once and not after
each of the steps.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ksae_lab.engine import rules
from ksae_lab.training.optimizers import SGD, Adam, BaseOptimizer

LONGEST = 512  # idle steps that are told apart: by then momentum is gone


class Tables(NamedTuple):
    """By the number of steps that are owed: drift, and what memories keep, (steps,) each.

    Chapter 8.
    """

    drift: np.ndarray
    keep: np.ndarray
    keep_v: np.ndarray


def schedule(optimizer: BaseOptimizer, debt: float) -> np.ndarray:
    """How many steps a unit owes after 0, 1, 2, … idle ones, (steps,); 0 where it has just paid.

    It pays when it would owe more than `debt`, a share, of the way that momentum carries it at one
    rate, and when the tables end, from where on it is counted as idle for the first time again.

    Chapter 17.
    """
    keep, keep_v = rules.shares(optimizer)
    r = keep / np.sqrt(keep_v) if isinstance(optimizer, SGD | Adam) else 0.0
    to_go = r ** np.arange(LONGEST + 1) if r else np.zeros(LONGEST + 1)
    owed, paid = np.zeros(LONGEST + 1, np.int64), 0
    for idle in range(1, LONGEST + 1):
        if to_go[paid] - to_go[idle] > debt or idle == LONGEST:
            paid = idle
        owed[idle] = idle - paid
    return owed


class CatchUp:
    """Says what the steps come to that units owe, for weights of `dtype`.

    Source: Kingma & Ba (2015) for the steps; the sum is a geometric one.
    Chapter 17.
    """

    def __init__(self, optimizer: BaseOptimizer, dtype: np.dtype):
        self.optimizer, self.dtype = optimizer, dtype
        self._drift = np.zeros(LONGEST + 1)

    def note(self) -> None:
        """Take in the step that the optimizer has just begun."""
        if isinstance(self.optimizer, Adam):
            # Who misses this step, too, has missed one more, and its mean has faded by one more.
            keep, keep_v = (_powers(share) for share in rules.shares(self.optimizer))
            moved = rules.rate(self.optimizer) * keep[1:] / np.sqrt(keep_v[1:])
            self._drift[1:] = self._drift[:-1] + moved

    def tables(self) -> Tables:
        """For units that owe the latest 0, 1, 2, … steps."""
        keep, keep_v = (_powers(share) for share in rules.shares(self.optimizer))
        drift = np.cumsum(keep) - 1 if isinstance(self.optimizer, SGD) else self._drift
        return Tables(*(table.astype(self.dtype) for table in (drift, keep, keep_v)))


@lru_cache(maxsize=8)
def _powers(share: float) -> np.ndarray:
    return share ** np.arange(LONGEST + 1)
