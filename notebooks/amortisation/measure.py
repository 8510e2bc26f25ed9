"""Lab 8's table: codes for the same dictionary, from one pass of the encoder to the best known.

Every network of chapter 13's sweep whose k is one of `KS` and whose seed one of `SEEDS` keeps its
dictionary; what changes is who finds the code. The yardstick is the best of what three pursuits
find, image by image: OMP, hard thresholding pursuit from the code of one pass, and from OMP's. The
learned second look and the controls, the one layer that there was trained further, once as it was
and once free to take away, see digits that move and noise, as the networks did.
A second table tries other settings for the second look, with networks that the first has not.
"""

import copy
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice, product

import numpy as np
from sklearn.linear_model import orthogonal_mp_gram

from ksae_lab.data.datasets import Dataset
from ksae_lab.evaluation.metrics import squared_errors
from ksae_lab.experiments.networks import Network, Sweep
from ksae_lab.experiments.tables import Job, Row, hash_of
from ksae_lab.inference.pursuit import nonnegative_omp, pursuit, refit
from ksae_lab.models.base import Coder
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.two_step import TwoStepEncoder
from ksae_lab.nn import activations
from ksae_lab.nn.losses import mse
from ksae_lab.nn.selectors import TopK
from ksae_lab.training.callbacks import Freeze, InputNoise, PixelShifts, Scheduled
from ksae_lab.training.loop import Callback, Model, fit
from ksae_lab.training.optimizers import Adam
from ksae_lab.training.schedules import linear

KS = (2, 5, 7, 10, 14, 20, 30, 50, 70)
SEEDS = (0, 1, 2)
STEPS, LONG = 3, 10
LEARNING = {"epochs": 60, "batch": 128, "rate": 0.001, "noise": 0.1}
TRAINING_IMAGES = 1000  # as many as there are for test
TRIED: dict[str, dict[str, float]] = {
    "as it is": {},
    "120 epochs": {"epochs": 120},
    "rate 0.002": {"rate": 0.002},
    "rate 0.004": {"rate": 0.004},
    "no noise": {"noise": 0},
    "noise 0.05": {"noise": 0.05},
    "noise 0.15": {"noise": 0.15},
    "batches of 32": {"batch": 32},
}
TRIED_KS, TRIED_SEED = (10, 50), 3


def second_look(model: KSparseAutoencoder, dataset: Dataset, **changes: float) -> TwoStepEncoder:
    """A two-step encoder for the dictionary of `model`, which learns from the training images.

    `changes` are to `LEARNING`.
    """
    two = TwoStepEncoder(model)
    train(two, dataset, **changes)
    return two


def longer(
    model: KSparseAutoencoder, dataset: Dataset, signed: bool, **changes: float
) -> KSparseAutoencoder:
    """The encoder of `model` alone, trained further on the training images.

    `signed` takes its relu away and lets it choose by magnitude: codes may then be negative.
    `changes` are to `LEARNING`.
    """
    one = copy.deepcopy(model)
    if signed:
        one.phi, one.selector = activations.get("linear"), TopK(one.k, by="magnitude")
    train(one, dataset, Freeze(one, "W_dec", "b_dec"), **changes)
    return one


def train(model: Model, dataset: Dataset, *callbacks: Callback, **changes: float) -> None:
    """Adam, with a rate that falls in the second half, on images that move and get noise."""
    settings = LEARNING | changes
    rate = settings["rate"]
    optimizer = Adam(rate)
    falls = Scheduled(optimizer, "learning_rate", linear(rate, 0, begin=0.5))
    shown = [PixelShifts(dataset.image or ()), InputNoise(settings["noise"])]
    fit(
        model,
        (dataset.x_train,),
        optimizer=optimizer,
        epochs=settings["epochs"],
        batch_size=settings["batch"],
        rng=np.random.default_rng(0),
        callbacks=[falls, *shown, *callbacks],
    )


def codes(
    model: KSparseAutoencoder, x: np.ndarray, learned: dict[str, Coder]
) -> dict[str, np.ndarray]:
    """Codes (batch, n) of x (batch, d), by the name of who finds them.

    `learned` are other encoders for the dictionary of `model`, among them "learned_step".
    """
    W, centred = model.W_dec.astype(float), x.astype(float) - model.b_dec
    z = model.encode(x)
    result = {
        "one_pass": z,
        "values": refit(centred, W, z != 0, nonnegative=True),
        "signed_values": refit(centred, W, z != 0),
        "second_step": TwoStepEncoder(model).encode(x),
    }
    result |= {name: encoder.encode(x) for name, encoder in learned.items()}
    result["learned_refit"] = refit(centred, W, result["learned_step"] != 0)
    *_, further = steps = list(islice(pursuit(centred, W, model.k, z), LONG))
    for step, code in enumerate(steps[:STEPS], start=1):
        result[f"pursuit_{step}"] = code
    result["nonnegative_omp"] = nonnegative_omp(centred, W, model.k)
    omp = orthogonal_mp_gram(W @ W.T, W @ centred.T, n_nonzero_coefs=model.k).T
    *_, after_omp = islice(pursuit(centred, W, model.k, omp), LONG)
    result["omp"] = omp
    result["best"] = best_of([omp, further, after_omp], centred, W)
    return result


