"""Lab 2's tables: the rivals, and who is ahead of whom.

`rivals.csv` has a row for each rival, k, seed and budget, once and twice; `verdicts.csv` one for
each rival, k and budget: how far the network of `table.yaml` with that budget lies above it. What
both need, the error of each image, is kept in `runs/lab_2`.

All see the same 3,500 digits, half of which move by a pixel: the network and whatever learns from
batches sees other moves each time, whatever learns from a heap sees `COPIES` of them. Whatever is
left open was chosen by validation digits, with a seed that is used nowhere else (`trials.csv`).
"""

import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import islice, product
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.decomposition import NMF, PCA, MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import orthogonal_mp_gram

from ksae_lab.data.datasets import load_dataset
from ksae_lab.data.shifts import shifted
from ksae_lab.evaluation.metrics import squared_errors
from ksae_lab.evaluation.statistics import difference
from ksae_lab.experiments.build import build
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.tables import Job, Key, Row, expand, hash_of
from ksae_lab.inference.ksvd import ksvd
from ksae_lab.inference.pursuit import nonnegative_omp
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.matching_pursuit import MatchingPursuitAutoencoder
from ksae_lab.nn.auxiliary_losses import Gradients
from ksae_lab.nn.module import ForwardPass
from ksae_lab.nn.rows import unit_rows
from ksae_lab.nn.topk import top_k_mask
from ksae_lab.training.callbacks import InputNoise, PixelShifts, Scheduled
from ksae_lab.training.loop import fit
from ksae_lab.training.optimizers import Adam
from ksae_lab.training.schedules import linear

KS, UNITS, COPIES = (5, 10, 20, 30, 50), 100, 4
FEW = KS[:3]  # where a rival takes as many looks as there are active units, and learns through them
TRIAL = 100
BUDGETS = {"once": 1, "twice": 2}
SEEDS = {"once": (0, 1), "twice": (0,)}
# What a budget is: passes of a dictionary, rounds of NMF and K-SVD, epochs of the rest.
PASSES, NMF_ROUNDS, KSVD_ROUNDS, MATCHING, PRICED_EPOCHS, RECIPE = 20, 200, 15, 60, 120, 240
WEIGHTS = (0.15, 0.3, 0.6, 1.2, 1.6, 2.4)  # of L1
PLANS = [Path(__file__).with_name(f"{name}.yaml") for name in ("half", "table", "twice")]

Setting = tuple[float, ...]  # what was chosen for a rival
Errors = dict[str, np.ndarray]  # of each image (images,), by part
Reconstruct = Callable[[np.ndarray], np.ndarray]

memory = joblib.Memory(Path(__file__).parents[2] / "runs" / "lab_2", verbose=0)
digits = cache(load_dataset)


def of_parts(reconstruct: Reconstruct) -> Errors:
    """The error of each validation and test digit."""
    parts = {"validation": digits().x_val, "test": digits().x_test}
    return {part: squared_errors(x.astype(float), reconstruct(x)) for part, x in parts.items()}


def heap(seed: int, moved: bool) -> np.ndarray:
    """`COPIES` of the training digits (samples, d), moved as those of a batch are, or not."""
    rng, x = np.random.default_rng(seed), digits().x_train
    share = 0.5 if moved else 0
    copies = [shifted(x, digits().image or (), share, rng) for _ in range(COPIES)]
    return np.concatenate(copies).astype(float)


def coded(W: np.ndarray, mean: np.ndarray, k: int, *, signed: bool = True) -> Reconstruct:
    """What pursuit draws with k of the atoms W (n, d)."""

    def reconstruct(x: np.ndarray) -> np.ndarray:
        if not signed:
            return mean + nonnegative_omp(x - mean, W, k) @ W
        gram, drive = W @ W.T, W @ (x - mean).T
        return mean + orthogonal_mp_gram(gram, drive, n_nonzero_coefs=k).T @ W

    return reconstruct


# The rivals. Each is called with k, seed, setting and budget, and is trained from nothing.


