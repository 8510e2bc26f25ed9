"""The relaxations as a selector: soft in training, exactly top-k afterwards."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from ksae_lab.keras import relaxations
from ksae_lab.keras.devices import SeedOfDevice
from ksae_lab.keras.selector import INTEGER, Selector, setting
from ksae_lab.keras.topk import top_k_mask
from ksae_lab.nn import selectors as in_numpy

DRAW = ("perturbed", "gumbel_subset")  # the relaxations with noise


@keras.saving.register_keras_serializable(package="ksae_lab")
class Relaxation(Selector):
    """A soft selection in training, exactly top-k afterwards, of one of the kinds of chapter 7.

    In training z = φ(h) ⊙ p, all (..., n), with weights p that have a slope of their own.
    `k` and `temperature` may be changed at any time; on JAX alone the k of "gumbel_subset" is fixed
    when the graph is made. `samples` and `seed` are for those that draw; a file keeps where their
    random numbers stand.

    Raises what `ksae_lab.nn.selectors.Relaxation` raises.

    Source: see the operators of `ksae_lab.nn.relaxations`.
    Chapter 7.
    """

    k = setting("k", "How many units are active after training, a scalar.")
    temperature = setting("temperature", "τ, how soft the selection is: a scalar.")

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
        self._k = self.add_weight(shape=(), name="k", initializer="zeros", **INTEGER)
        self._temperature = self.add_weight(
            shape=(), name="temperature", initializer="zeros", trainable=False
        )
        self.k, self.temperature = k, temperature
        self.k_may_change = not self._k_is_of_graph

    @property
    def _k_is_of_graph(self) -> bool:
        return self.kind == "gumbel_subset" and keras.backend.backend() == "jax"

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

    def save_own_variables(self, store: Any) -> None:
        """The weights, and where the random numbers stand."""
        super().save_own_variables(store)
        if self.kind in DRAW:
            store["generator"] = self.generator.state

    def load_own_variables(self, store: Any) -> None:
        """The same; a file of an earlier version knows nothing of random numbers."""
        stored = {name: store[name] for name in store.keys()}  # noqa: SIM118 # no dict
        generator = stored.pop("generator", None)
        super().load_own_variables(stored)
        if generator is not None:
            self.generator.state.assign(generator)

    def mask(self, h: Any, training: bool = False) -> Any:
        """The k largest of each row."""
        return top_k_mask(h, self._k)

    def weights_of(self, h: Any) -> Any:
        """p (..., n) at the present temperature."""
        options: dict[str, Any] = {}
        if self.kind in DRAW:
            options["seed"] = SeedOfDevice(self.generator)
        if self.kind == "perturbed":
            options["samples"] = self.samples
        k = self.k_of_graph if self._k_is_of_graph else self._k
        temperature = ops.cast(self._temperature, h.dtype)
        return relaxations.RELAXATIONS[self.kind](h, k, temperature, **options)

    def select(self, h: Any, phi: Callable[[Any], Any], training: bool) -> Any:
        """z for h, both (..., n): soft in training."""
        return phi(h) * self.weights_of(h) if training else super().select(h, phi, training)
