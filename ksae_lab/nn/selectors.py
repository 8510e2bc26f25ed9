"""Which units are active: top-k and its rivals, as values that every model takes.

Each selector gives a forward pass z = φ(h) ⊙ mask for training, its backward pass beside it, and a
mask for use afterwards. `ksae_lab.keras.selectors` has the same under the same names.
"""

import copy
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from ksae_lab.nn.activations import Activation
from ksae_lab.nn.checks import Rng, generator, positive, whole
from ksae_lab.nn.module import Arrays, Module
from ksae_lab.nn.relaxations import RELAXATIONS
from ksae_lab.nn.topk import By, ranked, top_k_mask

# ∂L/∂z (batch, n) → ∂L/∂h (batch, n) and the gradients of the selector's own parameters.
SelectorBackward = Callable[[np.ndarray], tuple[np.ndarray, Arrays]]

MEMORY = 0.99  # the share of itself that a running threshold keeps in a step of training


class Selector(Module):
    """A rule that says for pre-activations h (batch, n) which units are active.

    A subclass says its `mask`; where training differs from use, also `training_mask` or `forward`.
    A selector is a value: a model takes a copy of its own (`for_units`).

    Chapter 2.
    """

    k: int  # of all but those that need none, such as JumpReLU

    @abstractmethod
    def mask(self, h: np.ndarray) -> np.ndarray:
        """True for each unit that is active: h (batch, n) → booleans (batch, n)."""

    def training_mask(self, h: np.ndarray) -> np.ndarray:
        """The mask (batch, n) in training, where it may depend on the rest of the batch."""
        return self.mask(h)

    def encode(self, h: np.ndarray, phi: Activation) -> np.ndarray:
        """The code z (batch, n) of h (batch, n), once training is over."""
        return np.where(self.mask(h), phi(h), 0)

    def forward(self, h: np.ndarray, phi: Activation) -> tuple[np.ndarray, SelectorBackward]:
        """z (batch, n) in training, and the backward pass that belongs to it.

        The mask is constant wherever it does not jump: only what is active has a slope.
        """
        mask = self.training_mask(h)
        slope = np.where(mask, phi.derivative(h), 0)
        return np.where(mask, phi(h), 0), lambda dz: (dz * slope, {})

    def observe(self, h: np.ndarray) -> None:
        """Note a batch of training, h (batch, n), for `buffers`; nothing here."""

    def for_units(self, n_units: int, dtype: type | str = np.float64) -> Self:
        """A copy for a model of that many units, with arrays of `dtype` where it has any.

        Raises what `mask` raises where the settings cannot work for that many units.
        """
        own = copy.deepcopy(self)
        own.mask(np.zeros((1, n_units)))
        return own

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Another selector with these settings; raises what the constructor raises."""
        return cls(**config)


class TopK(Selector):
    """The k largest pre-activations of each row, by "value" or by "magnitude"; ties to the left.

    Rows of h (batch, n) are ranked before the activation: swish and gelu rise again far below zero.
    `k`, from 0 to n, may be changed at any time.

    Raises what `top_k_mask` raises, when it meets a number of units.

    Source: Makhzani & Frey (2013).
    Chapter 2.
    """

    def __init__(self, k: int, by: By = "value"):
        self.k = k
        self.by = by

    def mask(self, h: np.ndarray) -> np.ndarray:
        """The k largest of each row."""
        return top_k_mask(h, self.k, by=self.by)

    def get_config(self) -> dict[str, Any]:
        """k as it is now, and what is ranked."""
        return {"k": np.asarray(self.k).item(), "by": self.by}


class PrefixTopK(TopK):
    """The k largest of the first `prefix` units; if the prefix is shorter than k, all of it.

    h has shape (batch, n). `k` and `prefix` may be changed at any time.

    Raises `ValueError` for a prefix that is no number of units, and what `TopK` raises.

    Source: Kusupati et al. (2022) for codes whose beginnings are codes.
    Chapter 16.
    """

    def __init__(self, k: int, prefix: int, by: By = "value"):
        super().__init__(k, by)
        self.prefix = prefix

    def mask(self, h: np.ndarray) -> np.ndarray:
        """The k largest of each row's prefix."""
        h = ranked(h)
        whole(self.prefix, "prefix", most=h.shape[-1])
        mask = np.zeros(h.shape, dtype=bool)
        top_k_mask(h, self.k, by=self.by)  # k is judged by all units, as if there were no prefix
        mask[..., : self.prefix] = top_k_mask(
            h[..., : self.prefix], min(self.k, self.prefix), by=self.by
        )
        return mask

    def get_config(self) -> dict[str, Any]:
        """k and prefix as they are now, and what is ranked."""
        return super().get_config() | {"prefix": int(self.prefix)}


