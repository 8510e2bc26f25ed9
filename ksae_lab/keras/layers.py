"""The k-sparse layer, its selection, and the count of who has been silent for how long."""

from functools import partial

import keras
import numpy as np
from keras import ops

from ksae_lab.nn import topk
from ksae_lab.nn.topk import By

RUNGS = (16, 64, 256, 1024)  # how far down a row is put in order: no further than k asks for


def top_k_mask(h, k, *, by: By = "value"):
    """Mark the k largest entries of each row: the tensor twin of `ksae_lab.nn.topk.top_k_mask`.

    h has shape (..., n), the boolean mask too; exactly k, ties to the lowest index.
    `k` is a number or an integer tensor: it may change without the graph being traced again.
    A NaN has no rank; it is marked always, so that it reaches the loss and is seen.
    No gradient passes through the mask, which is made of comparisons.
    Inside a graph nothing can be refused: a k above n marks everything. `KSparse` refuses it.

    Chapter 6.
    """
    n = h.shape[-1]
    k = ops.cast(k, "int32")
    scores = ops.abs(h) if by == "magnitude" else h
    scores = ops.where(scores == 0, 0, scores)  # XLA would rank 0.0 above -0.0
    # XLA and TensorFlow want to know how many to put in order when the graph is made. Putting all
    # in order takes several times as long, so there is a branch for every power of four.
    sizes = [*(size for size in RUNGS if size < n), n]
    rung = ops.sum(ops.cast(k > ops.convert_to_tensor(sizes, "int32"), "int32"))
    kth_largest, its_index = ops.switch(rung, [partial(_kth, scores, k, size) for size in sizes])
    # Equal numbers are ordered by their index, so of a tie those up to the k-th's index are in.
    above = ops.logical_not(scores <= kth_largest)
    tied = (scores == kth_largest) & (ops.arange(n, dtype="int32") <= its_index)
    return (above | tied) & (k > 0)


def _kth(scores, k, size: int):
    """The k-th largest number of each row (..., 1) and its index, if k is at most `size`."""
    values, indices = ops.top_k(scores, size)
    # By `take` and not by a slice: XLA would turn a slice of top_k into a sort of everything.
    place = ops.reshape(ops.clip(k - 1, 0, size - 1), (1,))
    return ops.take(values, place, axis=-1), ops.cast(ops.take(indices, place, axis=-1), "int32")


class Choice(keras.layers.Layer):
    """z = φ(h) ⊙ mask, of shape (..., n); what `KSparse` and `KSparseAutoencoder` have in common.

    `silent`, integers (n,), counts for each unit the inputs in training since it was last active;
    from `dead_after` on it is dead. On several devices the count is that of all together.

    Raises what `ksae_lab.nn.topk.top_k_mask` raises for a k or by that cannot work, `ValueError`
    for an unknown activation or a `dead_after` below 1.

    Chapter 6; chapter 8 for the dead.
    """

    def __init__(self, n_units: int, k: int, activation, by: By, dead_after: int, dtype=None):
        super().__init__(name="choice", autocast=False, dtype=dtype)
        if dead_after < 1:
            raise ValueError(f"Dead after {dead_after} inputs is no rule; give 1 or more.")
        self.n_units = n_units
        self.phi = keras.activations.get(activation)
        self.by = by
        self.dead_after = dead_after
        self.check(k)
        integer = {"dtype": "int", "initializer": "zeros", "trainable": False}
        self._k = self.add_weight(shape=(), name="k", **integer)
        self.silent = self.add_weight(shape=(n_units,), name="silent", **integer)
        self.k = k
        self.built = True

    @property
    def k(self) -> int:
        """How many units speak, a scalar; a weight, so that setting it needs no new graph."""
        return int(ops.convert_to_numpy(self._k))

    @k.setter
    def k(self, k: int) -> None:
        """Take another k, if it fits."""
        self.check(k)
        self._k.assign(k)

    def check(self, k: int) -> None:
        """Raises what `ksae_lab.nn.topk.top_k_mask` raises for a k, a scalar, that cannot work."""
        topk.top_k_mask(np.zeros(self.n_units), k, by=self.by)

    def dead(self):
        """True for each unit that has been silent for too long: a boolean tensor (n,)."""
        return self.silent >= self.dead_after

    def mask(self, h, training=False):
        """Who speaks: booleans of the shape of h, (..., n). The one method that rules differ in."""
        return top_k_mask(h, self._k, by=self.by)

    def call(self, h, training=False):
        """z for h, both (..., n)."""
        z = ops.where(self.mask(h, training), self.phi(h), 0)
        if training:
            spoke = ops.reshape(z != 0, (-1, self.n_units))
            inputs = _over_all_devices(ops.shape(spoke)[0])
            active = _over_all_devices(ops.any(spoke, axis=0))
            self.silent.assign(ops.where(active > 0, 0, self.silent + inputs))
        return z

    def settings(self) -> dict:
        """What an owner needs in its config to make this again."""
        return {
            "k": self.k,
            "activation": keras.activations.serialize(self.phi),
            "by": self.by,
            "dead_after": self.dead_after,
        }


class Chooses:
    """Whoever has a `choice` has its `k`, and its `dead` as an array.

    Chapter 6.
    """

    choice: Choice

    @property
    def k(self) -> int:
        """How many units speak, a scalar; may be set at any time, in training too."""
        return self.choice.k

    @k.setter
    def k(self, k: int) -> None:
        """Take another k, if it fits."""
        self.choice.k = k

    @property
    def dead(self) -> np.ndarray:
        """True for each dead unit, of shape (n,)."""
        return ops.convert_to_numpy(self.choice.dead())


@keras.saving.register_keras_serializable(package="ksae_lab")
class KSparse(Chooses, keras.layers.Dense):
    """`keras.layers.Dense` of which only the k units with the largest pre-activation speak.

    z = φ(h) ⊙ mask with h = x W + b: x (..., n_in), h, z and mask (..., units).
    `activation` is any that Keras takes; the selection ranks h, by "value" or "magnitude".
    `layer.k = 7` changes k, in the middle of `fit` too. `dead_after` is a number of inputs.
    `options` are those of `Dense`.

    Raises what `ksae_lab.nn.topk.top_k_mask` raises for a k or by that cannot work.

    Source: Makhzani & Frey (2013).
    Chapter 6.
    """

    def __init__(
        self,
        units: int,
        k: int,
        activation="linear",
        *,
        by: By = "value",
        dead_after: int = 10_000,
        **options,
    ):
        super().__init__(units, **options)
        self.choice = Choice(units, k, activation, by, dead_after)

    def call(self, x, training=False):
        """z (..., units) for x (..., n_in)."""
        return self.choice(super().call(x, training=training), training=training)

    def get_config(self) -> dict:
        """Everything `from_config` needs; k as it is now."""
        return {**super().get_config(), **self.choice.settings()}


def choices_of(model: keras.Model) -> list[Choice]:
    """All selections in a model, for callbacks.

    Raises `ValueError` if there is none.

    Chapter 8.
    """
    found = [layer for layer in model._flatten_layers() if isinstance(layer, Choice)]
    if not found:
        raise ValueError(
            f"{model.name!r} has no layer that selects; "
            "build it with a KSparse layer, or use a KSparseAutoencoder."
        )
    return found


def _over_all_devices(number):
    """The sum over the replicas of a `tf.distribute` strategy, as integers of `silent`'s kind."""
    number = ops.cast(number, "int")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        replica = tf.distribute.get_replica_context()
        if replica is not None and replica.num_replicas_in_sync > 1:
            return replica.all_reduce(tf.distribute.ReduceOp.SUM, number)
    return number
