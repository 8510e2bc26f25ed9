"""Lab 2's tables: the rivals, and who is ahead of whom.

`rivals.csv` has a row for each rival, k, seed and budget, once and twice; `verdicts.csv` one for
each rival, k and budget: how far the network of `table.yaml` with that budget lies above it. What
both need, the error of each image, is kept in `runs/lab_2`.

All see the same 3,500 digits, half of which move by a pixel: the network and whatever learns from
batches sees other moves each time, whatever learns from a heap sees `COPIES` of them. Whatever is
left open was chosen by validation digits, with a seed that is used nowhere else (`trials.csv`).
"""

import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.metrics import active_units, squared_errors
from ksae_lab.evaluation.statistics import difference
from ksae_lab.experiments import rival_atoms, rival_networks
from ksae_lab.experiments.build import build, trained
from ksae_lab.experiments.rival_atoms import Atoms, Reconstruct, by_omp
from ksae_lab.experiments.rival_networks import Steps
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.tables import Job, Key, Row, expand, hash_of

KS, UNITS, COPIES = (5, 10, 20, 30, 50), 100, 4
FEW = KS[:3]  # where a rival takes as many looks as there are active units, and learns through them
TRIAL = 100
BUDGETS = {"once": 1, "twice": 2}
# Seeds of rivals, of those that take minutes, and of PCA, which draws nothing, and NMF, which fills
# zeros at random. The network's stand in its plans.
SEEDS = {"once": (0, 1, 2, 3, 4), "twice": (0, 1, 2)}
FEWER = {"once": (0, 1, 2), "twice": (0, 1)}
DEAR = ("K-SVD + OMP", "matching pursuit", "top-k recipe", "relu and L1")
ALONE = ("PCA", "PCA, own k", "NMF + OMP, non-negative")
# What a budget is: passes of a dictionary, rounds of NMF and K-SVD, and for whatever takes steps
# the network's own number of them.
PASSES, NMF_ROUNDS, KSVD_ROUNDS, EPOCHS, BATCH = 20, 200, 15, 240, 128
WEIGHTS = (0.15, 0.3, 0.6, 1.2, 2.4)  # of L1
PLANS = [Path(__file__).with_name(f"{name}.yaml") for name in ("half", "table", "twice")]

Setting = tuple[float, ...]  # what was chosen for a rival
Errors = dict[str, np.ndarray]  # of each image (images,), by part

memory = joblib.Memory(Path(__file__).parents[2] / "runs" / "lab_2", verbose=0)
digits = cache(load_dataset)


def of_parts(reconstruct: Reconstruct) -> Errors:
    """The error of each validation and test digit."""
    parts = {"validation": digits().x_val, "test": digits().x_test}
    return {part: squared_errors(x.astype(float), reconstruct(x)) for part, x in parts.items()}


# The rivals. Each is called with k, seed, setting and budget, and is trained from nothing.


def pca(k: int, seed: int, setting: Setting, budget: int, *, own: bool = False) -> Errors:
    """PCA's first k axes, or of its first hundred each image's own k."""
    (moved,) = setting
    x = rival_atoms.heap(digits(), seed, bool(moved), COPIES)
    return of_parts(rival_atoms.pca(x, UNITS, k, own=own))


def raw(k: int, seed: int, setting: Setting, budget: int, *, signed: bool = True) -> Errors:
    """A hundred training digits less the mean as they are, with pursuit."""
    return of_parts(by_omp(rival_atoms.raw(digits().x_train, UNITS, seed), k, signed=signed))


