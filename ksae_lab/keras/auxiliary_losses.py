"""The auxiliary losses of `ksae_lab.nn.auxiliary_losses` as values that a Keras model takes.

Their gradients come from the backend; the tests compare them with those written by hand.
With a `tf.distribute` strategy means and variances are those of the whole batch, whatever part of
it a device has, and one that is left without an image adds nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import keras
from keras import ops

from ksae_lab.keras.devices import mean_of_batch, over_all_devices
from ksae_lab.keras.topk import prefix_mask, top_k_mask
from ksae_lab.nn.checks import not_negative, whole
from ksae_lab.nn.parts_of_codes import pairs
from ksae_lab.nn.selectors import PrefixTopK
from ksae_lab.nn.topk import By


@dataclass(frozen=True)
class ForwardPass:
    """What a model did with one batch in training: tensors, and the model itself.

    x and x_hat have shape (batch, d), h and z (batch, n), dead, as before this batch, (n,).

    Chapter 8.
    """

    model: Any
    x: Any
    h: Any
    z: Any
    x_hat: Any
    dead: Any


class AuxiliaryLoss(ABC):
    """A further term of the loss: called with a `ForwardPass`, it returns a scalar, weighted.

    Chapter 8.
    """

    @abstractmethod
    def __call__(self, forward: ForwardPass) -> Any:
        """The term's value, a scalar."""

    def check(self, model: Any) -> None:  # noqa: B027 # most fit every model
        """Raises `ValueError` if it does not fit a model; nothing here."""

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes: its attributes."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Another one with these settings; raises what the constructor raises."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="ksae_lab")
class AuxK(AuxiliaryLoss):
    """Dead units reconstruct the residual, as in NumPy's `AuxK`: 0 if none is dead.

    Raises `ValueError` for k_aux below 1.

    Source: Gao et al. (2024).
    Chapter 8.
    """

    def __init__(self, k_aux: int, weight: float = 1 / 32):
        self.k_aux = whole(k_aux, "k_aux")
        self.weight = not_negative(weight, "weight")

    def __call__(self, forward: ForwardPass) -> Any:
        """The term's value, a scalar."""
        x, dead = forward.x, forward.dead
        e = ops.stop_gradient(x - forward.x_hat)
        # A unit at zero adds nothing, selected or not.
        active = ops.where(dead, ops.relu(forward.h), 0)
        mask = top_k_mask(active, self.k_aux)
        e_hat = ops.matmul(ops.where(mask, active, 0), forward.model.W_dec)
        spread = _variance(e)
        used = ops.any(dead) & (spread > 0)
        scale = self.weight * _variance(x) / ops.where(used, spread, 1)
        return ops.where(used, scale * ops.mean((e_hat - e) ** 2), 0)


@keras.saving.register_keras_serializable(package="ksae_lab")
class DeCov(AuxiliaryLoss):
    """Units that are active together cost: weight · ½ Σ_{i≠j} C_ij², C (n, n) their covariance.

    Raises `ValueError` for a negative weight.

    Source: Cogswell et al. (2016).
    Chapter 8.
    """

    def __init__(self, weight: float):
        self.weight = not_negative(weight, "weight")

    def __call__(self, forward: ForwardPass) -> Any:
        """The term's value, a scalar."""
        z = forward.z
        centred = z - mean_of_batch(z)
        images = ops.cast(over_all_devices(ops.shape(z)[0]), z.dtype)
        C = over_all_devices(ops.matmul(ops.transpose(centred), centred)) / images
        between = C * (1 - ops.eye(z.shape[-1], dtype=z.dtype))
        return self.weight * 0.5 * ops.sum(between**2)


