"""What all selectors have in common in Keras, and what the layers and models that have one share.

A selector is a value: a layer or a model takes a copy of its own. It holds what may change in
training (k, a prefix, a temperature, a threshold) as weights, so that setting one needs no new
graph, and counts for how long each unit has been inactive.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from ksae_lab.keras.arrays import as_numpy, numpy_dtype
from ksae_lab.keras.devices import over_all_devices
from ksae_lab.nn import selectors as in_numpy

INTEGER = {"dtype": "int", "trainable": False}  # a weight that counts


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
            shape=(self.n_units,), name="silent", initializer="zeros", **INTEGER
        )
        if self.dead_after > self._most:
            raise ValueError(
                f"Dead after {self.dead_after} inputs is more than this backend can count; "
                f"give {self._most} or less."
            )
        self.built = True

    @property
    def _most(self) -> int:
        return int(np.iinfo(self.silent.dtype).max)

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
            active = over_all_devices(ops.cast(active, "int"))
            inputs = over_all_devices(ops.cast(ops.size(h) // self.n_units, "int"))
            # Neither wraps round: it stands at the largest number that its kind of integer has.
            before = ops.minimum(self.silent, self._most - inputs)
            self.silent.assign(ops.where(active > 0, 0, before + inputs))
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
            twin = twin.for_units(self.n_units, numpy_dtype(self.variable_dtype))
            for name, w in twin.state.items():
                w[...] = as_numpy(getattr(self, name))
        return twin

    def take(self, twin: in_numpy.Selector) -> None:
        """Take copies of what a NumPy twin has learned."""
        for name, w in twin.state.items():
            getattr(self, name).assign(w)


def setting(name: str, doc: str) -> property:
    """A weight of shape () that reads and is set like a number, a scalar.

    A graph cannot ask a weight for its number: what has to know k beforehand finds `k_of_graph`.

    Chapter 6.
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
