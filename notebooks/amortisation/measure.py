"""Lab 8's tables: codes for the same dictionary, from one pass of the encoder to the best known.

Every network of chapter 13's sweep whose k is one of `KS` and whose seed one of `SEEDS` keeps its
dictionary; what changes is who finds the code. The yardstick is the best of what three pursuits
find, image by image: OMP, hard thresholding pursuit from the code of one pass, and from OMP's. The
learned second look and the controls, the one layer that there was trained further, once as it was
and once free to take away, see digits that move and noise, as the networks did.

`noise.csv` has what validation digits say of the noise, for each of the three that learn and each
k, with networks that no other table has; `tried.csv` tries other settings for the second look.
`table.csv` has a network a row, and `verdicts.csv` says what is settled, for seeds and digits that
are drawn. What that needs, the error of each digit, is kept in `runs/lab_8`. The networks of
`signed.csv` were trained without a relu; their errors of each digit are in `signed.npz`, and
`one_pass.npz` has those of the sweep's networks beside them.
"""

import copy
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import islice, product
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.linear_model import orthogonal_mp_gram

from ksae_lab.data.datasets import Dataset
from ksae_lab.evaluation.metrics import squared_errors
from ksae_lab.evaluation.statistics import above_zero
from ksae_lab.experiments import archive, compared
from ksae_lab.experiments.networks import Network, Sweep
from ksae_lab.experiments.tables import Job, Row, expand, hash_of
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
LEARNING = {"epochs": 60, "batch": 128, "rate": 0.001}
TRAINING_IMAGES = 1000  # as many as there are for test
NOISES = (0.0, 0.05, 0.1, 0.15)
TRIED: dict[str, dict[str, float]] = {
    "as it is": {},
    "120 epochs": {"epochs": 120},
    "rate 0.002": {"rate": 0.002},
    "rate 0.004": {"rate": 0.004},
    "batches of 32": {"batch": 32},
}
TRIED_KS, TRIED_SEED = (10, 50), 3
# Who is held against whom: the errors of the second less those of the first, in percent of a third.
CONTESTS = {
    "sign": ("best", "nonnegative_omp", "best"),
    "choice": ("nonnegative_omp", "values", "best"),
    "values": ("values", "one_pass", "best"),
    "second look": ("best", "learned_step", "best"),
    "trained longer": ("one_pass", "longer", "one_pass"),
    "without relu": ("one_pass", "longer_signed", "one_pass"),
}

memory = joblib.Memory(Path(__file__).parents[2] / "runs" / "lab_8", verbose=0)
Found = dict[str, dict[str, np.ndarray]]  # by part and way: the error of each digit


def second_look(model: KSparseAutoencoder, dataset: Dataset, **changes: float) -> TwoStepEncoder:
    """A two-step encoder for the dictionary of `model`, which learns from the training images.

    `changes` are to `LEARNING`, or `noise`.
    """
    two = TwoStepEncoder(model)
    train(two, dataset, **changes)
    return two


def longer(
    model: KSparseAutoencoder, dataset: Dataset, signed: bool, **changes: float
) -> KSparseAutoencoder:
    """The encoder of `model` alone, trained further on the training images.

    `signed` takes its relu away and lets it choose by magnitude: codes may then be negative.
    `changes` are to `LEARNING`, or `noise`.
    """
    one = copy.deepcopy(model)
    if signed:
        one.phi, one.selector = activations.get("linear"), TopK(one.k, by="magnitude")
    train(one, dataset, Freeze(one, "W_dec", "b_dec"), **changes)
    return one


def train(model: Model, dataset: Dataset, *callbacks: Callback, **changes: float) -> None:
    """Adam, with a rate that falls in the second half, on images that move and get noise."""
    settings = LEARNING | {"noise": 0.0} | changes
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


Learner = Callable[..., Coder]  # model, dataset, changes → an encoder for its dictionary
LEARNERS: dict[str, Learner] = {
    "learned_step": second_look,
    "longer": partial(longer, signed=False),
    "longer_signed": partial(longer, signed=True),
}


@cache
def noises() -> dict[tuple[str, int], float]:
    """The noise that validation digits chose, by learner and k.

    Raises `FileNotFoundError` before noise.csv is made.
    """
    trials = pd.read_csv(Path(__file__).with_name("noise.csv"), comment="#")
    by_k = trials.groupby("k")
    return {(name, k): of.loc[of[name].idxmin(), "noise"] for k, of in by_k for name in LEARNERS}


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


def learned(network: Network, dataset: Dataset) -> dict[str, Coder]:
    """What learns for a network's dictionary, each with the noise that validation digits chose."""
    model = network.model()
    return {
        name: learn(model, dataset, noise=noises()[name, network.k])
        for name, learn in LEARNERS.items()
    }


def measure(network: Network, dataset: Dataset) -> Row:
    """One row: the error of each code, of test images and of some that the network learned.

    "kept" is the share of the units of one pass that the best code has as well, "negative" that of
    its coefficients below zero; the "seconds_" are those of a thousand codes.
    """
    started = time.process_time()
    found, row = measured(network, dataset)
    for part, by_way in found.items():
        row |= {part + way: each.mean() for way, each in by_way.items()}
    return row | {"seconds": round(time.process_time() - started, 1)}


def measured(network: Network, dataset: Dataset) -> tuple[Found, Row]:
    """The error of each digit, and the row's other columns; found once, and kept."""
    return _measured(hash_of_row(network), network, dataset)


