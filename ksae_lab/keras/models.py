"""The k-sparse autoencoder of chapter 5 as a Keras model, with the same weights by name."""

import keras
import numpy as np
from keras import ops

from ksae_lab.keras import losses
from ksae_lab.keras.layers import Choice, Chooses
from ksae_lab.models import k_sparse
from ksae_lab.nn.layers import Stage
from ksae_lab.nn.topk import By


@keras.saving.register_keras_serializable(package="ksae_lab")
class KSparseAutoencoder(Chooses, keras.Model):
    """x̂ = z W_dec + b_dec with z = φ(h) ⊙ mask and h = (x − b_dec) W_enc + b_enc.

    The mathematics, shapes and names of `ksae_lab.models.k_sparse.KSparseAutoencoder`:
    x (batch, d), h and z (batch, n), W_enc (d, n), W_dec (n, d), b_enc (n,), b_dec (d,).
    Train it with `compile(optimizer, loss="mse")` and `fit(x, x)`; `k` may be changed meanwhile.
    `activation` is any that Keras takes, `by` is "value" or "magnitude".
    `unit_norm` keeps the rows of W_dec at length 1 (Keras' constraint leaves them 10⁻⁷ below).
    With `noise`, in grey levels, training shows it spoilt images and asks for the clean ones.

    In training two terms may be added to the loss, see `ksae_lab.nn.losses`: with `auxk` that many
    dead units draw the leftover, with `diversity` above 0 units pay for speaking together.
    A unit is dead once it has been silent for `dead_after` images: take an epoch's at least.

    Raises what `ksae_lab.nn.topk.top_k_mask` raises for a k or by that cannot work, and
    `ValueError` for an unknown activation, `auxk` or `dead_after` below 1.

    Source: Makhzani & Frey (2013) for the network; Gao et al. (2024) for b_dec on both sides.
    Chapter 6.
    """

    kind_of_choice = Choice  # what another rule of who speaks replaces

    def __init__(
        self,
        n_pixels: int,
        n_units: int,
        k: int,
        activation="relu",
        *,
        by: By = "value",
        tied: bool = False,
        unit_norm: bool = True,
        noise: float = 0.0,
        auxk: int | None = None,
        auxk_weight: float = 1 / 32,
        diversity: float = 0.0,
        dead_after: int = 10_000,
        **options,
    ):
        super().__init__(**options)
        if auxk is not None and auxk < 1:
            raise ValueError(f"auxk is {auxk}; give the number of dead units to use, 1 or more.")
        self.choice = self.kind_of_choice(
            n_units, k, activation, by, dead_after, dtype=self.dtype_policy
        )
        self.noise = keras.layers.GaussianNoise(noise, dtype=self.dtype_policy)
        self.tied = tied
        self.unit_norm = unit_norm
        self.auxk = auxk
        self.auxk_weight = auxk_weight
        self.diversity = diversity
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
        name = getattr(self.choice.phi, "__name__", "units")
        return [Stage("image", n_pixels), Stage(name, n_units, self.k), Stage("image", n_pixels)]

    def init_from_data(self, x: np.ndarray, rng: np.random.Generator, noise: float = 0.05) -> None:
        """Start at the data x (samples, d), as `ksae_lab.models.k_sparse` does and says."""
        start = self._in_numpy("linear")  # the start is the same for every activation
        start.init_from_data(x, rng, noise)
        self._take(start)

    def pre_activations(self, x):
        """h (batch, n) for x (batch, d).

        Raises `ValueError` for another shape.
        """
        x = ops.convert_to_tensor(x, self.compute_dtype)
        d = self.b_dec.shape[0]
        if len(x.shape) != 2 or x.shape[1] != d:
            raise ValueError(f"The images have shape {tuple(x.shape)}; expected (batch, {d}).")
        W_enc = ops.transpose(self.W_dec) if self.tied else self.W_enc
        return ops.matmul(x - self.b_dec, W_enc) + self.b_enc

    def encode(self, x):
        """The code z (batch, n) of x (batch, d): at most k numbers of a row are not zero."""
        return self.choice(self.pre_activations(x))

    def decode(self, z):
        """The images x̂ (batch, d) that the codes z (batch, n) draw."""
        return ops.matmul(z, self.W_dec) + self.b_dec

    def call(self, x, training=False):
        """x̂ (batch, d) for x (batch, d); in training the terms are added to the loss."""
        h = self.pre_activations(self.noise(x, training=training))
        dead = self.choice.dead()  # before this batch is counted
        z = self.choice(h, training=training)
        x_hat = self.decode(z)
        if training:
            terms = self._terms(x, x_hat, h, z, dead)
            # Keras adds them to a loss that it computes in its own kind of float.
            self.add_loss([ops.cast(term, keras.config.floatx()) for term in terms])
        return x_hat

    def _terms(self, x, x_hat, h, z, dead) -> list:
        """What is added to the loss, each a scalar."""
        terms = []
        if self.auxk:
            terms.append(losses.aux_k(x, x_hat, h, self.W_dec, dead, self.auxk, self.auxk_weight))
        if self.diversity:
            terms.append(losses.diversity(z, self.diversity))
        return terms

    def get_config(self) -> dict:
        """Everything `from_config` needs; k as it is now."""
        n_units, n_pixels = self.W_dec.shape
        return {
            **keras.layers.Layer.get_config(self),
            **self.choice.settings(),
            "n_pixels": n_pixels,
            "n_units": n_units,
            "tied": self.tied,
            "unit_norm": self.unit_norm,
            "noise": self.noise.stddev,
            "auxk": self.auxk,
            "auxk_weight": self.auxk_weight,
            "diversity": self.diversity,
        }

    @classmethod
    def from_numpy(cls, model: k_sparse.KSparseAutoencoder, **options) -> "KSparseAutoencoder":
        """The same model in Keras, with copies of its weights; its dtype too.

        Terms of the loss are not taken over: give `auxk` and `diversity` among `options`.

        Raises `ValueError` for a model with another selection than the mask.
        """
        if model.select is not None:
            raise ValueError("This model selects by something else than the mask; build it anew.")
        n_units, n_pixels = model.W_dec.shape
        settings = {
            "by": model.by,
            "tied": model.tied,
            "unit_norm": model.unit_norm,
            "dtype": model.W_dec.dtype.name,
        }
        twin = cls(n_pixels, n_units, model.k, model.phi.name, **settings | options)
        twin._take(model)
        return twin

    def to_numpy(self) -> k_sparse.KSparseAutoencoder:
        """The same model in NumPy, with copies of the weights and no terms of the loss.

        Raises `ValueError` for an activation that `ksae_lab.nn.activations` does not know.
        """
        name = keras.activations.serialize(self.choice.phi)
        return self._in_numpy({"silu": "swish"}.get(name, name))

    def _in_numpy(self, activation: str) -> k_sparse.KSparseAutoencoder:
        n_units, n_pixels = self.W_dec.shape
        twin = k_sparse.KSparseAutoencoder(
            n_pixels,
            n_units,
            self.k,
            activation,
            by=self.choice.by,
            tied=self.tied,
            unit_norm=self.unit_norm,
            rng=np.random.default_rng(0),  # what it draws is overwritten
            dtype=np.dtype(self.variable_dtype).type,
        )
        for name, w in twin.parameters.items():
            w[:] = ops.convert_to_numpy(getattr(self, name))
        return twin

    def _take(self, model: k_sparse.KSparseAutoencoder) -> None:
        for name, w in model.parameters.items():
            getattr(self, name).assign(w)