def pca(k: int, seed: int, setting: Setting, budget: int, *, own: bool = False) -> Reconstruct:
    """PCA's first k axes, or of its first hundred each image's own k."""
    (moved,) = setting
    fitted = PCA(UNITS, svd_solver="full").fit(heap(seed, bool(moved)))

    def reconstruct(x: np.ndarray) -> np.ndarray:
        scores = fitted.transform(x.astype(float))
        mask = top_k_mask(scores, k, by="magnitude") if own else np.arange(UNITS) < k
        return fitted.inverse_transform(np.where(mask, scores, 0))

    return reconstruct


@memory.cache
def dictionary(seed: int, setting: Setting, budget: int) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's atoms and the mean: its early stop off, twenty passes a budget."""
    alpha, moved = setting
    x = heap(seed, bool(moved))
    learner = MiniBatchDictionaryLearning(
        UNITS,
        alpha=alpha,
        batch_size=256,
        max_iter=PASSES * budget // COPIES,
        tol=0,
        max_no_improvement=None,
        random_state=seed,
        fit_algorithm="cd",  # the same codes as by LARS, ten times as fast
    )
    return learner.fit(x - x.mean(axis=0)).components_, x.mean(axis=0)


def learned(
    k: int, seed: int, setting: Setting, budget: int, *, signed: bool = True
) -> Reconstruct:
    """scikit-learn's dictionary with pursuit."""
    return coded(*dictionary(seed, setting, budget), k, signed=signed)


def raw(k: int, seed: int, setting: Setting, budget: int, *, signed: bool = True) -> Reconstruct:
    """A hundred training digits less the mean as they are: nothing is learned."""
    x = digits().x_train.astype(float)
    drawn = np.random.default_rng(seed).choice(len(x), UNITS, replace=False)
    mean = x.mean(axis=0)
    return coded(unit_rows(x[drawn] - mean), mean, k, signed=signed)


@memory.cache
def parts_of_digits(seed: int, moved: float, budget: int) -> np.ndarray:
    """NMF's atoms, after `NMF_ROUNDS` a budget."""
    learner = NMF(UNITS, init="nndsvda", max_iter=NMF_ROUNDS * budget, tol=0, random_state=seed)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # as it should
        return unit_rows(learner.fit(heap(seed, bool(moved))).components_)


def factors(k: int, seed: int, setting: Setting, budget: int) -> Reconstruct:
    """NMF's atoms with pursuit that may not take away, for digits that keep their mean."""
    W = parts_of_digits(seed, *setting, budget)
    return coded(W, np.zeros(W.shape[1]), k, signed=False)


def by_k_svd(k: int, seed: int, setting: Setting, budget: int) -> Reconstruct:
    """K-SVD with the very k, from a hundred digits, fifteen rounds a budget, with pursuit.

    Of digits that move it sees two copies, else one: pursuit takes its time.
    """
    (moved,) = setting
    rng, copies = np.random.default_rng(seed), 2 if moved else 1
    x = heap(seed, bool(moved))[: copies * len(digits().x_train)]
    start = x[rng.choice(len(x), UNITS, replace=False)] - x.mean(axis=0)
    *_, (W, mean) = islice(ksvd(x, start, x.mean(axis=0), k), KSVD_ROUNDS * budget)
    return coded(W, mean, k)


def matching(k: int, seed: int, setting: Setting, budget: int) -> Reconstruct:
    """A matching-pursuit autoencoder, with the network's noise and moves."""
    (rate,) = setting
    rng, x = np.random.default_rng(seed), digits().x_train
    model = MatchingPursuitAutoencoder(x.shape[1], UNITS, k, rng=rng)
    model.init_from_data(x, rng)
    trained(model, rate, MATCHING * budget, rng, noise=0.1)
    return model.reconstruct


class L1:
    """The sum of a code, weighted: a mean over images and pixels, as the error is."""

    def __init__(self, weight: float):
        self.weight = weight

    def __call__(self, forward: ForwardPass) -> tuple[float, Gradients]:
        """The term and its gradient for z (batch, n), which is nowhere negative."""
        weight = self.weight / forward.x.size
        return weight * float(forward.z.sum()), {"z": np.full_like(forward.z, weight)}