class BatchTopK(TopK):
    """In training the k · batch largest of a whole batch that are above zero; then all above θ.

    h has shape (batch, n). θ, `threshold`, a buffer, follows the smallest number that was kept in
    training: so the code of an image does not depend on which others stand beside it. Before any
    training θ is 0, and all units above zero are active. `calibrate` sets it exactly.

    Raises what `TopK` raises.

    Source: Bussmann, Leask & Nanda (2024).
    Chapter 16.
    """

    def __init__(self, k: int, by: By = "value"):
        super().__init__(k, by)
        self.threshold = np.zeros(())

    @property
    def buffers(self) -> Arrays:
        """θ, a scalar array of shape ()."""
        return {"threshold": self.threshold}

    def for_units(self, n_units: int, dtype: type | str = np.float64) -> Self:
        """A copy for a model of that many units, θ in its `dtype`."""
        top_k_mask(np.zeros(n_units), self.k, by=self.by)
        own = super().for_units(n_units, dtype)
        own.threshold = own.threshold.astype(dtype)
        return own

    def mask(self, h: np.ndarray) -> np.ndarray:
        """All units from θ on, if above zero."""
        scores = ranked(h, self.by)
        return (scores >= self.threshold) & (scores > 0)

    def training_mask(self, h: np.ndarray) -> np.ndarray:
        """The k · batch largest, if above zero; ties to the first image."""
        scores = ranked(h, self.by)
        mask = top_k_mask(scores.ravel(), self.k * len(scores)).reshape(scores.shape)
        return mask & (scores > 0)

    def observe(self, h: np.ndarray) -> None:
        """Let θ follow the smallest number that this batch keeps."""
        smallest = self._smallest_kept(h)
        if np.isfinite(smallest):
            started = self.threshold > 0
            kept = MEMORY * self.threshold + (1 - MEMORY) * smallest if started else smallest
            self.threshold[...] = kept

    def calibrate(self, h: np.ndarray) -> None:
        """Set θ so that for these pre-activations (samples, n) k units are active on average.

        Raises `ValueError` if no unit would be active.
        """
        smallest = self._smallest_kept(h)
        if not np.isfinite(smallest):
            raise ValueError(f"With k = {self.k} no unit is active for these inputs; train first.")
        self.threshold[...] = smallest

    def _smallest_kept(self, h: np.ndarray) -> float:
        return float(np.where(self.training_mask(h), ranked(h, self.by), np.inf).min())


class JumpReLU(Selector):
    """The units above a threshold of their own: z = φ(h) ⊙ 1[h > θ], h (batch, n), θ (n,).

    All start at `threshold`. log θ is a parameter, `log_threshold`, so that θ stays above zero. It
    learns by a slope that is made up: as if each step were a ramp of width `bandwidth`, ε, in units
    of h. For h the slope is the mask's. How many units are active is up to the thresholds, so that
    a loss such as `ksae_lab.nn.auxiliary_losses.L0` has to ask for few; there is no k.

    Raises `ValueError` for a threshold or bandwidth that is not above zero.

    Source: Rajamanoharan et al. (2024).
    Chapter 16.
    """

    def __init__(self, threshold: float = 1.0, bandwidth: float = 1.0):
        self.start = positive(threshold, "threshold")
        self.bandwidth = positive(bandwidth, "bandwidth")
        self.log_threshold: np.ndarray = np.full((), np.log(threshold))

    @property
    def parameters(self) -> Arrays:
        """log θ, of shape (n,)."""
        return {"log_threshold": self.log_threshold}

    @property
    def thresholds(self) -> np.ndarray:
        """θ of each unit, of shape (n,)."""
        return np.exp(self.log_threshold)

    def for_units(self, n_units: int, dtype: type | str = np.float64) -> Self:
        """A copy with a threshold for each of that many units, in `dtype`."""
        own = copy.deepcopy(self)
        own.log_threshold = np.full(n_units, self.log_threshold, dtype)
        return own

    def mask(self, h: np.ndarray) -> np.ndarray:
        """Whoever is above its threshold."""
        return ranked(h) > self.thresholds

    def forward(self, h: np.ndarray, phi: Activation) -> tuple[np.ndarray, SelectorBackward]:
        """z (batch, n), and a backward pass with the made-up slope of log θ."""
        z, through_mask = super().forward(h, phi)

        def backward(dz: np.ndarray) -> tuple[np.ndarray, Arrays]:
            dh, _ = through_mask(dz)
            return dh, {"log_threshold": self.slope(h, dz * phi(self.thresholds))}

        return z, backward

    def slope(self, h: np.ndarray, height: np.ndarray) -> np.ndarray:
        """The slope of log θ (n,) for a loss with ∂L/∂1[h > θ] = `height` (batch, n), h (batch, n).

        A threshold that rises by dθ takes the share dθ/ε from each of its units within ε/2 of it.
        """
        near = np.abs(h - self.thresholds) < self.bandwidth / 2
        return -(near * height).sum(axis=0) / self.bandwidth * self.thresholds

    def get_config(self) -> dict[str, Any]:
        """Where the thresholds started, and the bandwidth; the thresholds are parameters."""
        return {"threshold": float(self.start), "bandwidth": float(self.bandwidth)}


