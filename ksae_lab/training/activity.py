"""Whether a training still has active units: too high a rate can kill all, and no loss shows it."""

import warnings
from typing import Any

import numpy as np

from ksae_lab.nn import inputs

ASKED = 1000  # images, or all if there are fewer
FEW = 50  # of them at a time, since the first few have an active unit in all but the worst case


class Activity:
    """Notes whether any unit was active in training, and warns if none is at its end.

    Chapter 8.
    """

    def __init__(self) -> None:
        self.ever = False  # with k = 0, none is meant to be

    def note(self, units: np.ndarray) -> None:
        """Which units, booleans (n,), were active in one more step."""
        self.ever = self.ever or bool(units.any())

    def warn(self, model: Any, images: Any) -> None:
        """Warn if no unit of a model that encodes is active for the first of images (samples, d).

        The last step is part of training, and what it did shows in no step's forward pass.
        """
        if not self.ever or not hasattr(model, "encode"):
            return
        some = images[: inputs.at_a_time(images, ASKED)]
        pieces = (some[start : start + FEW] for start in range(0, len(some), FEW))
        if not any(np.any(model.encode(piece)) for piece in pieces):
            warnings.warn(
                f"All units are dead: none is active for any of {len(some)} images of training, so "
                "nothing is learned any more; start again with a lower learning rate.",
                RuntimeWarning,
                stacklevel=5,  # where a model's `fit` was called
            )