@memory.cache
def priced(weight: float, seed: int, budget: int) -> dict[str, tuple[float, np.ndarray]]:
    """A relu network that pays for activity: active units and the errors of each part."""
    rng, x = np.random.default_rng(seed), digits().x_train
    model = KSparseAutoencoder(x.shape[1], UNITS, UNITS, auxiliary_losses=[L1(weight)], rng=rng)
    model.init_from_data(x, rng)
    trained(model, 0.008, PRICED_EPOCHS * budget, rng, noise=0.05)
    errors = of_parts(model.reconstruct)
    parts = {"validation": digits().x_val, "test": digits().x_test}
    return {p: ((model.encode(x) != 0).sum(axis=1).mean(), errors[p]) for p, x in parts.items()}


def between_prices(k: int, seed: int, budget: int) -> Errors:
    """The errors of a relu network with the weight of L1 that gives k active units on average.

    Between two weights it takes each image's error at a share of the way, by log active units.
    """
    found = [priced(weight, seed, budget) for weight in WEIGHTS]
    result = {}
    for part in ("validation", "test"):
        active = np.log([one[part][0] for one in found])
        upper = int(np.clip(np.searchsorted(-active, -np.log(k)), 1, len(WEIGHTS) - 1))
        (above, more), (below, fewer) = ((active[i], found[i][part][1]) for i in (upper - 1, upper))
        share = (above - np.log(k)) / (above - below)
        result[part] = (1 - share) * more + share * fewer
    return result


def trained(model: Any, rate: float, epochs: int, rng: np.random.Generator, noise: float) -> None:
    """The network's own way to train, with Adam's rate falling in the second half."""
    adam = Adam(rate)
    falls = Scheduled(adam, "learning_rate", linear(rate, 0, begin=0.5))
    callbacks = [PixelShifts(digits().image or ()), InputNoise(noise), falls]
    options = {"epochs": epochs, "batch_size": 512, "rng": rng, "quiet": True}
    fit(model, digits().x_train, optimizer=adam, callbacks=callbacks, **options)


