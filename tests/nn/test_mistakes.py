"""Classic mistakes in a backward pass, made on purpose: the gradient check must see each of them.

Both layers have the same kind of mistake, and activations that do not hide it by accident
(chapter 3 tells how sigmoid and relu do).
"""

import numpy as np
import pytest

from ksae_lab.models.network import Network
from ksae_lab.nn import activations
from ksae_lab.nn.layers import Dense, KSparse
from ksae_lab.nn.topk import top_k_mask
from ksae_lab.training.gradcheck import check_gradients


def wrong(z, slope):
    """z, and a backward pass with that slope."""
    return z, lambda dz: (dz * slope, {})


class Honest(KSparse):
    """No mistake: what the others are measured against."""


class ForgetsTheMask(KSparse):
    def activate(self, h):
        return wrong(super().activate(h)[0], self.phi.derivative(h))


class DifferentiatesAtTheOutput(KSparse):
    def activate(self, h):
        z, _ = super().activate(h)
        return wrong(z, np.where(top_k_mask(h, self.k), self.phi.derivative(z), 0))


class UsesTheNeighboursActivation(KSparse):
    def activate(self, h):
        z, _ = super().activate(h)
        mask = top_k_mask(h, self.k)
        return wrong(z, np.where(mask, activations.get("sigmoid").derivative(h), 0))


class FlipsTheSign(KSparse):
    def activate(self, h):
        z, backward = super().activate(h)
        return z, lambda dz: backward(-dz)


class ChangesBackward(KSparse):
    """A mistake in what the backward pass does with its results."""

    def forward_from(self, x, h):
        z, backward = super().forward_from(x, h)
        return z, lambda dz: self.spoil(*backward(dz), rows=len(x))


class AveragesTheBiasesButSumsTheWeights(ChangesBackward):
    def spoil(self, dx, own, rows):
        return dx, own | {"b": own["b"] / rows}


class TransposesTheGradient(ChangesBackward):
    def spoil(self, dx, own, rows):
        return dx, own | {"W": own["W"].T}


class LosesTheWayDown(ChangesBackward):
    def spoil(self, dx, own, rows):
        return np.zeros_like(dx), own


MISTAKES = [
    ForgetsTheMask,
    DifferentiatesAtTheOutput,
    UsesTheNeighboursActivation,
    FlipsTheSign,
    AveragesTheBiasesButSumsTheWeights,
    TransposesTheGradient,
    LosesTheWayDown,
]


def error_with(layer):
    """The relative error of a network whose middle layer, a square one, is of the given class."""
    rng = np.random.default_rng(0)
    options = {"rng": rng, "dtype": np.float64}
    network = Network(
        [Dense(7, 6, "tanh", **options), layer(6, 6, 3, "swish", **options), Dense(6, 7, **options)]
    )
    x = rng.normal(size=(5, 7))
    found = check_gradients(network, x, x)
    assert found.skipped == 0
    return found.relative_error


def test_no_mistake_passes():
    assert error_with(Honest) < 1e-8


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda layer: layer.__name__)
def test_a_mistake_is_seen(mistake):
    assert error_with(mistake) > 1e-2
