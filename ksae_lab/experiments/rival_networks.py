"""Rivals of a k-sparse network that take steps as it does, in batches of images that move."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ksae_lab.data.datasets import Dataset
from ksae_lab.experiments.build import build, trained
from ksae_lab.experiments.settings import Experiment
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.matching_pursuit import MatchingPursuitAutoencoder
from ksae_lab.nn.auxiliary_losses import L1
from ksae_lab.training.callbacks import InputNoise, PixelShifts, Scheduled
from ksae_lab.training.loop import fit
from ksae_lab.training.optimizers import Adam
from ksae_lab.training.schedules import linear

SHIFTS = 0.5  # of the images of a batch
Counted = dict[str, tuple[float, np.ndarray]]  # by part: active units, errors (images,)


@dataclass(frozen=True)
class Steps:
    """How a rival is trained: scalars.

    Lab 2.
    """

    rate: float
    epochs: int
    batch_size: int
    seed: int


def matching(dataset: Dataset, n_units: int, k: int, steps: Steps) -> MatchingPursuitAutoencoder:
    """A matching-pursuit autoencoder, trained with noise and moves.

    Lab 2.
    """
    rng = np.random.default_rng(steps.seed)
    model = MatchingPursuitAutoencoder(dataset.x_train.shape[1], n_units, k, rng=rng)
    _train(model, dataset, steps, 0.1, rng)
    return model


def priced(dataset: Dataset, n_units: int, weight: float, steps: Steps) -> KSparseAutoencoder:
    """A relu network without a k, which pays for activity, trained with noise and moves.

    Lab 2.
    """
    rng, d = np.random.default_rng(steps.seed), dataset.x_train.shape[1]
    # The error is a mean over images and pixels; so is the price.
    price = L1(weight / d)
    model = KSparseAutoencoder(d, n_units, n_units, auxiliary_losses=[price], rng=rng)
    _train(model, dataset, steps, 0.05, rng)
    return model


def at_count(networks: Sequence[Callable[[], Counted]], k: float) -> dict[str, np.ndarray]:
    """The errors (images,) at k active units on average, by part: "validation", "test" and so on.

    The networks have fewer and fewer active units on the validation images. Between two of them
    each image's error is taken at a share of the way, by the logarithm of active units; beyond the
    last two it is carried on. Only what is needed is called, and so trained.

    Lab 2.
    """
    found = cache(lambda i: networks[i]())
    low, high = 0, len(networks) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if found(middle)["validation"][0] > k else (low, middle)
    result = {}
    for part, (above, more) in found(low).items():
        below, fewer = found(high)[part]
        share = (np.log(above) - np.log(k)) / (np.log(above) - np.log(below))
        result[part] = (1 - share) * more + share * fewer
    return result


def recipe(dataset: Dataset, n_units: int, k: int, steps: Steps) -> KSparseAutoencoder:
    """A top-k network as OpenAI's and dictionary_learning's recipes have it, with moves.

    Random unit rows, b_dec at the mean, dead units learn from the residual, no noise; the rate
    falls in the last fifth.

    Source: Gao et al. (2024).
    Lab 2.
    """
    settings = {
        "seed": steps.seed,
        "model": {"n_units": n_units, "k": k, "start": "mean"},
        "auxk": {"k_aux": n_units // 2},
        "optimizer": {"learning_rate": steps.rate, "decay_from": 0.8},
        "training": {
            "epochs": steps.epochs,
            "batch_size": steps.batch_size,
            "shifts": SHIFTS,
        },
    }
    return trained(build(Experiment.model_validate(settings), dataset))


def _train(
    model: Any, dataset: Dataset, steps: Steps, noise: float, rng: np.random.Generator
) -> None:
    model.init_from_data(dataset.x_train, rng)
    adam = Adam(steps.rate)
    falls = Scheduled(adam, "learning_rate", linear(steps.rate, 0, begin=0.5))
    callbacks = [PixelShifts(dataset.image or (), SHIFTS), InputNoise(noise), falls]
    options = {"epochs": steps.epochs, "batch_size": steps.batch_size, "rng": rng, "quiet": True}
    fit(model, dataset.x_train, optimizer=adam, callbacks=callbacks, **options)
