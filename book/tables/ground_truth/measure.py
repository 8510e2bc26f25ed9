"""Chapter 18's tables: how much of a known dictionary is found, by whom, and when.

`choice.csv`, made first, has what validation samples say of the network's start, rate and
curriculum, with a seed that is used nowhere else: their error alone, as nobody who trains on data
has the truth to choose by. `table.csv` changes one thing at a time about the data, or about what
the network is told of them, with five seeds. `rivals.csv` has who else looks for atoms.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import FastICA

from ksae_lab.data import ground_truth
from ksae_lab.data.ground_truth import GroundTruth
from ksae_lab.evaluation import recovery
from ksae_lab.experiments import rival_atoms
from ksae_lab.experiments.rival_atoms import Atoms, codes_by_omp
from ksae_lab.experiments.tables import Job, Row, hash_of
from ksae_lab.inference.ksvd import ksvd
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.training.callbacks import Scheduled
from ksae_lab.training.optimizers import Adam
from ksae_lab.training.schedules import k_curriculum, linear

D, TEST, FOUND = 64, 2000, 0.95  # numbers in a sample, test samples, the cosine of an atom found
UPDATES, BATCH = 9400, 128  # sixty passes through 20,000 samples
SEEDS, TRIAL = (0, 1, 2, 3, 4), 100
STARTS, RATES, TIMES = ("data", "random"), (0.002, 0.004, 0.008), (1, 2, 3, 4)
ALPHAS, PASSES, ROUNDS = (0.2, 0.4), 20, 20


@dataclass(frozen=True)
class World:
    """Data to be made, and what a network is told of them."""

    n: int = 100
    k: int = 5
    samples: int = 20_000
    noise: float = 0.0
    together: float = 0.0
    nested: bool = False
    told_n: int = 0  # 0: as it is
    told_k: int = 0


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: its start, Adam's rate, and how many times k it begins with."""

    start: str
    rate: float
    times: int


BASE = World()
WORLDS = {
    "as it is": BASE,
    **{f"k = {k}": replace(BASE, k=k) for k in (2, 3, 8, 10, 15)},
    **{f"n = {n}": replace(BASE, n=n) for n in (50, 200, 400)},
    **{f"noise {noise:g}": replace(BASE, noise=noise) for noise in (0.05, 0.1, 0.2, 0.4)},
    **{f"{count:,} samples": replace(BASE, samples=count) for count in (500, 1000, 2000, 5000)},
    **{f"pairs {p:g}": replace(BASE, together=p) for p in (0.5, 0.8, 0.95)},
    **{f"nested {p:g}": replace(BASE, together=p, nested=True) for p in (0.2, 0.5, 0.8)},
    **{f"told k = {k}": replace(BASE, told_k=k) for k in (2, 3, 4, 7, 10, 20)},
    **{f"told n = {n}": replace(BASE, told_n=n) for n in (50, 80, 125, 200, 400)},
    **{f"k = {k}, told n = 200": replace(BASE, k=k, told_n=200) for k in (8, 10, 15)},
}
CONTESTED = ("as it is", "k = 10", "1,000 samples")


@cache
def made(world: World, seed: int) -> tuple[GroundTruth, GroundTruth, GroundTruth]:
    """Training, validation and test samples of one dictionary."""
    rng = np.random.default_rng(seed)
    W = ground_truth.dictionary(world.n, D, rng)
    how = {"noise": world.noise, "together": world.together, "nested": world.nested}
    training, validation, test = (
        ground_truth.samples(W, count, world.k, rng, **how) for count in (world.samples, TEST, TEST)
    )
    return training, validation, test


def trained(world: World, recipe: Recipe, seed: int) -> KSparseAutoencoder:
    """The network, after as many updates whatever the world."""
    x, rng = made(world, seed)[0].x.astype(np.float32), np.random.default_rng(1000 + seed)
    n, k = world.told_n or world.n, world.told_k or world.k
    model = KSparseAutoencoder(D, n, k, rng=rng)
    if recipe.start == "data":
        model.init_from_data(x, rng)
    adam = Adam(recipe.rate)
    around = [Scheduled(adam, "learning_rate", linear(recipe.rate, 0, begin=0.5))]
    most = min(recipe.times * k, n)
    if most > k:
        around.append(Scheduled(model, "k", k_curriculum(most, k, finish=0.5)))
    epochs = round(UPDATES / np.ceil(len(x) / BATCH))
    how = {"epochs": epochs, "batch_size": BATCH, "rng": rng, "quiet": True}
    model.fit(x, optimizer=adam, callbacks=around, **how)
    return model


def choice_jobs() -> Iterator[Job]:
    """Each start, rate and curriculum for the first world: the error of validation samples."""

    def row(recipe: Recipe) -> Row:
        model = trained(BASE, recipe, TRIAL)
        validation = model.error(made(BASE, TRIAL)[1].x.astype(np.float32))
        return {"start": recipe.start, "rate": recipe.rate, "times": recipe.times} | {
            "validation": validation
        }

    for recipe in (Recipe(*of) for of in product(STARTS, RATES, TIMES)):
        name = f"{recipe.start}, {recipe.rate:g}, {recipe.times} k"
        settings = hash_of(f"{BASE} {recipe} {UPDATES} {BATCH} {D} {TEST}")
        yield Job(name, TRIAL, settings, partial(row, recipe))