def best_of(found: list[np.ndarray], x: np.ndarray, W: np.ndarray) -> np.ndarray:
    """For each image of x (batch, d) the one of several codes (batch, n) that draws it best."""
    errors = [squared_errors(x, code @ W) for code in found]
    return np.stack(found)[np.argmin(errors, axis=0), np.arange(len(x))]


def measure(network: Network, dataset: Dataset) -> Row:
    """One row: the error of each code, of test images and of some that the network learned.

    "kept" is the share of the units of one pass that the best code has as well, "negative" that of
    its coefficients below zero; the "seconds_" are those of a thousand codes.
    """
    started = time.process_time()
    model = network.model()
    learned = {
        "learned_step": second_look(model, dataset),
        "longer": longer(model, dataset, signed=False),
        "longer_signed": longer(model, dataset, signed=True),
    }
    row: Row = {}
    parts = {"": dataset.x_test, "training_": dataset.x_train[:TRAINING_IMAGES]}
    results = {part: codes(model, x, learned) for part, x in parts.items()}
    for part, x in parts.items():
        for name, code in results[part].items():
            row[part + name] = mse(code @ model.W_dec + model.b_dec, x)
    one_pass, best = results[""]["one_pass"], results[""]["best"]
    row["kept"] = (best[one_pass != 0] != 0).mean()
    row["negative"] = (best < 0).sum() / (best != 0).sum()
    row |= seconds(model, dataset.x_test[:1000], learned["learned_step"])
    row["seconds"] = round(time.process_time() - started, 1)
    return row


def seconds(model: KSparseAutoencoder, x: np.ndarray, two: TwoStepEncoder) -> dict[str, float]:
    """The processor's seconds for codes of x (batch, d), by way; the least of three."""
    W, centred = model.W_dec.astype(float), x.astype(float) - model.b_dec

    def pursued():
        for _ in islice(pursuit(centred, W, model.k, model.encode(x)), STEPS):
            pass

    ways = {
        "one_pass": partial(model.encode, x),
        "learned_step": partial(two.encode, x),
        f"pursuit_{STEPS}": pursued,
        "omp": lambda: orthogonal_mp_gram(W @ W.T, W @ centred.T, n_nonzero_coefs=model.k),
    }
    taken = {}
    for name, find in ways.items():
        tries = []
        for _ in range(3):
            started = time.process_time()
            find()
            tries.append(time.process_time() - started)
        taken[f"seconds_{name}"] = min(tries)
    return taken


def tried(network: Network, dataset: Dataset, **changes: float) -> Row:
    """One row: what a second look that learned in another way leaves, on validation digits."""
    started = time.process_time()
    model, x = network.model(), dataset.x_val
    learned = {"learned_step": second_look(model, dataset, **changes)}
    found = codes(model, x, learned)
    row: Row = {
        name: mse(found[name] @ model.W_dec + model.b_dec, x)
        for name in ("one_pass", "learned_step", "best")
    }
    return row | {"seconds": round(time.process_time() - started, 1)}


def jobs(k_sweep: Sweep) -> Iterator[Job]:
    """The networks of each of `KS` and `SEEDS`."""
    own = f"in parts {STEPS} {LONG} {LEARNING} {TRAINING_IMAGES}"

    def row(network: Network) -> Row:
        return measure(network, k_sweep.dataset)

    for network in k_sweep.networks:
        if network.k in KS and network.seed in SEEDS:
            settings = hash_of(f"{network.settings} {own}")
            yield Job(f"k={network.k}", network.seed, settings, partial(row, network))


def jobs_tried(k_sweep: Sweep) -> Iterator[Job]:
    """Each of `TRIED`, with the network of each of `TRIED_KS` that has the seed `TRIED_SEED`."""

    def row(network: Network, changes: dict[str, float]) -> Row:
        return tried(network, k_sweep.dataset, **changes)

    networks = k_sweep.by_k_and_seed()
    for k, (name, changes) in product(TRIED_KS, TRIED.items()):
        network = networks[k, TRIED_SEED]
        settings = hash_of(f"{network.settings} {LONG} {LEARNING | changes}")
        yield Job(f"k={k}, {name}", TRIED_SEED, settings, partial(row, network, changes))


TABLES = {"table.csv": jobs, "tried.csv": jobs_tried}