def recipe(k: int, seed: int, setting: Setting, budget: int) -> Reconstruct:
    """A top-k network as OpenAI's and dictionary_learning's recipes have it.

    Random unit rows, b_dec at the mean, dead units learn from the residual, no noise; the rate
    falls in the last fifth.
    """
    settings = {
        "seed": seed,
        "model": {"k": k, "start": "mean"},
        "auxk": {"k_aux": UNITS // 2},
        "optimizer": {"learning_rate": setting[0], "decay_from": 0.8},
        "training": {"epochs": RECIPE * budget, "batch_size": 128, "shifts": 0.5},
    }
    run = build(Experiment.model_validate(settings), digits())
    run.quiet = True
    run.fit()
    return run.model.reconstruct


RIVALS: dict[str, tuple[tuple[int, ...], Callable[..., Reconstruct]]] = {
    "PCA": (KS, pca),
    "PCA, own k": (KS, partial(pca, own=True)),
    "raw digits + OMP": (KS, raw),
    "raw digits + OMP, non-negative": (KS, partial(raw, signed=False)),
    "NMF + OMP, non-negative": (KS, factors),
    "dictionary + OMP": (KS, learned),
    "dictionary + OMP, non-negative": (KS, partial(learned, signed=False)),
    "K-SVD + OMP": (FEW, by_k_svd),
    "matching pursuit": (FEW, matching),
    "top-k recipe": (KS, recipe),
}
PRICED = "relu and L1"
# What is left open, for validation digits to choose in trials.csv: rates, weights of the penalty,
# and whether the digits move (1) or not (0).
OPEN: dict[str, tuple[Setting, ...]] = {
    "PCA": ((0,), (1,)),
    "PCA, own k": ((0,), (1,)),
    "NMF + OMP, non-negative": ((0,), (1,)),
    "dictionary + OMP": tuple(product((0.0625, 0.125, 0.25, 0.5, 1, 2), (0, 1))),
    "K-SVD + OMP": ((0,), (1,)),
    "matching pursuit": ((0.004,), (0.008,), (0.016,), (0.032,)),
    "top-k recipe": ((0.001,), (0.002,), (0.004,)),
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
    if name == PRICED:
        return between_prices(k, seed, budget)
    return of_parts(RIVALS[name][1](k, seed, setting, budget))


@memory.cache
def network(experiment: str) -> dict[str, Any]:
    """The errors of a network of `table.yaml`, given as JSON; also with pursuit on its atoms."""
    started = time.process_time()
    run = build(Experiment.model_validate_json(experiment), digits())
    run.quiet = True
    history = run.fit()
    seconds = time.process_time() - started
    model = run.model
    assert isinstance(model, KSparseAutoencoder)
    W, mean = model.W_dec.astype(float), model.b_dec.astype(float)
    return {
        "one pass": of_parts(model.reconstruct),
        "atoms + OMP": of_parts(coded(W, mean, model.k)),
        "curve": history.validation,
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
    budgets = PASSES, NMF_ROUNDS, KSVD_ROUNDS, MATCHING, PRICED_EPOCHS, RECIPE
    return f"{name} {setting} {UNITS} {COPIES} {WEIGHTS} {budgets}"


def mean_errors(name: str, k: int, seed: int, setting: Setting, budget: int) -> Row:
    """One row: the mean errors of a rival, and the seconds of the processor."""
    started = time.process_time()
    errors = rival(name, k, seed, setting, budget)
    seconds = round(time.process_time() - started, 1)
    return {part: of.mean() for part, of in errors.items()} | {"seconds": seconds}


def trial_jobs() -> Iterator[Job]:
    """What is left open of the rivals, at each of its settings, for each k."""
    for name, settings in OPEN.items():
        for k in RIVALS[name][0]:
            for setting in settings:
                job = partial(mean_errors, name, k, TRIAL, setting, 1)
                text = " ".join(f"{number:g}" for number in setting)
                yield Job(f"{name}, k={k}: {text}", TRIAL, hash_of(known(name, setting)), job)


def contests() -> Iterator[tuple[str, int, Setting]]:
    """Every rival, k and chosen setting; non-negative pursuit takes the dictionary of the other."""
    chosen = preferred()
    for name, (ks, _) in RIVALS.items():
        own = name if name in OPEN else name.removesuffix(", non-negative")
        yield from ((name, k, chosen.get((own, k), ())) for k in ks)
    yield from ((PRICED, k, ()) for k in KS)


def rival_jobs() -> Iterator[Job]:
    """Every rival, as it was chosen, with each budget and seed."""
    for budget, times in BUDGETS.items():
        for name, k, setting in contests():
            for seed in SEEDS[budget]:
                job = partial(mean_errors, name, k, seed, setting, times)
                yield Job(f"{name}, k={k}, {budget}", seed, hash_of(known(name, setting)), job)


def verdict(what: str, name: str, k: int, setting: Setting, budget: str) -> Row:
    """One row: how far the network lies above a rival, for seeds and digits that are drawn.

    `what` is "one pass", or "atoms + OMP", where pursuit reads the network's own atoms.
    """
    ours = of_networks(k, budget, what)["test"]
    theirs = np.stack([rival(name, k, s, setting, BUDGETS[budget])["test"] for s in SEEDS[budget]])
    apart = difference(ours, theirs)
    means = {"network": ours.mean(), "rival": theirs.mean()}
    return means | {"difference": apart.mean, "half_width": apart.half_width, "p": apart.p}


def verdict_jobs() -> Iterator[Job]:
    """Every contest with each budget; the rows of one budget and one `what` are a family."""
    for budget in BUDGETS:
        for what in ("one pass", "atoms + OMP"):
            for name, k, setting in contests():
                if what == "one pass" or name in PURSUED:
                    variants = planned().items()
                    ours = [e.hash for (variant, _), e in variants if variant == f"k={k}, {budget}"]
                    job = partial(verdict, what, name, k, setting, budget)
                    settings = hash_of(f"{ours} {SEEDS[budget]} {known(name, setting)}")
                    yield Job(f"{what} against {name}, k={k}, {budget}", 0, settings, job)


PURSUED = ("raw digits + OMP", "dictionary + OMP", "K-SVD + OMP")  # without a sign, as ours then

TABLES = {
    **{f"{plan.stem}.csv": partial(network_jobs, plan) for plan in PLANS},
    "trials.csv": trial_jobs,
    "rivals.csv": rival_jobs,
    "verdicts.csv": verdict_jobs,
}
