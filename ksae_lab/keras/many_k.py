"""One model for many k: k-sparse autoencoders whose number of active units is chosen afterwards."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from ksae_lab.keras.models import KSparseAutoencoder
from ksae_lab.keras.selectors import BatchChoice, JumpChoice, PrefixChoice
from ksae_lab.models import k_sparse


@keras.saving.register_keras_serializable(package="ksae_lab")
class MultiTopK(KSparseAutoencoder):
    """A k-sparse autoencoder that learns to draw with several k, and with its first units alone.

    Each (k, prefix, weight) of `also` adds to the loss in training: weight times the mean squared
    error of what the k largest of the first `prefix` units draw, from the same pre-activations.
    With all units as the prefix this is multi-k training; with a prefix that grows with k the
    dictionaries are nested. Then set `model.k`, and `model.prefix`, to what is asked for.
    What else it takes is what `KSparseAutoencoder` takes; x and x̂ have shape (batch, d).

    Raises what `KSparseAutoencoder` raises, the same for each k of `also`, and `ValueError` for a
    prefix that is no number of units or a weight that is not above zero.

    Source: Gao et al. (2024) for several k; Kusupati et al. (2022) and Bussmann et al. (2025) for
    nested dictionaries.
    Chapter 16.
    """

    kind_of_choice = PrefixChoice

    def __init__(self, *settings, also: Sequence[tuple[int, int, float]] = (), **options):
        super().__init__(*settings, **options)
        self.also = tuple((k, prefix, weight) for k, prefix, weight in also)
        for k, prefix, weight in self.also:
            self.choice.check(k)
            self.choice.check_prefix(prefix)
            if not weight > 0:
                raise ValueError(f"The error with k = {k} weighs {weight}; give more than 0.")

    @property
    def prefix(self) -> int:
        """How many units may be chosen from, the first ones: a scalar; may be set at any time."""
        return self.choice.prefix

    @prefix.setter
    def prefix(self, prefix: int) -> None:
        """Take another prefix, if it fits."""
        self.choice.prefix = prefix

    def _terms(self, x, x_hat, h, z, dead) -> list:
        terms = super()._terms(x, x_hat, h, z, dead)
        for k, prefix, weight in self.also:
            mask = self.choice.mask_for(h, k, prefix)
            drawn = self.decode(ops.where(mask, self.choice.phi(h), 0))
            terms.append(weight * ops.mean(ops.square(drawn - x)))
        return terms

    def get_config(self) -> dict:
        """Everything `from_config` needs; k as it is now. The prefix is saved with the weights."""
        return {**super().get_config(), "also": [list(wish) for wish in self.also]}

    def to_numpy(self) -> k_sparse.KSparseAutoencoder:
        """The same model in NumPy, for the k that is set.

        Raises `ValueError` while the prefix leaves units out, which NumPy's model cannot.
        """
        if self.prefix < self.choice.n_units:
            raise ValueError(f"Only {self.prefix} units may speak; set `prefix` to all of them.")
        return super().to_numpy()


@keras.saving.register_keras_serializable(package="ksae_lab")
class BatchTopK(KSparseAutoencoder):
    """A k-sparse autoencoder with k active units on average: hard images get more, easy ones fewer.

    In training the k · batch largest of a batch speak, afterwards whoever reaches `threshold`.
    What it takes and raises is what `KSparseAutoencoder` does; x and x̂ have shape (batch, d).

    Source: Bussmann, Leask & Nanda (2024).
    Chapter 16.
    """

    kind_of_choice = BatchChoice

    @property
    def threshold(self) -> float:
        """θ, from where on a unit speaks: a scalar; may be set at any time."""
        return float(ops.convert_to_numpy(self.choice.threshold))

    @threshold.setter
    def threshold(self, threshold: float) -> None:
        """Take another θ."""
        self.choice.threshold.assign(threshold)

    def calibrate(self, x: np.ndarray) -> None:
        """Set θ so that for the images x (samples, d) k units speak on average.

        Do so after `k` was set. It also makes good what noise in training did to θ.

        Raises `ValueError` if nobody would speak.
        """
        h = self.pre_activations(x)
        smallest = float(self.choice.smallest(h, self.choice.mask_of_batch(h)))
        if np.isinf(smallest):
            raise ValueError(f"With k = {self.k} no unit speaks for these images; train first.")
        self.threshold = smallest

    def to_numpy(self) -> k_sparse.KSparseAutoencoder:
        """Raises `ValueError`: there is no such model in NumPy."""
        raise ValueError("In NumPy every image has k units; a batch's choice is in Keras only.")


@keras.saving.register_keras_serializable(package="ksae_lab")
class JumpReLU(KSparseAutoencoder):
    """An autoencoder whose units each have a threshold θ, learnt, and pay a price for speaking.

    z = φ(h) ⊙ 1[h > θ], θ (n,); in training `price`, λ, times the mean number of units above their
    threshold is added to the mean squared error. k remains an upper limit: `n_units` for none.
    `bandwidth`, ε, says how near to its threshold a unit must come for θ to learn from it, in units
    of h. All start at `threshold`. x and x̂ have shape (batch, d).

    Raises what `KSparseAutoencoder` raises, and `ValueError` for a negative price, or a bandwidth
    or threshold that is not above zero.

    Source: Rajamanoharan et al. (2024).
    Chapter 16.
    """

    kind_of_choice = JumpChoice

    def __init__(
        self,
        *settings,
        price: float,
        bandwidth: float = 1.0,
        threshold: float = 1.0,
        **options,
    ):
        super().__init__(*settings, **options)
        if not price >= 0:
            raise ValueError(f"The price is {price}; give 0 or more.")
        for name, value in {"bandwidth": bandwidth, "threshold": threshold}.items():
            if not value > 0:
                raise ValueError(f"The {name} is {value}; give more than 0.")
        self.price = price
        self.choice.bandwidth = bandwidth
        self.choice.log_threshold.assign(np.full(self.choice.n_units, np.log(threshold)))

    @property
    def thresholds(self) -> np.ndarray:
        """θ of each unit, of shape (n,)."""
        return np.exp(ops.convert_to_numpy(self.choice.log_threshold))

    def _terms(self, x, x_hat, h, z, dead) -> list:
        terms = super()._terms(x, x_hat, h, z, dead)
        return [*terms, self.price * ops.mean(self.choice.count(h))]

    def get_config(self) -> dict:
        """Everything `from_config` needs; θ is saved with the weights."""
        own = {"price": self.price, "bandwidth": self.choice.bandwidth}
        return {**super().get_config(), **own}

    def to_numpy(self) -> k_sparse.KSparseAutoencoder:
        """Raises `ValueError`: there is no such model in NumPy."""
        raise ValueError("NumPy's model has no thresholds; this one is in Keras only.")
