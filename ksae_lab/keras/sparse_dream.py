"""SparseDream as a Keras model, with the weights, the penalties and the names of the NumPy one."""

from typing import Any

import keras
import numpy as np
from keras import ops

from ksae_lab.keras.arrays import as_numpy, numpy_dtype
from ksae_lab.keras.losses import of_batch
from ksae_lab.keras.reconstruction import Reconstruction, not_in_numpy
from ksae_lab.models import sparse_dream
from ksae_lab.nn import penalties
from ksae_lab.nn.checks import not_negative, whole

# The penalties of `ksae_lab.nn.penalties`, by their names; the backend finds the slopes.
PENALTIES = {
    "tanh": ops.tanh,
    "l1": ops.abs,
    "log": lambda a: ops.log1p(ops.square(a)),
}


@keras.saving.register_keras_serializable(package="ksae_lab")
class SparseDream(Reconstruction):
    """x̂ = a W with a = relu(h Sᵀ + b) and h = relu(x Wᵀ): one matrix for both.

    The mathematics, shapes and names of `ksae_lab.models.sparse_dream.SparseDream`:
    x and x̂ (batch, d), h and a (batch, n), W (n, d), S (n, n), b (n,).
    Train it with `compile(optimizer, loss=losses.sum_of_squares)` and `fit(x)`. The two other
    terms of the loss, λ Σ penalty(a) and ρ Σᵢ (‖wᵢ‖² − 1)², are added whenever the model is called,
    so `evaluate` and `val_loss` give what training lowers. The error without penalties is a metric:
    `metrics=["mse"]`.

    `sparsity`, λ, and `norm_weight`, ρ, may be changed meanwhile; the penalty may not.
    W starts at uniform numbers between 0 and 1 with rows at length 1, S at the identity, b at zero.
    To start at images make the NumPy model with `init="repaired"`, and take it by `from_numpy`.

    Raises `ValueError` for an unknown penalty, and for a size or a weight that cannot work.

    Source: Geisz (2020), who wrote the objective.
    Chapter 11.
    """

    def __init__(
        self,
        n_pixels: int,
        n_units: int,
        penalty: str = "tanh",
        sparsity: float = 1.0,
        norm_weight: float = 1.0,
        **options: Any,
    ):
        super().__init__(n_pixels, **options)
        n_units = whole(n_units, "n_units")
        self.penalty = penalties.get(penalty)
        self.W = self.add_weight(
            shape=(n_units, n_pixels),
            initializer=keras.initializers.RandomUniform(0, 1),
            name="W",
        )
        self.S = self.add_weight(shape=(n_units, n_units), initializer="identity", name="S")
        self.b = self.add_weight(shape=(n_units,), initializer="zeros", name="b")
        # Weights, so that setting one needs no new graph.
        number = {"shape": (), "initializer": "zeros", "trainable": False}
        self._sparsity = self.add_weight(name="sparsity", **number)
        self._norm_weight = self.add_weight(name="norm_weight", **number)
        self.sparsity = sparsity
        self.norm_weight = norm_weight
        self.W.assign(keras.constraints.UnitNorm(axis=1)(self.W))
        self.build((None, n_pixels))  # all weights are there; so Keras knows it, and the shape

    @property
    def sparsity(self) -> float:
        """λ, what the penalties of all units weigh: a scalar; may be set at any time."""
        return float(ops.convert_to_numpy(self._sparsity))

    @sparsity.setter
    def sparsity(self, sparsity: float) -> None:
        """Take another λ."""
        self._sparsity.assign(not_negative(sparsity, "sparsity"))

    @property
    def norm_weight(self) -> float:
        """ρ, the weight of rows of W that are not at length 1: a scalar; may be set at any time."""
        return float(ops.convert_to_numpy(self._norm_weight))

    @norm_weight.setter
    def norm_weight(self, norm_weight: float) -> None:
        """Take another ρ."""
        self._norm_weight.assign(not_negative(norm_weight, "norm_weight"))

    def encode(self, x: Any) -> Any:
        """The code a (batch, n) of x (batch, d): no number is negative.

        Raises `ValueError` for another shape.
        """
        W, S, b = (ops.cast(w, self.compute_dtype) for w in (self.W, self.S, self.b))
        h = ops.relu(ops.matmul(self.as_images(x), ops.transpose(W)))
        return ops.relu(ops.matmul(h, ops.transpose(S)) + b)

    def decode(self, a: Any) -> Any:
        """The images x̂ (batch, d) of the codes a (batch, n)."""
        return ops.matmul(a, ops.cast(self.W, self.compute_dtype))

    def call(self, x: Any) -> Any:
        """x̂ (batch, d) for x (batch, d); what a and W cost is added to the loss."""
        a = self.encode(x)
        cost = ops.mean(ops.sum(PENALTIES[self.penalty.name](a), axis=1))
        excess = ops.sum(ops.square(self.W), axis=1) - 1
        lengths = self._norm_weight * ops.sum(ops.square(excess))
        self.add_loss(of_batch(self._sparsity * cost, a))
        self.add_loss(ops.cast(lengths, keras.config.floatx()))  # the images are not asked
        return self.decode(a)

    def get_config(self) -> dict[str, Any]:
        """Everything `from_config` needs; sparsity and norm_weight as they are now."""
        n_units, n_pixels = self.W.shape
        return {
            **keras.layers.Layer.get_config(self),
            "n_pixels": n_pixels,
            "n_units": n_units,
            "penalty": self.penalty.name,
            "sparsity": self.sparsity,
            "norm_weight": self.norm_weight,
        }

    @classmethod
    def from_numpy(cls, model: sparse_dream.SparseDream, **options: Any) -> "SparseDream":
        """The same model in Keras, with copies of its weights; its dtype too."""
        if not isinstance(model, sparse_dream.SparseDream):
            raise not_in_numpy(model, cls)
        n_units, n_pixels = model.W.shape
        settings: dict[str, Any] = {
            "penalty": model.penalty.name,
            "sparsity": model.sparsity,
            "norm_weight": model.norm_weight,
            "dtype": model.W.dtype.name,
        }
        twin = cls(n_pixels, n_units, **settings | options)
        for name, w in model.parameters.items():
            getattr(twin, name).assign(w)
        return twin

    def to_numpy(self) -> sparse_dream.SparseDream:
        """The same model in NumPy, with copies of the weights."""
        n_units, n_pixels = self.W.shape
        twin = sparse_dream.SparseDream(
            n_pixels,
            n_units,
            self.penalty.name,
            self.sparsity,
            self.norm_weight,
            init="as_found",  # what it draws is overwritten
            rng=np.random.default_rng(0),
            dtype=numpy_dtype(self.variable_dtype).type,
        )
        for name, w in twin.parameters.items():
            w[:] = as_numpy(getattr(self, name))
        return twin