@memory.cache
def dictionary(seed: int, setting: Setting, budget: int) -> Atoms:
    """scikit-learn's atoms, whatever k: twenty passes a budget."""
    alpha, moved = setting
    x = rival_atoms.heap(digits(), seed, bool(moved), COPIES)
    return rival_atoms.dictionary(x, UNITS, alpha, PASSES * budget // COPIES, seed)


def learned(k: int, seed: int, setting: Setting, budget: int, *, signed: bool = True) -> Errors:
    """scikit-learn's dictionary with pursuit."""
    return of_parts(by_omp(dictionary(seed, setting, budget), k, signed=signed))


@memory.cache
def factors(seed: int, moved: float, budget: int) -> Atoms:
    """NMF's atoms, whatever k."""
    x = rival_atoms.heap(digits(), seed, bool(moved), COPIES)
    return rival_atoms.factors(x, UNITS, NMF_ROUNDS * budget, seed)


def by_nmf(k: int, seed: int, setting: Setting, budget: int) -> Errors:
    """NMF's atoms with pursuit that may not take away, for digits that keep their mean."""
    return of_parts(by_omp(factors(seed, *setting, budget), k, signed=False))


def by_k_svd(k: int, seed: int, setting: Setting, budget: int) -> Errors:
    """K-SVD with the very k: of digits that move it sees two copies, as pursuit takes its time."""
    (moved,) = setting
    x = rival_atoms.heap(digits(), seed, bool(moved), 2 if moved else 1)
    return of_parts(by_omp(rival_atoms.k_svd(x, UNITS, k, KSVD_ROUNDS * budget, seed), k))


def taken(seed: int, rate: float, budget: int) -> Steps:
    """The steps of a rival that learns from batches: as many as the network's."""
    return Steps(rate, EPOCHS * budget, BATCH, seed)


def matching(k: int, seed: int, setting: Setting, budget: int) -> Errors:
    """A matching-pursuit autoencoder."""
    steps = taken(seed, *setting, budget)
    return of_parts(rival_networks.matching(digits(), UNITS, k, steps).reconstruct)


def recipe(k: int, seed: int, setting: Setting, budget: int) -> Errors:
    """A top-k network by the recipe of language models."""
    steps = taken(seed, *setting, budget)
    return of_parts(rival_networks.recipe(digits(), UNITS, k, steps).reconstruct)


@memory.cache
def priced(weight: float, rate: float, seed: int, budget: int) -> dict[str, tuple[float, Any]]:
    """A relu network that pays for activity: active units and the errors of each part."""
    steps = taken(seed, rate, budget)
    model = rival_networks.priced(digits(), UNITS, weight, steps)
    parts = {"validation": digits().x_val, "test": digits().x_test}
    errors = of_parts(model.reconstruct)
    return {p: (active_units(model.encode(x)).mean(), errors[p]) for p, x in parts.items()}


def between_prices(k: int, seed: int, setting: Setting, budget: int) -> Errors:
    """The errors of a relu network with the weight of L1 that gives k active units on average."""
    found = [partial(priced, weight, *setting, seed, budget) for weight in WEIGHTS]
    return rival_networks.at_count(found, k)


RIVALS: dict[str, tuple[tuple[int, ...], Callable[..., Errors]]] = {
    "PCA": (KS, pca),
    "PCA, own k": (KS, partial(pca, own=True)),
    "raw digits + OMP": (KS, raw),
    "raw digits + OMP, non-negative": (KS, partial(raw, signed=False)),
    "NMF + OMP, non-negative": (KS, by_nmf),
    "dictionary + OMP": (KS, learned),
    "dictionary + OMP, non-negative": (KS, partial(learned, signed=False)),
    "K-SVD + OMP": (FEW, by_k_svd),
    "matching pursuit": (FEW, matching),
    "top-k recipe": (KS, recipe),
    "relu and L1": (KS, between_prices),
}
# What is left open, for validation digits to choose in trials.csv: rates, weights of the penalty,
# and whether the digits move (1) or not (0).
OPEN: dict[str, tuple[Setting, ...]] = {
    "PCA": ((0,), (1,)),
    "PCA, own k": ((0,), (1,)),
    "NMF + OMP, non-negative": ((0,), (1,)),
    "dictionary + OMP": tuple(product((0.0625, 0.125, 0.25, 0.5, 1, 2), (0, 1))),
    "K-SVD + OMP": ((0,), (1,)),
    "matching pursuit": ((0.004,), (0.008,), (0.016,), (0.032,), (0.064,)),
    "top-k recipe": ((0.001,), (0.002,), (0.004,), (0.008,), (0.016,)),
    "relu and L1": ((0.002,), (0.004,), (0.008,), (0.016,), (0.032,)),
}


def preferred() -> dict[tuple[str, int], Setting]:
    """The setting that validation digits preferred, by rival and k, as trials.csv has it.

    Raises `FileNotFoundError` if the trials have not been made, which comes first.
    """
    trials = pd.read_csv(Path(__file__).with_name("trials.csv"), comment="#")
    parts = trials["variant"].str.extract(r"(?P<name>.+), k=(?P<k>\d+): (?P<setting>.+)")
    best = trials.join(parts).sort_values("validation").groupby(["name", "k"]).first()
    return {
        (name, int(k)): tuple(float(number) for number in text.split())
        for (name, k), text in best["setting"].items()
    }


@memory.cache
def rival(name: str, k: int, seed: int, setting: Setting, budget: int) -> Errors:
    """The errors of a rival, trained."""
    return RIVALS[name][1](k, seed, setting, budget)


@memory.cache
def network(experiment: str) -> dict[str, Any]:
    """The errors of a network of `table.yaml`, given as JSON; also with pursuit on its atoms."""
    started = time.process_time()
    run = build(Experiment.model_validate_json(experiment), digits())
    model = trained(run)
    seconds = time.process_time() - started
    atoms = Atoms(model.W_dec.astype(float), model.b_dec.astype(float))
    return {
        "one pass": of_parts(model.reconstruct),
        "atoms + OMP": of_parts(by_omp(atoms, model.k)),
        "curve": run.history.validation,
        "seconds": seconds,
        "dead": run.history.logs["dead"][-1],
    }


def planned() -> dict[Key, Experiment]:
    """The networks of all plans."""
    return {key: experiment for plan in PLANS for key, experiment in expand(plan).items()}


def of_networks(k: int, budget: str, what: str = "one pass") -> Errors:
    """The errors (seeds, images) of all networks of one k and budget, by part."""
    wanted = [e for (name, _), e in planned().items() if name == f"k={k}, {budget}"]
    found = [network(experiment.model_dump_json())[what] for experiment in wanted]
    return {part: np.stack([one[part] for one in found]) for part in ("validation", "test")}


def network_jobs(plan: Path) -> Iterator[Job]:
    """The trainings of a plan: errors of one pass and of pursuit, and the validation curve."""

    def row(experiment: Experiment) -> Row:
        found = network(experiment.model_dump_json())
        once, pursued = found["one pass"], found["atoms + OMP"]
        epochs = np.linspace(0, len(found["curve"]), 13)[1:].astype(int)
        return {
            "validation": once["validation"].mean(),
            "test": once["test"].mean(),
            "omp": pursued["test"].mean(),
            "dead": found["dead"],
            "seconds": round(found["seconds"], 1),
            "curve": " ".join(f"{found['curve'][epoch - 1]:.5f}" for epoch in epochs),
        }

    for (variant, seed), experiment in expand(plan).items():
        yield Job(variant, seed, experiment.hash, partial(row, experiment))


def known(name: str, setting: Setting) -> str:
    """What a rival's row depends on, written out."""
    budgets = PASSES, NMF_ROUNDS, KSVD_ROUNDS, EPOCHS, BATCH
    return f"{name} {setting} {UNITS} {COPIES} {WEIGHTS} {budgets}"


def mean_errors(name: str, k: int, seed: int, setting: Setting, budget: int) -> Row:
    """One row: the mean errors of a rival."""
    errors = rival(name, k, seed, setting, budget)
    return {part: of.mean() for part, of in errors.items()}


def trial_jobs() -> Iterator[Job]:
    """What is left open of the rivals, at each of its settings, for each k."""
    for name, settings in OPEN.items():
        for k in RIVALS[name][0]:
            for setting in settings:
                job = partial(mean_errors, name, k, TRIAL, setting, 1)
                text = " ".join(f"{number:g}" for number in setting)
                yield Job(f"{name}, k={k}: {text}", TRIAL, hash_of(known(name, setting)), job)


def seeds(name: str, budget: str) -> tuple[int, ...]:
    """The seeds of a rival."""
    if name in ALONE:
        return (0,)
    return (FEWER if name in DEAR else SEEDS)[budget]


def contests() -> Iterator[tuple[str, int, Setting]]:
    """Every rival, k and chosen setting; non-negative pursuit takes the dictionary of the other."""
    chosen = preferred()
    for name, (ks, _) in RIVALS.items():
        own = name if name in OPEN else name.removesuffix(", non-negative")
        yield from ((name, k, chosen.get((own, k), ())) for k in ks)


def rival_jobs() -> Iterator[Job]:
    """Every rival, as it was chosen, with each budget and seed."""
    for budget, times in BUDGETS.items():
        for name, k, setting in contests():
            for seed in seeds(name, budget):
                job = partial(mean_errors, name, k, seed, setting, times)
                yield Job(f"{name}, k={k}, {budget}", seed, hash_of(known(name, setting)), job)


def verdict(what: str, name: str, k: int, setting: Setting, budget: str) -> Row:
    """One row: how far the network lies above a rival, for seeds and digits that are drawn.

    `what` is "one pass", or "atoms + OMP", where pursuit reads the network's own atoms.
    """
    ours = of_networks(k, budget, what)["test"]
    found = [rival(name, k, s, setting, BUDGETS[budget]) for s in seeds(name, budget)]
    theirs = np.stack([one["test"] for one in found])
    apart = difference(ours, theirs)
    means = {"network": ours.mean(), "rival": theirs.mean()}
    return means | apart.row()


def verdict_jobs() -> Iterator[Job]:
    """Every contest with each budget; the rows of one budget and one `what` are a family."""
    for budget in BUDGETS:
        for what in ("one pass", "atoms + OMP"):
            for name, k, setting in contests():
                if what == "one pass" or name in PURSUED:
                    variants = planned().items()
                    ours = [e.hash for (variant, _), e in variants if variant == f"k={k}, {budget}"]
                    job = partial(verdict, what, name, k, setting, budget)
                    settings = hash_of(f"{ours} {seeds(name, budget)} {known(name, setting)}")
                    yield Job(f"{what} against {name}, k={k}, {budget}", 0, settings, job)


PURSUED = ("raw digits + OMP", "dictionary + OMP", "K-SVD + OMP")  # without a sign, as ours then

TABLES = {
    **{f"{plan.stem}.csv": partial(network_jobs, plan) for plan in PLANS},
    "trials.csv": trial_jobs,
    "rivals.csv": rival_jobs,
    "verdicts.csv": verdict_jobs,
}
