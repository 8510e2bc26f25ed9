"""The k-sparse layer, and one that adds noise."""

from typing import Any

import keras
from keras import ops

from ksae_lab.keras.devices import SeedOfDevice
from ksae_lab.keras.selector import HasSelector, Selector
from ksae_lab.keras.selectors import as_selector


@keras.saving.register_keras_serializable(package="ksae_lab")
class KSparse(HasSelector, keras.layers.Dense):  # type: ignore[misc] # Keras has no types
    """`keras.layers.Dense` of which only the k units with the largest pre-activation are active.

    z = φ(h) ⊙ mask with h = x W + b: x (..., n_in), h, z and mask (..., units).
    `activation` is any that Keras takes; the selection ranks h. `k` may be a selector, such as
    `TopK(10, by="magnitude")`. `layer.k = 7` changes k, in the middle of `fit` too. `dead_after` is
    a number of inputs. `options` are those of `Dense`.

    Raises what the selector raises for a k that cannot work.

    Source: Makhzani & Frey (2013).
    Chapter 6.
    """

    def __init__(
        self,
        units: int,
        k: int | Selector,
        activation: Any = "linear",
        *,
        dead_after: int = 10_000,
        **options: Any,
    ):
        super().__init__(units, **options)
        self.phi = keras.activations.get(activation)
        self.selector = as_selector(k).own(units, self, dead_after)

    def call(self, x: Any, training: bool = False) -> Any:
        """z (..., units) for x (..., n_in)."""
        h = super().call(x, training=training)
        return self.selector(h, phi=self.phi, training=training)

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs; k as it is now."""
        return {
            **super().get_config(),
            "k": keras.saving.serialize_keras_object(self.selector),
            "activation": keras.activations.serialize(self.phi),
            "dead_after": self.selector.dead_after,
        }


class Noise(keras.layers.GaussianNoise):  # type: ignore[misc] # Keras has no types
    """`keras.layers.GaussianNoise` that is another one on each device of a strategy.

    Chapter 6.
    """

    def call(self, x: Any, training: bool = False) -> Any:
        """x with noise in training, of the same shape."""
        if not training or self.stddev == 0:
            return x
        seed = SeedOfDevice(self.seed_generator)
        options = {"stddev": self.stddev, "dtype": self.compute_dtype, "seed": seed}
        return x + keras.random.normal(ops.shape(x), **options)