@keras.saving.register_keras_serializable(package="ksae_lab")
class MultiTopK(AuxiliaryLoss):
    """The errors with other k, and with the first units alone: what one model for many k learns.

    Each (k, prefix, weight) of `also` adds weight times the mean squared error of what the k
    largest of the first `prefix` units reconstruct, from the same pre-activations. With all units
    as the prefix this is multi-k training; with a prefix that grows with k the dictionaries are
    nested (Matryoshka).

    Raises `ValueError`, when it meets a model, for a k or a prefix that does not fit it, and for a
    weight that is not above zero.

    Source: Gao et al. (2024) for several k; Kusupati et al. (2022) and Bussmann et al. (2025) for
    nested dictionaries.
    Chapter 16.
    """

    def __init__(self, also: Iterable[tuple[int, int, float]]):
        triples = list(also)
        if not triples or any(len(one) != 3 for one in triples):
            raise ValueError(f"The other k are {triples!r}; give triples (k, prefix, weight).")
        self.also = [(k, prefix, weight) for k, prefix, weight in triples]
        for k, _, weight in self.also:
            whole(k, "k", 0)
            if not weight > 0:
                raise ValueError(f"The error with k = {k} weighs {weight}; give more than 0.")

    def check(self, model: Any) -> None:
        """Raises `ValueError` for a k or a prefix that does not fit."""
        for k, prefix, _ in self.also:
            PrefixTopK(k, prefix).for_units(model.selector.n_units)

    def __call__(self, forward: ForwardPass) -> Any:
        """The term's value, a scalar."""
        h, model = forward.h, forward.model
        by: By = getattr(model.selector, "by", "value")
        total = 0.0
        for k, prefix, weight in self.also:
            z = ops.where(prefix_mask(h, k, prefix, by), model.phi(h), 0)
            total = total + weight * ops.mean(ops.square(model.decode(z) - forward.x))
        return total


class PartsOfCode(AuxiliaryLoss):
    """The errors of parts of a code, each weighted, as in NumPy: pairs (size, weight).

    Raises what NumPy's raises, and, when it meets a model, `ValueError` for a size above n.

    Chapter 16.
    """

    def __init__(self, parts: Iterable[tuple[int, float]]):
        self.parts = pairs(parts)

    def check(self, model: Any) -> None:
        """Raises `ValueError` for a part that has more units than there are."""
        for size, _ in self.parts:
            whole(size, "size", 0, model.selector.n_units)

    @abstractmethod
    def part(self, z: Any, size: int) -> Any:
        """What is left of a code z (batch, n)."""

    def __call__(self, forward: ForwardPass) -> Any:
        """The term's value, a scalar."""
        model, x = forward.model, forward.x
        drawn = ((w, model.decode(self.part(forward.z, size))) for size, w in self.parts)
        return sum(weight * ops.mean(ops.square(x_hat - x)) for weight, x_hat in drawn)


@keras.saving.register_keras_serializable(package="ksae_lab")
class HierarchicalTopK(PartsOfCode):
    """The errors of the k largest units of a code, for several k, as in NumPy.

    Each k is decoded whole, for the price of as many decoders; NumPy's goes from one to the next.

    Source: Balagansky et al. (2025); Gao et al. (2024).
    Chapter 16.
    """

    def part(self, z: Any, size: int) -> Any:
        """The largest of each row of z (batch, n)."""
        return ops.where(top_k_mask(z, size, by="magnitude"), z, 0)


@keras.saving.register_keras_serializable(package="ksae_lab")
class Matryoshka(PartsOfCode):
    """The errors of a code's first units alone, for several prefixes, as in NumPy.

    Source: Bussmann et al. (2025).
    Chapter 16.
    """

    def part(self, z: Any, size: int) -> Any:
        """The first of each row of z (batch, n)."""
        return ops.where(ops.arange(z.shape[-1]) < size, z, 0)


@keras.saving.register_keras_serializable(package="ksae_lab")
class L0(AuxiliaryLoss):
    """Active units cost: weight · the mean number of units above their threshold in an image.

    It is for models that select by `JumpReLU`, whose thresholds alone learn from it.

    Raises `ValueError` for a negative weight and, when it meets one, for another model.

    Source: Rajamanoharan et al. (2024).
    Chapter 16.
    """

    def __init__(self, weight: float):
        self.weight = not_negative(weight, "weight")

    def check(self, model: Any) -> None:
        """Raises `ValueError` for a model without thresholds."""
        if not hasattr(model.selector, "count"):
            name = type(model.selector).__name__
            raise ValueError(f"A {name} has no thresholds to learn; select by JumpReLU.")

    def __call__(self, forward: ForwardPass) -> Any:
        """The term's value, a scalar."""
        return self.weight * ops.mean(forward.model.selector.count(forward.h))


def _variance(x: Any) -> Any:
    """The mean square of x (batch, d) around the batch's mean image: a scalar."""
    return ops.mean(mean_of_batch((x - mean_of_batch(x)) ** 2))
