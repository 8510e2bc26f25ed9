r"""What a weight would have done in steps whose gradient is zero: closed forms of dense optimizers.

A unit that no row of a batch uses has no gradient, and still moves: Adam's mean of gradients fades
by β₁ a step and its mean of squares by β₂, and their ratio is the step. After τ such steps the
weight has gone

    Σ aⱼ rʲ · m / √v with r = β₁ / √β₂, j from 1 to τ,

where aⱼ is the rate of the j-th of them, corrected for both means' beginning. ε is left out of the
fading, which is right as long as √v stays far above it. So a unit need not be touched until it is
used again. What is not the same: until then others see it where it was, and rows of length 1 are
brought back to it once and not after each of the steps.
"""

from dataclasses import dataclass, field

import numpy as np

from ksae_lab.engine import rules
from ksae_lab.training.optimizers import SGD, Adam, BaseOptimizer, RMSprop

LONGEST = 512  # missed steps that are told apart: by then momentum is gone


@dataclass
class Tables:
    """By the number of steps that were missed: drift, and what memories keep, (missed,) each.

    Chapter 8.
    """

    drift: np.ndarray
    keep: np.ndarray
    keep_v: np.ndarray


@dataclass
class CatchUp:
    """Remembers the rates of the latest steps, and says what those who missed some have missed.

    Source: Kingma & Ba (2015) for the steps; the sum is a geometric one.
    Chapter 8.
    """

    optimizer: BaseOptimizer
    rates: list[float] = field(default_factory=list)  # of the latest steps, the last one first

    def note(self) -> None:
        """Remember the step that the optimizer has just begun."""
        self.rates.insert(0, rules.rate(self.optimizer))
        del self.rates[LONGEST:]

    def tables(self, dtype: np.dtype) -> Tables:
        """For units that missed the latest 0, 1, 2, … steps; arrays of `dtype`."""
        from scipy.signal import lfilter  # here: it takes half a second to import

        steps = np.arange(LONGEST + 1)
        rule = self.optimizer
        if isinstance(rule, Adam):
            keep, keep_v = rule.beta_1**steps, rule.beta_2**steps
            ratio = rule.beta_1 / np.sqrt(rule.beta_2)
            rates = np.zeros(LONGEST)
            rates[: len(self.rates)] = self.rates
            # The latest step weighs ratio^τ, the first that was missed ratio^1: with one more,
            # all that was there weighs less by one ratio.
            drift = np.concatenate([[0], lfilter([ratio], [1, -ratio], rates)])
        elif isinstance(rule, SGD):
            keep, keep_v = rule.momentum**steps, np.ones(LONGEST + 1)
            drift = np.concatenate([[0], np.cumsum(keep[1:])])
        else:
            keep = (rule.rho if isinstance(rule, RMSprop) else 1.0) ** steps
            keep_v, drift = np.ones(LONGEST + 1), np.zeros(LONGEST + 1)
        return Tables(*(table.astype(dtype) for table in (drift, keep, keep_v)))
