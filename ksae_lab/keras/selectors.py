"""Which units are active: top-k and its kin, by the names of `ksae_lab.nn.selectors`, in Keras."""

from typing import Any

import keras
import numpy as np
from keras import ops

from ksae_lab.keras.devices import over_all_devices
from ksae_lab.keras.selector import INTEGER, Selector, setting
from ksae_lab.keras.topk import first_of_ties, prefix_mask, ranked, top_k_mask
from ksae_lab.nn import selectors as in_numpy
from ksae_lab.nn.selectors import MEMORY
from ksae_lab.nn.topk import By


@keras.saving.register_keras_serializable(package="ksae_lab")
class TopK(Selector):
    """The k largest of each row of h (..., n), by "value" or by "magnitude"; ties to the left.

    Raises what `ksae_lab.nn.topk.top_k_mask` raises for a k or by that cannot work.

    Source: Makhzani & Frey (2013).
    Chapter 6.
    """

    k = setting("k", "How many units are active, a scalar; may be set at any time.")
    k_may_change = True

    def __init__(self, k: int, by: By = "value", **options: Any):
        super().__init__(**options)
        in_numpy.TopK(k, by)  # says what cannot work
        self.by = by
        self._k = self.add_weight(shape=(), name="k", initializer="zeros", **INTEGER)
        self.k = k

    def settings(self) -> dict[str, Any]:
        """k and by."""
        return {"k": self.k, "by": self.by}

    def mask(self, h: Any, training: bool = False) -> Any:
        """The k largest of each row."""
        return top_k_mask(h, self._k, by=self.by)


@keras.saving.register_keras_serializable(package="ksae_lab")
class PrefixTopK(TopK):
    """The k largest of the first `prefix` units; if the prefix is shorter than k, all of it.

    h, z and mask have shape (..., n).

    Raises what `ksae_lab.nn.selectors.PrefixTopK` raises.

    Source: Kusupati et al. (2022) for codes whose beginnings are codes.
    Chapter 16.
    """

    prefix = setting("prefix", "How many units may be selected, the first ones: a scalar.")

    def __init__(self, k: int, prefix: int, by: By = "value", **options: Any):
        super().__init__(k, by, **options)
        self._prefix = self.add_weight(shape=(), name="prefix", initializer="ones", **INTEGER)
        self.prefix = prefix

    def settings(self) -> dict[str, Any]:
        """k, prefix and by."""
        return {**super().settings(), "prefix": self.prefix}

    def mask(self, h: Any, training: bool = False) -> Any:
        """The k largest of each row's prefix."""
        return prefix_mask(h, self._k, self._prefix, self.by)


@keras.saving.register_keras_serializable(package="ksae_lab")
class BatchTopK(TopK):
    """In training the k · batch largest of the whole batch, if above zero; then all from θ on.

    h, z and mask have shape (..., n). θ, `threshold`, is a weight, which follows the smallest
    number that was kept: so the code of an image does not depend on which others stand beside it.
    Before any training θ is 0, and all above zero are active. `calibrate` sets it exactly.
    On several devices each selects from its own part of the batch, and θ follows the mean of those
    that kept a number.

    Raises what `TopK` raises.

    Source: Bussmann, Leask & Nanda (2024).
    Chapter 16.
    """

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Make room for θ, too."""
        super().build(input_shape)
        self.threshold = self.add_weight(
            shape=(), name="threshold", initializer="zeros", trainable=False
        )

    def to_numpy(self) -> in_numpy.Selector:
        """Its twin in NumPy; before there is a θ, one without."""
        return (
            super().to_numpy()
            if hasattr(self, "threshold")
            else in_numpy.BatchTopK(self.k, self.by)
        )

    def mask(self, h: Any, training: bool = False) -> Any:
        """Which units are active: booleans of the shape of h, (..., n)."""
        if training:
            mask = self.mask_of_batch(h)
            smallest = ops.cast(self._smallest(h, mask), self.threshold.dtype)
            kept = ops.isfinite(smallest)  # else none was, or a NaN
            devices = over_all_devices(ops.cast(kept, smallest.dtype))
            smallest = over_all_devices(ops.where(kept, smallest, 0)) / ops.maximum(devices, 1)
            before = self.threshold.value
            after = MEMORY * before + (1 - MEMORY) * smallest
            after = ops.where(before == 0, smallest, after)
            self.threshold.assign(ops.where(devices > 0, after, before))
            return mask
        scores = ranked(h, self.by)
        return (scores >= ops.cast(self.threshold, h.dtype)) & (scores > 0)

    def mask_of_batch(self, h: Any) -> Any:
        """The k · batch largest of h (..., n), if above zero; ties to the first image."""
        scores = ops.reshape(ranked(h, self.by), (-1,))
        count = self._k * ops.cast(ops.shape(scores)[0] // self.n_units, self._k.dtype)
        # One more number, since a device that has no image of the last batch has no last one.
        ordered = ops.append(-ops.sort(-scores), ops.full((1,), -np.inf, scores.dtype))
        last = ops.take(ordered, ops.maximum(count - 1, 0))
        mask = first_of_ties(scores, last, count) & (scores > 0)
        return ops.reshape(mask, ops.shape(h))

    def calibrate(self, h: Any) -> None:
        """Set θ so that for these pre-activations (samples, n) k units are active on average.

        Do so after `k` was set. It also makes good what noise in training did to θ.

        Raises `ValueError` for another number of units, and if none would be active.
        """
        if h.shape[-1] != self.n_units:
            raise ValueError(f"h has shape {tuple(h.shape)}; expected (samples, {self.n_units}).")
        smallest = float(self._smallest(h, self.mask_of_batch(h)))
        if np.isinf(smallest):
            raise ValueError(f"With k = {self.k} no unit is active for these inputs; train first.")
        self.threshold.assign(smallest)

    def _smallest(self, h: Any, mask: Any) -> Any:
        """The smallest number of h (..., n) that was kept, a scalar; infinite if none was."""
        return ops.min(ops.where(mask, ranked(h, self.by), np.inf), initial=np.inf)


def as_selector(k: Any) -> Selector:
    """A selector as it is, `TopK(k)` for an integer, and what a stored config describes.

    Raises `TypeError` for anything else.

    Chapter 6.
    """
    if isinstance(k, dict):
        k = keras.saving.deserialize_keras_object(k)
    if isinstance(k, Selector):
        return k
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise TypeError(
            f"k is {k!r}; give the number of active units, or a selector of ksae_lab.keras, "
            'such as TopK(10, by="magnitude").'
        )
    return TopK(int(k))


def from_numpy(twin: in_numpy.Selector) -> Selector:
    """The Keras twin of a NumPy selector, which is registered by the same name, and its settings.

    Chapter 6.
    """
    twin_class = keras.saving.get_registered_object(f"ksae_lab>{type(twin).__name__}")
    made: Selector = twin_class(**twin.get_config())
    return made