@cache
def chosen() -> Recipe:
    """What validation samples preferred; `FileNotFoundError` before choice.csv is made."""
    tried = pd.read_csv(Path(__file__).with_name("choice.csv"), comment="#")
    best = tried.loc[tried.validation.idxmin()]
    return Recipe(best["start"], float(best["rate"]), int(best["times"]))


def judged(W: np.ndarray, z: np.ndarray, test: GroundTruth) -> Row:
    """How much of the dictionary, and of the test samples' supports, is found."""
    match = recovery.match(W, test.W)
    support = recovery.support(match.codes(z), test.z)
    return {
        "found": np.mean(match.cosines >= FOUND),
        "cosine": match.cosines.mean(),
        "precision": support.precision,
        "recall": support.recall,
        "f1": support.f1,
    }


def by_omp(W: np.ndarray, x: np.ndarray, k: int) -> np.ndarray:
    """OMP's codes (samples, n) of x (samples, d)."""
    return codes_by_omp(Atoms(W, np.zeros(W.shape[1])), k)(x)


def of_network(world: World, seed: int) -> Row:
    """One row: what a network finds, by one pass and by OMP with its atoms, and OMP with the truth.

    "resemblance" is the mean cosine between each learned atom and the next one sought, "dead" the
    share of units that no training sample uses.
    """
    started = time.process_time()
    model = trained(world, chosen(), seed)
    seconds, (training, _, test) = time.process_time() - started, made(world, seed)
    x = test.x.astype(np.float32)
    z, W = model.encode(x), model.W_dec.astype(float)
    searched = judged(W, by_omp(W, test.x - model.b_dec, model.k), test)
    ceiling = recovery.support(by_omp(test.W, test.x, world.k), test.z)
    used = (model.encode(training.x.astype(np.float32)) != 0).any(axis=0)
    nearest = np.abs(recovery.cosines_of(W, test.W)).max(axis=1)
    return judged(W, z, test) | {
        "f1_omp": searched["f1"],
        "ceiling": ceiling.f1,
        "coherence": recovery.coherence(test.W),
        "resemblance": nearest.mean(),
        "dead": 1 - used.mean(),
        "error": model.error(x),
        "seconds": round(seconds, 1),
    }


def table_jobs() -> Iterator[Job]:
    """Each world with each seed."""
    for (name, world), seed in product(WORLDS.items(), SEEDS):
        settings = hash_of(f"{world} {chosen()} {UPDATES} {BATCH} {D} {TEST} {FOUND}")
        yield Job(name, seed, settings, partial(of_network, world, seed))


def dictionary(world: World, x: np.ndarray, seed: int) -> np.ndarray:
    """scikit-learn's atoms, with the weight of L1 that validation samples like best with OMP."""
    validation = made(world, seed)[1].x

    def error(W: np.ndarray) -> float:
        return float(np.mean((by_omp(W, validation, world.k) @ W - validation) ** 2))

    found = [rival_atoms.dictionary(x, world.n, alpha, PASSES, seed).W for alpha in ALPHAS]
    return min(found, key=error)


def by_ksvd(world: World, x: np.ndarray, seed: int) -> np.ndarray:
    """K-SVD's atoms, begun at samples; it is told k."""
    start = x[np.random.default_rng(seed).choice(len(x), world.n, replace=False)]
    rounds = ksvd(x, start, x.mean(axis=0), world.k)
    for _ in range(ROUNDS):
        W, _ = next(rounds)
    return W


def ica(world: World, x: np.ndarray, seed: int) -> np.ndarray:
    """The columns of FastICA's mixing matrix: as many as there are numbers in a sample, at most."""
    count = min(world.n, D)
    return FastICA(count, whiten="unit-variance", random_state=seed, max_iter=500).fit(x).mixing_.T


RIVALS: dict[str, Callable[[World, np.ndarray, int], np.ndarray]] = {
    "dictionary learning": dictionary,
    "K-SVD": by_ksvd,
    "ICA": ica,
}


def of_rival(name: str, world: World, seed: int) -> Row:
    """One row: what a rival finds, with OMP for its codes."""
    started = time.process_time()
    training, _, test = made(world, seed)
    W = RIVALS[name](world, training.x, seed)
    W = W / np.linalg.norm(W, axis=1, keepdims=True)
    seconds = time.process_time() - started
    return judged(W, by_omp(W, test.x, world.k), test) | {"seconds": round(seconds, 1)}


def rival_jobs() -> Iterator[Job]:
    """Each rival in some of the worlds, with two seeds."""
    for seed, name, where in product(SEEDS[:2], RIVALS, CONTESTED):
        world = WORLDS[where]
        settings = hash_of(f"{name} {world} {ALPHAS} {PASSES} {ROUNDS} {D} {TEST} {FOUND}")
        yield Job(f"{name}, {where}", seed, settings, partial(of_rival, name, world, seed))


TABLES = {"choice.csv": choice_jobs, "table.csv": table_jobs, "rivals.csv": rival_jobs}
