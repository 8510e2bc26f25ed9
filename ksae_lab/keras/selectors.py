"""Which units are active: the selectors of `ksae_lab.nn.selectors`, by the same names, in Keras.

A selector is a value: a layer or a model takes a copy of its own. It holds what may change in
training (k, a prefix, a temperature, a threshold) as weights, so that setting one needs no new
graph, and counts for how long each unit has been inactive.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from ksae_lab.keras import relaxations
from ksae_lab.keras.topk import top_k_mask
from ksae_lab.nn import selectors as in_numpy
from ksae_lab.nn.selectors import MEMORY
from ksae_lab.nn.topk import By

DRAW = ("perturbed", "gumbel_subset")  # the relaxations with noise
integer = {"dtype": "int", "trainable": False}


class Selector(keras.layers.Layer):  # type: ignore[misc] # Keras has no types
    """z = φ(h) ⊙ mask, of shape (..., n): what all selectors have in common.

    A subclass says its `mask`, and, where z is something else in training, its `select`.
    `silent`, integers (n,), counts for each unit the inputs in training since it was last active;
    from `dead_after` on it is dead. On several devices the count is that of all together.

    Raises `ValueError` for a `dead_after` below 1, and what the NumPy twin raises for settings that
    cannot work, as soon as the number of units is known.

    Chapter 6; chapter 8 for the dead.
    """

    k: Any  # of all but those that need none, such as JumpReLU
    k_of_graph: int
    k_may_change = False  # while it trains

    def __init__(self, *, dead_after: int = 10_000, **options: Any):
        super().__init__(autocast=False, **options)
        self.dead_after = dead_after

    def settings(self) -> dict[str, Any]:
        """What its own constructor takes, and that of its NumPy twin: plain values, as now."""
        return {}

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Make room for n units, the last of the shape."""
        if self.dead_after < 1:
            raise ValueError(f"Dead after {self.dead_after} inputs is no rule; give 1 or more.")
        self.n_units = int(input_shape[-1])
        self.to_numpy().for_units(self.n_units)  # says what cannot work
        self.silent = self.add_weight(
            shape=(self.n_units,), name="silent", initializer="zeros", **integer
        )
        self.built = True

    def dead(self) -> Any:
        """True for each unit that has been inactive for too long: a boolean tensor (n,)."""
        return self.silent >= self.dead_after

    def mask(self, h: Any, training: bool = False) -> Any:
        """Which units are active: booleans of the shape of h, (..., n)."""
        raise NotImplementedError(f"{type(self).__name__} has no mask; a selector needs one.")

    def select(self, h: Any, phi: Callable[[Any], Any], training: bool) -> Any:
        """z for h, both (..., n)."""
        return ops.where(self.mask(h, training), phi(h), 0)

    def call(
        self, h: Any, phi: Callable[[Any], Any] = keras.activations.linear, training: bool = False
    ) -> Any:
        """z for h, both (..., n), with the activation φ; in training the inactive are counted."""
        z = self.select(h, phi, training)
        if training:
            active = ops.any(ops.reshape(z != 0, (-1, self.n_units)), axis=0)
            inputs = _over_all_devices(ops.size(h) // self.n_units)
            active = _over_all_devices(active)
            self.silent.assign(ops.where(active > 0, 0, self.silent + inputs))
        return z

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs; what may change, as it is now."""
        own = {**self.settings(), **self.only_in_keras(), "dead_after": self.dead_after}
        return {**super().get_config(), **own}

    def only_in_keras(self) -> dict[str, Any]:
        """What its constructor takes beyond `settings`."""
        return {}

    def own(self, n_units: int, owner: keras.layers.Layer, dead_after: int) -> "Selector":
        """A copy for one layer of that many units, in its dtype, with what was learned so far."""
        options = {"dead_after": dead_after, "dtype": owner.dtype_policy}
        made = type(self)(
            **self.settings(), **self.only_in_keras(), **options, name=f"{owner.name}_selector"
        )
        made.build((None, n_units))
        if self.built and self.n_units == n_units:
            made.take(self.to_numpy())
        return made

    def to_numpy(self) -> in_numpy.Selector:
        """Its twin in NumPy, with copies of what it has learned."""
        twin = getattr(in_numpy, type(self).__name__)(**self.settings())
        if self.built:
            twin = twin.for_units(self.n_units, np.dtype(self.variable_dtype))
            for name, w in twin.state.items():
                w[...] = ops.convert_to_numpy(getattr(self, name))
        return twin

    def take(self, twin: in_numpy.Selector) -> None:
        """Take copies of what a NumPy twin has learned."""
        for name, w in twin.state.items():
            getattr(self, name).assign(w)


def _setting(name: str, doc: str) -> property:
    """A weight of shape () that reads and is set like a number.

    A graph cannot ask a weight for its number: what has to know k beforehand finds `k_of_graph`.
    """

    def get(self: Selector) -> Any:
        return ops.convert_to_numpy(getattr(self, f"_{name}")).item()

    def set_(self: Selector, value: Any) -> None:
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if name != "temperature" and not whole:
            raise TypeError(f"{name} is {value!r}, not an integer. Give a number of units.")
        if self.built:  # a copy of the twin with this value says what is wrong with it
            settings = self.settings() | {name: value}
            getattr(in_numpy, type(self).__name__)(**settings).for_units(self.n_units)
        getattr(self, f"_{name}").assign(value)
        if name == "k":
            self.k_of_graph = value

    return property(get, set_, doc=doc)


@keras.saving.register_keras_serializable(package="ksae_lab")
class TopK(Selector):
    """The k largest of each row of h (..., n), by "value" or by "magnitude"; ties to the left.

    Raises what `ksae_lab.nn.topk.top_k_mask` raises for a k or by that cannot work.

    Source: Makhzani & Frey (2013).
    Chapter 6.
    """

    k = _setting("k", "How many units are active, a scalar; may be set at any time.")
    k_may_change = True

    def __init__(self, k: int, by: By = "value", **options: Any):
        super().__init__(**options)
        in_numpy.TopK(k, by)  # says what cannot work
        self.by = by
        self._k = self.add_weight(shape=(), name="k", initializer="zeros", **integer)
        self.k = k

    def settings(self) -> dict[str, Any]:
        """k and by."""
        return {"k": self.k, "by": self.by}

    def mask(self, h: Any, training: bool = False) -> Any:
        """The k largest of each row."""
        return top_k_mask(h, self._k, by=self.by)

    def _scores(self, h: Any) -> Any:
        return ops.abs(h) if self.by == "magnitude" else h


def prefix_mask(h: Any, k: Any, prefix: Any, by: By) -> Any:
    """The k largest of the first `prefix` entries of each row of h (..., n): booleans (..., n).

    Chapter 16.
    """
    inside = ops.arange(h.shape[-1]) < ops.cast(prefix, "int32")
    # Entries outside come last: of equals the lowest index is taken.
    last = 0.0 if by == "magnitude" else -np.inf
    return inside & top_k_mask(ops.where(inside, h, last), k, by=by)


@keras.saving.register_keras_serializable(package="ksae_lab")
class PrefixTopK(TopK):
    """The k largest of the first `prefix` units; if the prefix is shorter than k, all of it.

    h, z and mask have shape (..., n).

    Raises what `ksae_lab.nn.selectors.PrefixTopK` raises.

    Source: Kusupati et al. (2022) for codes whose beginnings are codes.
    Chapter 16.
    """

    prefix = _setting("prefix", "How many units may be selected, the first ones: a scalar.")

    def __init__(self, k: int, prefix: int, by: By = "value", **options: Any):
        super().__init__(k, by, **options)
        self._prefix = self.add_weight(shape=(), name="prefix", initializer="ones", **integer)
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
    On several devices each selects from its own part of the batch, and θ is their mean.

    Raises what `TopK` raises.

    Source: Bussmann, Leask & Nanda (2024).
    Chapter 16.
    """

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Make room for θ, too."""
        super().build(input_shape)
        self.threshold = self.add_weight(
            shape=(), name="threshold", initializer="zeros", trainable=False, aggregation="mean"
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
            before = self.threshold.value
            after = MEMORY * before + (1 - MEMORY) * smallest
            after = ops.where(before == 0, smallest, after)
            self.threshold.assign(ops.where(ops.any(mask), after, before))
            return mask
        scores = self._scores(h)
        # Said by what is not so, so that a NaN is active and is seen.
        return ~((scores < ops.cast(self.threshold, h.dtype)) | (scores <= 0))

    def mask_of_batch(self, h: Any) -> Any:
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
        return ops.min(ops.where(mask, self._scores(h), np.inf))


@keras.saving.register_keras_serializable(package="ksae_lab")
class JumpReLU(Selector):
    """The units above a threshold of their own: z = φ(h) ⊙ 1[h > θ].

    h, z and mask have shape (..., n), θ (n,). θ = exp(log_threshold) stays above zero, and learns
    by a slope that is made up: as if each step were a ramp of width `bandwidth`, ε, in units of h.
    For h the slope is the mask's. There is no k; the auxiliary loss `L0` asks for few units.

    Raises `ValueError` for a threshold or bandwidth that is not above zero.

    Source: Rajamanoharan et al. (2024).
    Chapter 16.
    """

    def __init__(self, threshold: float = 1.0, bandwidth: float = 1.0, **options: Any):
        super().__init__(**options)
        in_numpy.JumpReLU(threshold, bandwidth)  # says what cannot work
        self.start = threshold
        self.bandwidth = bandwidth

    def settings(self) -> dict[str, Any]:
        """Where the thresholds started, and the bandwidth; the thresholds are weights."""
        return {"threshold": self.start, "bandwidth": self.bandwidth}

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Make a threshold for each unit."""
        self.log_threshold = self.add_weight(
            shape=input_shape[-1:], name="log_threshold", initializer="zeros"
        )
        self.log_threshold.assign(np.full(input_shape[-1:], np.log(self.start)))
        super().build(input_shape)

    @property
    def thresholds(self) -> np.ndarray:
        """θ of each unit, of shape (n,)."""
        return np.exp(ops.convert_to_numpy(self.log_threshold))

    def mask(self, h: Any, training: bool = False) -> Any:
        """Which units are above their threshold."""
        return ~(h <= self._threshold(h))

    def select(self, h: Any, phi: Callable[[Any], Any], training: bool) -> Any:
        """z for h, both (..., n), with a slope for θ."""
        height = phi(self._threshold(h))
        return super().select(h, phi, training) + height * self._edge(h)

    def count(self, h: Any) -> Any:
        """How many are active, for each row of h (..., n): numbers (...) with a slope for θ."""
        return ops.sum(ops.cast(self.mask(h), h.dtype) + self._edge(h), axis=-1)

    def _threshold(self, h: Any) -> Any:
        return ops.cast(ops.exp(self.log_threshold), h.dtype)

    def _edge(self, h: Any) -> Any:
        """Zero, whose slope in θ is that of the ramp: −1/ε where h is within ε/2 of θ."""
        threshold = self._threshold(h)
        near = ops.cast(ops.abs(h - threshold) < self.bandwidth / 2, h.dtype)
        return -near / self.bandwidth * (threshold - ops.stop_gradient(threshold))


@keras.saving.register_keras_serializable(package="ksae_lab")
class Relaxation(Selector):
    """A soft selection in training, exactly top-k afterwards, of one of the kinds of chapter 7.

    In training z = φ(h) ⊙ p, all (..., n), with weights p that have a slope of their own.
    `k` and `temperature` may be changed at any time, but for "gumbel_subset", whose k is fixed when
    the graph is made. `samples` and `seed` are for those that draw; where their random numbers
    stand is not saved, as with Keras' own `GaussianNoise`.

    Raises what `ksae_lab.nn.selectors.Relaxation` raises.

    Source: see the operators of `ksae_lab.nn.relaxations`.
    Chapter 7.
    """

    k = _setting("k", "How many units are active after training, a scalar.")
    temperature = _setting("temperature", "τ, how soft the selection is: a scalar.")

    def __init__(
        self,
        kind: str,
        k: int,
        temperature: float,
        *,
        samples: int = 10,
        seed: int = 0,
        **options: Any,
    ):
        super().__init__(**options)
        in_numpy.Relaxation(kind, k, temperature)  # says what cannot work
        self.kind = kind
        self.samples = samples
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)
        self._k = self.add_weight(shape=(), name="k", initializer="zeros", **integer)
        self._temperature = self.add_weight(
            shape=(), name="temperature", initializer="zeros", trainable=False
        )
        self.k, self.temperature = k, temperature
        self.k_may_change = kind != "gumbel_subset"

    def settings(self) -> dict[str, Any]:
        """The kind, k and temperature as they are now, and the number of samples."""
        return {
            "kind": self.kind,
            "k": self.k,
            "temperature": self.temperature,
            "samples": self.samples,
        }

    def only_in_keras(self) -> dict[str, Any]:
        """The seed; NumPy's has a generator in its place."""
        return {"seed": self.seed}

    def mask(self, h: Any, training: bool = False) -> Any:
        """The k largest of each row."""
        return top_k_mask(h, self._k)

    def weights_of(self, h: Any) -> Any:
        """p (..., n) at the present temperature."""
        options: dict[str, Any] = {"seed": self.generator} if self.kind in DRAW else {}
        if self.kind == "perturbed":
            options["samples"] = self.samples
        k = self.k_of_graph if self.kind == "gumbel_subset" else self._k
        temperature = ops.cast(self._temperature, h.dtype)
        return relaxations.RELAXATIONS[self.kind](h, k, temperature, **options)

    def select(self, h: Any, phi: Callable[[Any], Any], training: bool) -> Any:
        """z for h, both (..., n): soft in training."""
        return phi(h) * self.weights_of(h) if training else super().select(h, phi, training)


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
    """The Keras twin of a NumPy selector, by its name and its settings.

    Chapter 6.
    """
    made: Selector = globals()[type(twin).__name__](**twin.get_config())
    return made


