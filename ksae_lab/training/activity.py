"""Whether a training still has active units: too high a rate can kill all, and no loss shows it."""

import warnings

import numpy as np


class Activity:
    """Counts the steps since any unit was active, and warns if that is too long.

    Chapter 8.
    """

    def __init__(self) -> None:
        self.ever = False  # was any unit active; with k = 0, none is meant to be
        self.idle = 0  # steps since
        self.steps = 0

    def note(self, units: np.ndarray) -> None:
        """Which units, booleans (n,), were active in one more step."""
        active = bool(units.any())
        self.ever |= active
        self.idle = 0 if active else self.idle + 1
        self.steps += 1

    def warn(self, steps: int) -> None:
        """Warn if none has been active for an epoch of so many `steps`, or since the first step."""
        if self.ever and self.idle >= max(1, min(steps, self.steps - 1)):
            warnings.warn(
                f"All units are dead: none was active in the last {self.idle} steps, so nothing "
                "is learned any more; start again with a lower learning rate.",
                RuntimeWarning,
                stacklevel=5,  # where a model's `fit` was called
            )
