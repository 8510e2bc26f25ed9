"""The k-sparse autoencoder of chapter 5 as a Keras model, with the same weights by name."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ksae_lab.keras import selectors
from ksae_lab.keras.arrays import as_numpy, numpy_dtype
from ksae_lab.keras.auxiliary_losses import AuxiliaryLoss, ForwardPass
from ksae_lab.keras.layers import Noise
from ksae_lab.keras.losses import of_batch
from ksae_lab.keras.reconstruction import Reconstruction, not_in_numpy
from ksae_lab.keras.selector import HasSelector, Selector
from ksae_lab.keras.selectors import as_selector
from ksae_lab.models import k_sparse
from ksae_lab.nn.checks import flag, not_negative, whole
from ksae_lab.nn.layers import Stage


@keras.saving.register_keras_serializable(package="ksae_lab")
class KSparseAutoencoder(HasSelector, Reconstruction):
    """x̂ = z W_dec + b_dec with z = φ(h) ⊙ mask and h = (x − b_dec) W_enc + b_enc.

    The mathematics, shapes and names of `ksae_lab.models.k_sparse.KSparseAutoencoder`:
    x (batch, d), h and z (batch, n), W_enc (d, n), W_dec (n, d), b_enc (n,), b_dec (d,).
    Train it with `compile(optimizer, loss="mse")` and `fit(x)`; `k` may be changed meanwhile.
    `k` is the number of active units, short for `TopK(k)`, or another selector of
    `ksae_lab.keras`. `activation` is any that Keras takes.
    `unit_norm` keeps the rows of W_dec at length 1 (Keras' constraint leaves them 10⁻⁷ below).
    With `noise`, in grey levels, training shows it noisy images and asks for the clean ones.

    In training `auxiliary_losses`, see `ksae_lab.keras.auxiliary_losses`, are added to the loss.
    A unit is dead once it has been inactive for `dead_after` images: take an epoch's at least.

    Raises what the selector raises for a k that cannot work, `ValueError` for an unknown
    activation or `dead_after` below 1, and what auxiliary losses raise that do not fit.

    Source: Makhzani & Frey (2013) for the network; Gao et al. (2024) for b_dec on both sides.
    Chapter 6.
    """

    def __init__(
        self,
        n_pixels: int,
        n_units: int,
        k: int | Selector,
        activation: Any = "relu",
        *,
        tied: bool = False,
        unit_norm: bool = True,
        noise: float = 0.0,
        auxiliary_losses: Sequence[AuxiliaryLoss] = (),
        dead_after: int = 10_000,
        **options: Any,
    ):
        super().__init__(n_pixels, **options)
        n_units = whole(n_units, "n_units")
        self.phi = keras.activations.get(activation)
        self.selector = as_selector(k).own(n_units, self, dead_after)
        self.noise = Noise(not_negative(noise, "noise"), dtype=self.dtype_policy)
        self.tied = flag(tied, "tied")
        self.unit_norm = flag(unit_norm, "unit_norm")
        if not isinstance(auxiliary_losses, Sequence):
            raise TypeError(f"auxiliary_losses is {auxiliary_losses!r}; give a list of them.")
        self.auxiliary_losses = tuple(map(_restored, auxiliary_losses))
        for auxiliary in self.auxiliary_losses:
            auxiliary.check(self)
        unit_rows = keras.constraints.UnitNorm(axis=1)
        if not tied:
            self.W_enc = self.add_weight(shape=(n_pixels, n_units), name="W_enc")
        self.W_dec = self.add_weight(
            shape=(n_units, n_pixels),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            constraint=unit_rows if unit_norm else None,
            name="W_dec",
        )
        self.b_enc = self.add_weight(shape=(n_units,), initializer="zeros", name="b_enc")
        self.b_dec = self.add_weight(shape=(n_pixels,), initializer="zeros", name="b_dec")
        self.W_dec.assign(unit_rows(self.W_dec))
        if not tied:
            self.W_enc.assign(ops.transpose(self.W_dec))
        self.build((None, n_pixels))  # all weights are there; so Keras knows it, and the shape

    @property
    def stages(self) -> list[Stage]:
        """The image, the units, the image again: three sizes, each a scalar."""
        n_units, n_pixels = self.W_dec.shape
        name = getattr(self.phi, "__name__", "units")
        k = self.k if hasattr(type(self.selector), "k") else None
        return [Stage("image", n_pixels), Stage(name, n_units, k), Stage("image", n_pixels)]

    def init_from_data(self, x: np.ndarray, rng: np.random.Generator, noise: float = 0.05) -> None:
        """Start at the data x (samples, d), as `ksae_lab.models.k_sparse` does and says."""
        start = self._in_numpy("linear")  # the start is the same for every activation
        start.init_from_data(x, rng, noise)
        self._take(start)

    def pre_activations(self, x: Any) -> Any:
        """h (batch, n) for x (batch, d).

        Raises `ValueError` for another shape.
        """
        x = self.as_images(x)
        W_enc = ops.transpose(self._cast(self.W_dec)) if self.tied else self._cast(self.W_enc)
        return ops.matmul(x - self._cast(self.b_dec), W_enc) + self._cast(self.b_enc)

    def encode(self, x: Any) -> Any:
        """The code z (batch, n) of x (batch, d), once training is over."""
        return self.selector(self.pre_activations(x), phi=self.phi)

    def decode(self, z: Any) -> Any:
        """The images x̂ (batch, d) of the codes z (batch, n)."""
        return ops.matmul(z, self._cast(self.W_dec)) + self._cast(self.b_dec)

    def call(self, x: Any, training: bool = False) -> Any:
        """x̂ (batch, d) for x (batch, d); in training the auxiliary losses are added."""
        x = self.as_images(x)
        h = self.pre_activations(self.noise(x, training=training))
        dead = self.selector.dead()  # before this batch is counted
        z = self.selector(h, phi=self.phi, training=training)
        x_hat = self.decode(z)
        if training and self.auxiliary_losses:
            forward = ForwardPass(self, x, h, z, x_hat, dead)
            terms = [of_batch(each(forward), x) for each in self.auxiliary_losses]
            self._clear_losses()  # of another device, which stopped for us while it counted
            self.add_loss(terms)
        return x_hat

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs; k as it is now."""
        n_units, n_pixels = self.W_dec.shape
        serialize = keras.saving.serialize_keras_object
        return {
            **keras.layers.Layer.get_config(self),
            "n_pixels": n_pixels,
            "n_units": n_units,
            "k": serialize(self.selector),
            "activation": keras.activations.serialize(self.phi),
            "tied": self.tied,
            "unit_norm": self.unit_norm,
            "noise": self.noise.stddev,
            "auxiliary_losses": [serialize(each) for each in self.auxiliary_losses],
            "dead_after": self.selector.dead_after,
        }

    @classmethod
    def from_numpy(cls, model: k_sparse.KSparseAutoencoder, **options: Any) -> "KSparseAutoencoder":
        """The same model in Keras, with copies of its weights; its selector and dtype too.

        Auxiliary losses are not taken over: give those of `ksae_lab.keras.auxiliary_losses`
        among `options`.
        """
        if not isinstance(model, k_sparse.KSparseAutoencoder):
            raise not_in_numpy(model, cls)
        n_units, n_pixels = model.W_dec.shape
        settings: dict[str, Any] = {
            "tied": model.tied,
            "unit_norm": model.unit_norm,
            "dtype": model.W_dec.dtype.name,
        }
        selector = selectors.from_numpy(model.selector)
        twin = cls(n_pixels, n_units, selector, model.phi.name, **settings | options)
        twin._take(model)
        twin.selector.take(model.selector)
        return twin

    def to_numpy(self) -> k_sparse.KSparseAutoencoder:
        """The same model in NumPy, with copies of the weights and no auxiliary losses.

        Raises `ValueError` for an activation that `ksae_lab.nn.activations` does not know.
        """
        name = keras.activations.serialize(self.phi)
        return self._in_numpy({"silu": "swish"}.get(name, name))

    def _in_numpy(self, activation: str) -> k_sparse.KSparseAutoencoder:
        n_units, n_pixels = self.W_dec.shape
        twin = k_sparse.KSparseAutoencoder(
            n_pixels,
            n_units,
            self.selector.to_numpy(),
            activation,
            tied=self.tied,
            unit_norm=self.unit_norm,
            rng=np.random.default_rng(0),  # what it draws is overwritten
            dtype=numpy_dtype(self.variable_dtype).type,
        )
        for name in self._names:
            getattr(twin, name)[:] = as_numpy(getattr(self, name))
        return twin

    def _take(self, model: k_sparse.KSparseAutoencoder) -> None:
        for name in self._names:
            getattr(self, name).assign(getattr(model, name))

    def _cast(self, weight: keras.Variable) -> Any:
        # Within `call` Keras does so; `encode` is called by others, too.
        return ops.cast(weight, self.compute_dtype)

    @property
    def _names(self) -> list[str]:
        return ["W_dec", "b_enc", "b_dec"] if self.tied else ["W_enc", "W_dec", "b_enc", "b_dec"]


def _restored(auxiliary: Any) -> AuxiliaryLoss:
    """An auxiliary loss as it is, and what a stored config describes."""
    if isinstance(auxiliary, dict):
        auxiliary = keras.saving.deserialize_keras_object(auxiliary)
    if not isinstance(auxiliary, AuxiliaryLoss):
        raise TypeError(
            f"{auxiliary!r} is no auxiliary loss; give those of ksae_lab.keras, such as AuxK(256)."
        )
    return auxiliary
