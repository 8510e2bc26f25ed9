"""Three other rules of who speaks: of the first units only, of a whole batch, above a threshold."""

import numpy as np
from keras import ops

from ksae_lab.keras.layers import Choice, top_k_mask

MEMORY = 0.99  # what a threshold keeps of itself in a step of training


class PrefixChoice(Choice):
    """The k largest of the first `prefix` units; if the prefix is shorter than k, all of it.

    h, z and mask have shape (..., n). The prefix is a weight: it may be set at any time.

    Raises what `Choice` raises.

    Source: Kusupati et al. (2022) for codes whose beginnings are codes.
    Chapter 16.
    """

    def __init__(self, n_units: int, *settings, **options):
        super().__init__(n_units, *settings, **options)
        self._prefix = self.add_weight(
            shape=(), name="prefix", dtype="int", initializer="ones", trainable=False
        )
        self.prefix = n_units

    @property
    def prefix(self) -> int:
        """How many units may be chosen from, a scalar."""
        return int(ops.convert_to_numpy(self._prefix))

    @prefix.setter
    def prefix(self, prefix: int) -> None:
        """Take another prefix, if it fits."""
        self.check_prefix(prefix)
        self._prefix.assign(prefix)

    def check_prefix(self, prefix: int) -> None:
        """Raises `ValueError` for a prefix, a scalar, that is no number of units."""
        if not (isinstance(prefix, int | np.integer) and 1 <= prefix <= self.n_units):
            raise ValueError(
                f"The prefix is {prefix}; give a number of units, 1 to {self.n_units}."
            )

    def mask(self, h, training=False):
        """Who speaks: booleans of the shape of h, (..., n)."""
        return self.mask_for(h, self._k, self._prefix)

    def mask_for(self, h, k, prefix):
        """Who would speak with another k and another prefix: booleans (..., n)."""
        inside = ops.arange(self.n_units) < ops.cast(prefix, "int32")
        # Units outside come last: of equals the lowest index is taken.
        last = 0.0 if self.by == "magnitude" else -np.inf
        return inside & top_k_mask(ops.where(inside, h, last), k, by=self.by)


class BatchChoice(Choice):
    """In training the k · batch largest of the whole batch, if above zero; then all from θ on.

    h, z and mask have shape (..., n). θ is a weight, which follows the smallest number that was
    kept: so the code of an image does not depend on which others it is shown with.
    Before any training θ is 0, and all above zero speak.
    On several devices each chooses from its own part of the batch, and θ is their mean.

    Raises what `Choice` raises.

    Source: Bussmann, Leask & Nanda (2024).
    Chapter 16.
    """

    def __init__(self, *settings, **options):
        super().__init__(*settings, **options)
        self.threshold = self.add_weight(
            shape=(), name="threshold", initializer="zeros", trainable=False, aggregation="mean"
        )

    def mask(self, h, training=False):
        """Who speaks: booleans of the shape of h, (..., n)."""
        if training:
            mask = self.mask_of_batch(h)
            smallest = ops.cast(self.smallest(h, mask), self.threshold.dtype)
            before = self.threshold.value
            after = MEMORY * before + (1 - MEMORY) * smallest
            after = ops.where(before == 0, smallest, after)
            self.threshold.assign(ops.where(ops.any(mask), after, before))
            return mask
        scores = self._scores(h)
        # Said by what is not so, so that a NaN speaks and is seen.
        return ~((scores < ops.cast(self.threshold, h.dtype)) | (scores <= 0))

    def mask_of_batch(self, h):
        """The k · batch largest of h (..., n), if above zero; ties to the first image."""
        scores = ops.reshape(self._scores(h), (-1,))
        count = self._k * ops.cast(ops.shape(scores)[0] // self.n_units, self._k.dtype)
        ordered = -ops.sort(-scores)
        last = ops.take(ordered, ops.maximum(count - 1, 0))
        above, tied = ~(scores <= last), scores == last
        room = count - ops.sum(ops.cast(above, count.dtype))
        first = ops.cumsum(ops.cast(tied, count.dtype)) <= room
        mask = (above | (tied & first)) & ~(scores <= 0)
        return ops.reshape(mask, ops.shape(h))

    def smallest(self, h, mask):
        """The smallest number of h (..., n) that was kept, a scalar; infinite if none was."""
        return ops.min(ops.where(mask, self._scores(h), np.inf))

    def _scores(self, h):
        return ops.abs(h) if self.by == "magnitude" else h


class JumpChoice(Choice):
    """Among the k largest, those above their own threshold θ: z = φ(h) ⊙ 1[h > θ].

    h, z and mask have shape (..., n), θ (n,). With k = n only the thresholds decide.
    θ = exp(log_threshold) stays above zero, and learns by a slope that is made up: as if each step
    were a ramp of width `bandwidth`, ε. For h the slope is the mask's.

    Raises what `Choice` raises.

    Source: Rajamanoharan et al. (2024).
    Chapter 16.
    """

    bandwidth = 1.0

    def __init__(self, n_units: int, *settings, **options):
        super().__init__(n_units, *settings, **options)
        self.log_threshold = self.add_weight(
            shape=(n_units,), name="log_threshold", initializer="zeros"
        )

    def mask(self, h, training=False):
        """Who speaks: booleans of the shape of h, (..., n)."""
        return super().mask(h) & ~(h <= self._threshold(h))

    def call(self, h, training=False):
        """z for h, both (..., n)."""
        jump = self.phi(self._threshold(h))  # how high the step is
        return super().call(h, training=training) + jump * self._edge(h)

    def count(self, h):
        """How many speak, for each row of h (..., n): numbers (...) that θ has a slope for."""
        return ops.sum(ops.cast(self.mask(h), h.dtype) + self._edge(h), axis=-1)

    def _threshold(self, h):
        return ops.cast(ops.exp(self.log_threshold), h.dtype)

    def _edge(self, h):
        """Zero, whose slope in θ is that of the ramp: −1/ε where h is within ε/2 of θ."""
        threshold = self._threshold(h)
        near = ops.cast(ops.abs(h - threshold) < self.bandwidth / 2, h.dtype)
        return -near / self.bandwidth * (threshold - ops.stop_gradient(threshold))