class Relaxation(Selector):
    """A soft selection in training, exactly top-k afterwards: of one of the kinds in `RELAXATIONS`.

    In training z = φ(h) ⊙ p, all (batch, n), with weights p that have a slope of their own.
    `k` and `temperature` may be changed at any time; `rng` and `samples` are for those that draw.

    Raises `ValueError` for an unknown kind, for one that draws and has no `rng`, and what the
    operators of `ksae_lab.nn.relaxations` raise.

    Source: see each operator.
    Chapter 7.
    """

    def __init__(
        self,
        kind: str,
        k: int,
        temperature: float,
        *,
        samples: int = 10,
        rng: Rng = None,
    ):
        if kind not in RELAXATIONS:
            known = ", ".join(RELAXATIONS)
            raise ValueError(f"No relaxation is called {kind!r}; choose from {known}.")
        self.kind = kind
        self.k = k
        self.temperature = positive(temperature, "temperature")
        self.samples = whole(samples, "samples", 2)
        self.rng = None if rng is None else generator(rng)

    def mask(self, h: np.ndarray) -> np.ndarray:
        """The k largest of each row: what the weights of most relaxations tend to."""
        return top_k_mask(h, self.k)

    def for_units(self, n_units: int, dtype: type | str = np.float64) -> Self:
        """A copy for a model of that many units; raises what its operator raises."""
        trial = copy.copy(self)
        trial.rng = np.random.default_rng(0)  # the trial takes nothing from the model's own
        trial.weights(np.zeros((1, n_units)))
        return copy.deepcopy(self)

    def weights(self, h: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        """p (batch, n) at the present temperature, and its backward pass ∂L/∂p → ∂L/∂h."""
        options: dict[str, Any] = {}
        if self.kind in ("perturbed", "gumbel_subset"):
            if self.rng is None:
                raise ValueError(f"{self.kind} draws random numbers; give it an rng.")
            options["rng"] = self.rng
        if self.kind == "perturbed":
            options["samples"] = self.samples
        return RELAXATIONS[self.kind](h, self.k, temperature=self.temperature, **options)

    def forward(self, h: np.ndarray, phi: Activation) -> tuple[np.ndarray, SelectorBackward]:
        """z = φ(h) ⊙ p, and a backward pass through both."""
        p, through_weights = self.weights(h)
        value = phi(h)

        def backward(dz: np.ndarray) -> tuple[np.ndarray, Arrays]:
            return dz * phi.derivative(h) * p + through_weights(dz * value), {}

        return value * p, backward

    def get_config(self) -> dict[str, Any]:
        """The kind, k and temperature as they are now, and the number of samples; no `rng`."""
        return {
            "kind": self.kind,
            "k": np.asarray(self.k).item(),
            "temperature": float(self.temperature),
            "samples": self.samples,
        }


def as_selector(k: int | Selector) -> Selector:
    """A selector as it is, and `TopK(k)` for an integer, a scalar.

    Chapter 5.
    """
    return k if isinstance(k, Selector) else TopK(k)


class HasSelector:
    """What has a `selector` has its k, too.

    Chapter 5.
    """

    selector: Selector

    @property
    def k(self) -> int:
        """How many units are active, a scalar; may be set at any time.

        Raises `AttributeError` where the selector has no k.
        """
        if not hasattr(self.selector, "k"):
            raise AttributeError(f"{self.selector!r} has no k: it does not count active units.")
        return self.selector.k

    @k.setter
    def k(self, k: int) -> None:
        _ = self.k  # a selector without one says so
        self.selector.k = k