class HasSelector:
    """What has a `selector` has its `k`, and its `dead` units as an array.

    Chapter 6.
    """

    selector: Selector

    @property
    def k(self) -> int:
        """How many units are active, a scalar; may be set at any time, in training too.

        Raises `AttributeError` where the selector has no k.
        """
        if not hasattr(type(self.selector), "k"):
            name = type(self.selector).__name__
            raise AttributeError(f"A {name} has no k: it does not count active units.")
        return int(self.selector.k)

    @k.setter
    def k(self, k: int) -> None:
        _ = self.k  # a selector without one says so
        self.selector.k = k

    @property
    def dead(self) -> np.ndarray:
        """True for each dead unit, of shape (n,)."""
        dead: np.ndarray = ops.convert_to_numpy(self.selector.dead())
        return dead


def selectors_of(model: keras.Model) -> list[Selector]:
    """All selectors in a model, for callbacks.

    Raises `ValueError` if there is none.

    Chapter 8.
    """
    result = [layer for layer in model._flatten_layers() if isinstance(layer, Selector)]
    if not result:
        raise ValueError(
            f"{model.name!r} has no layer that selects; "
            "build it with a KSparse layer, or use a KSparseAutoencoder."
        )
    return result


def _over_all_devices(number: Any) -> Any:
    """The sum over the replicas of a `tf.distribute` strategy, as integers of `silent`'s kind."""
    number = ops.cast(number, "int")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        replica = tf.distribute.get_replica_context()
        if replica is not None and replica.num_replicas_in_sync > 1:
            return replica.all_reduce(tf.distribute.ReduceOp.SUM, number)
    return number