@memory.cache(ignore=["network", "dataset"])
def _measured(settings: str, network: Network, dataset: Dataset) -> tuple[Found, Row]:
    model, encoders = network.model(), learned(network, dataset)
    W, found = model.W_dec.astype(float), {}
    parts = {"": dataset.x_test, "training_": dataset.x_train[:TRAINING_IMAGES]}
    for part, x in parts.items():
        by_way = codes(model, x, encoders)
        centred = x.astype(float) - model.b_dec
        found[part] = {way: squared_errors(centred, z @ W) for way, z in by_way.items()}
        if not part:
            one_pass, best = by_way["one_pass"], by_way["best"]
    row: Row = {
        "kept": (best[one_pass != 0] != 0).mean(),
        "negative": (best < 0).sum() / (best != 0).sum(),
    }
    return found, row | seconds(model, dataset.x_test[:1000], encoders["learned_step"])


def seconds(model: KSparseAutoencoder, x: np.ndarray, two: Coder) -> dict[str, float]:
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


def validated(network: Network, dataset: Dataset, names: list[str], **changes: float) -> Row:
    """The errors on validation digits of one pass, the best code and some that learn."""
    model, x = network.model(), dataset.x_val
    encoders = {name: LEARNERS[name](model, dataset, **changes) for name in names}
    found = codes(model, x, encoders)
    return {
        name: mse(found[name] @ model.W_dec + model.b_dec, x)
        for name in ("one_pass", *names, "best")
    }


def hash_of_row(network: Network) -> str:
    """A hash of what a network's row depends on."""
    noise = [noises()[name, network.k] for name in LEARNERS]
    return hash_of(f"{network.settings} {STEPS} {LONG} {LEARNING} {noise} {TRAINING_IMAGES}")


def noise_jobs(k_sweep: Sweep) -> Iterator[Job]:
    """Each noise, for each k, with the network of the seed `TRIED_SEED`."""

    def row(network: Network, noise: float) -> Row:
        errors = validated(network, k_sweep.dataset, list(LEARNERS), noise=noise)
        return {"k": network.k, "noise": noise} | errors

    networks = k_sweep.by_k_and_seed()
    for k, noise in product(KS, NOISES):
        network = networks[k, TRIED_SEED]
        settings = hash_of(f"{network.settings} {LONG} {LEARNING} {noise}")
        yield Job(f"k={k}, noise {noise:g}", TRIED_SEED, settings, partial(row, network, noise))


def tried_jobs(k_sweep: Sweep) -> Iterator[Job]:
    """Each of `TRIED`, with the network of each of `TRIED_KS` that has the seed `TRIED_SEED`."""

    def row(network: Network, settings: dict[str, float]) -> Row:
        return validated(network, k_sweep.dataset, ["learned_step"], **settings)

    networks = k_sweep.by_k_and_seed()
    for k, (name, changes) in product(TRIED_KS, TRIED.items()):
        network, noise = networks[k, TRIED_SEED], noises()["learned_step", k]
        settings = LEARNING | {"noise": noise} | changes
        known = hash_of(f"{network.settings} {LONG} {settings}")
        yield Job(f"k={k}, {name}", TRIED_SEED, known, partial(row, network, settings))


def of_table(k_sweep: Sweep) -> list[Network]:
    """The networks of each of `KS` and `SEEDS`."""
    return [n for n in k_sweep.networks if n.k in KS and n.seed in SEEDS]


def jobs(k_sweep: Sweep) -> Iterator[Job]:
    """A row for each network."""

    def row(network: Network) -> Row:
        return measure(network, k_sweep.dataset)

    for network in of_table(k_sweep):
        yield Job(f"k={network.k}", network.seed, hash_of_row(network), partial(row, network))


def verdict_jobs(k_sweep: Sweep) -> Iterator[Job]:
    """Each of `CONTESTS` for each k.

    Both sides of a contest are codes of the same networks, so differences are taken within each.
    """

    def row(networks: list[Network], sides: tuple[str, str, str]) -> Row:
        found = [measured(network, k_sweep.dataset)[0][""] for network in networks]
        first, second, whole = (np.stack([of[side] for of in found]) for side in sides)
        apart = 100 * (second - first) / whole.mean()
        return above_zero(apart).row()

    for k, (name, sides) in product(KS, CONTESTS.items()):
        networks = [network for network in of_table(k_sweep) if network.k == k]
        settings = hash_of(f"{[hash_of_row(network) for network in networks]} {sides}")
        yield Job(f"k={k}: {name}", 0, settings, partial(row, networks, sides))


def write_one_pass(path: Path, k_sweep: Sweep) -> None:
    """Write one pass's errors (seeds, digits), by the names that signed.yaml gives to its k."""
    x, found = k_sweep.dataset.x_test, {}
    networks = k_sweep.by_k_and_seed(seeds=SEEDS)
    for variant, k in {name: of.model.k for (name, _), of in expand(SIGNED).items()}.items():
        models = (networks[k, seed].model() for seed in SEEDS)
        each = [squared_errors(x, model.reconstruct(x)) for model in models]
        found[variant] = np.array(each, dtype=np.float32)
    archive.put_arrays(path, found)


SIGNED = Path(__file__).with_name("signed.yaml")
TABLES = {
    "noise.csv": noise_jobs,
    "tried.csv": tried_jobs,
    "table.csv": jobs,
    "verdicts.csv": verdict_jobs,
    "signed.csv": partial(compared.rows, SIGNED),
}
FILES = {"signed.npz": compared.Errors(SIGNED), "one_pass.npz": write_one_pass}
