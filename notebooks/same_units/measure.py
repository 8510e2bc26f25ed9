"""Lab 13's tables: do the same units come back, in another network that was trained alike?

A row of `recur.csv` is a pair of dictionaries: of what, by whom, with how many units, and what
differs between the two. Their atoms are matched one to one, and the row has how nearly they point
in the same direction. `choice.csv`, made first, has what validation samples say of each learner's
settings, with a seed that is used nowhere else. A row of `named.csv` is a pair of words' networks,
and how nearly those units agree that tell lists of words best. `pairs.npz` has a pair of each
world: every unit's cosine and use, and some units of both sides.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from ksae_lab.data import ground_truth
from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.evaluation.metrics import fvu
from ksae_lab.evaluation.recovery import Match, cosines_of, match
from ksae_lab.evaluation.separation import area_under_curve
from ksae_lab.experiments import archive, rival_atoms
from ksae_lab.experiments.build import build, trained
from ksae_lab.experiments.rival_atoms import codes_by_omp
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.tables import Job, Row, hash_of

NS, N, KS, K = (100, 400, 1600), 400, (2, 5, 10, 20, 40), 10
PAIRS, TRIAL, BATCH = (0, 1, 2), 100, 128
NEAR, LIKE = 0.9, 0.7  # cosines of atoms that are the same, and of such as are alike
LISTS = Path(__file__).parents[2] / "book" / "tables" / "words" / "categories.yml"
LEAST = 3  # test words of a list
SHOWN, SAID = 6, 5  # pairs of units of each world, and words of each
NETWORK, DICTIONARY, UNTRAINED = "k-sparse network", "dictionary learning", "samples as they are"

MADE, ATOMS, ACTIVE = "made", 100, 5  # the control: samples of as many atoms, so many at a time


class Budget(NamedTuple):
    """What is spent on a dictionary, scalars: a network's, and that of dictionary learning.

    `alphas` are the weights of L1 that are tried.
    """

    epochs: int
    more: dict[str, float]
    passes: int
    alphas: tuple[float, ...]


BUDGETS = {
    "mnist5k": Budget(120, {"noise": 0.1, "shifts": 0.5}, 20, (0.25, 0.5, 1.0)),
    "photographs": Budget(24, {}, 4, (0.5, 1.0, 2.0)),
    "words": Budget(40, {}, 20, (0.05, 0.1, 0.2, 0.4)),
    MADE: Budget(60, {}, 20, (0.1, 0.2, 0.4, 0.8)),
}
WORLDS = tuple(name for name in BUDGETS if name != MADE)
# What may differ between the two of a pair, or hold for both.
SEED = "another seed"
START, ORDER = "same start, other batches", "other start, same batches"
SAME_HALF, OTHER_HALF = "the same half", "the other half"
ELSEWHERE, TWICE, SHAPELESS = "other starts", "twice as long", "Gaussian samples"
CHANGES = (SEED, START, ORDER, SAME_HALF, OTHER_HALF, ELSEWHERE, TWICE, SHAPELESS)
SETTINGS = tuple(product((0.001, 0.002, 0.004, 0.008, 0.016), ("data", "mean")))  # rate, start


@dataclass(frozen=True)
class Plan:
    """A pair of dictionaries."""

    world: str
    learner: str = NETWORK
    n: int = N
    k: int = K
    change: str = SEED

    def __str__(self) -> str:
        """What a row is called."""
        return f"{self.world}, {self.learner}, n={self.n}, k={self.k}, {self.change}"


def usual(world: str, learner: str = NETWORK) -> Plan:
    """The pair of a world that others differ from in one thing."""
    if world == MADE:
        return Plan(world, learner, ATOMS, ACTIVE)
    return Plan(world, learner)


class Learnt(NamedTuple):
    """What came of a training: atoms (n, d), codes of test samples (samples, n), what they left."""

    W: np.ndarray
    codes: np.ndarray
    left: float


# What the two of a pair learn from


@cache
def samples(world: str) -> Dataset:
    """A data set of the package, or samples that were made of known atoms."""
    if world != MADE:
        return load_dataset(world)
    rng = np.random.default_rng(0)
    W = ground_truth.dictionary(ATOMS, 64, rng)
    x = ground_truth.samples(W, 28_000, ACTIVE, rng).x
    return load_dataset(x.astype(np.float32), "none")


@cache
def data(world: str, change: str, pair: int, second: bool) -> Dataset:
    """The samples of a world, a random half of them, or Gaussian ones in their place."""
    dataset, rng = samples(world), np.random.default_rng(pair)
    x = dataset.x_train
    if change in (SAME_HALF, OTHER_HALF):
        halves = np.array_split(rng.permutation(len(x)), 2)
        return replace(dataset, x_train=x[halves[second and change == OTHER_HALF]])
    if change == SHAPELESS:
        # As many samples with the same mean and the same covariances, but no shape beyond these.
        spread, basis = np.linalg.eigh(np.cov(x, rowvar=False))
        drawn = rng.normal(size=x.shape) * np.sqrt(np.maximum(spread, 0))
        return replace(dataset, x_train=(drawn @ basis.T + x.mean(axis=0)).astype(x.dtype))
    return dataset


# Who learns. Each is called with a data set, a plan, what was chosen for it, and two seeds.


def network(
    dataset: Dataset, plan: Plan, setting: tuple[float, str], start: int, order: int | None
) -> Learnt:
    """The k-sparse network of this book; with an `order`, its batches are drawn by that seed."""
    rate, at = setting
    budget = BUDGETS[plan.world]
    if plan.change == ELSEWHERE:
        at = "mean" if at == "data" else "data"
    experiment = {
        "seed": start,
        "model": {"n_units": plan.n, "k": plan.k, "start": at},
        "optimizer": {"learning_rate": rate},
        "training": {
            "epochs": budget.epochs * (1 + (plan.change == TWICE)),
            "batch_size": BATCH,
            "engine": "auto",
            **budget.more,
        },
    }
    run = build(Experiment.model_validate(experiment), dataset)
    if order is not None:
        run.rng = np.random.default_rng(order)
    model, x = trained(run), dataset.x_test
    return Learnt(model.W_dec, model.encode(x), fvu(x, model.reconstruct(x)))


def dictionary(dataset: Dataset, plan: Plan, alpha: float, seed: int, order: int | None) -> Learnt:
    """scikit-learn's dictionary learning, and codes by pursuit with k atoms.

    It starts at the principal axes, which the seed does not move, or elsewhere at samples.
    """
    x, passes = dataset.x_train.astype(float), BUDGETS[plan.world].passes
    start = rival_atoms.raw(x, plan.n, seed).W if plan.change == ELSEWHERE else None
    atoms = rival_atoms.dictionary(x, plan.n, alpha, passes, seed, start)
    return pursued(dataset, atoms, plan.k)


def untrained(dataset: Dataset, plan: Plan, setting: None, seed: int, order: int | None) -> Learnt:
    """Samples less their mean: what atoms have in common that nobody has learned."""
    return pursued(dataset, rival_atoms.raw(dataset.x_train, plan.n, seed), plan.k)


def pursued(dataset: Dataset, atoms: rival_atoms.Atoms, k: int) -> Learnt:
    """Atoms, with the codes that pursuit finds."""
    x = dataset.x_test.astype(float)
    codes = codes_by_omp(atoms, k)(x)
    return Learnt(atoms.W, codes, fvu(x, atoms.mean + codes @ atoms.W))


LEARNERS: dict[str, Callable[..., Learnt]] = {
    NETWORK: network,
    DICTIONARY: dictionary,
    UNTRAINED: untrained,
}


@cache
def chosen(world: str, learner: str) -> Any:
    """What validation samples chose for the usual n and k: of the settings that are within half a
    percent of the best, the first, which has the slowest rate or the smallest weight.

    Raises `FileNotFoundError` before choice.csv is made.
    """
    if not (of := settings(world, learner)):
        return None
    tried = pd.read_csv(Path(__file__).with_name("choice.csv"), comment="#", index_col="variant")
    left = {setting: tried.left[trial(world, learner, setting)] for setting in of}
    return next(setting for setting in of if left[setting] <= 1.005 * min(left.values()))


def settings(world: str, learner: str) -> tuple[Any, ...]:
    """What is tried for a learner: rates and starts, or weights of L1."""
    return {NETWORK: SETTINGS, DICTIONARY: BUDGETS[world].alphas}.get(learner, ())


def trial(world: str, learner: str, setting: Any) -> str:
    """What a row of choice.csv is called."""
    return f"{world}, {learner}: {setting}"


def learnt(plan: Plan, pair: int, second: bool) -> Learnt:
    """One of the two of a pair."""
    own = 2 * pair + second
    start, order = {START: (2 * pair, own), ORDER: (own, 2 * pair)}.get(plan.change, (own, None))
    dataset = data(plan.world, plan.change, pair, second)
    return LEARNERS[plan.learner](dataset, plan, chosen(plan.world, plan.learner), start, order)


def matched(plan: Plan, pair: int) -> tuple[Learnt, Learnt, Match]:
    """The two of a pair, and which atom of the second belongs to each of the first.

    A relu's unit cannot take its atom away, so that the opposite atom is another's.
    """
    first, second = (learnt(plan, pair, which) for which in (False, True))
    return first, second, match(second.W, first.W, either_way=plan.learner != NETWORK)


# Choice


def choice_jobs() -> Iterator[Job]:
    """Each learner with each of its settings: what it leaves of validation samples."""

    def tried(world: str, learner: str, setting: Any) -> Row:
        dataset = samples(world)
        judged = replace(dataset, x_test=dataset.x_val)
        found = LEARNERS[learner](judged, usual(world, learner), setting, TRIAL, None)
        return {"left": found.left}

    for world, learner in product(BUDGETS, LEARNERS):
        for setting in settings(world, learner):
            name = trial(world, learner, setting)
            hashed = known(usual(world, learner), setting)
            yield Job(name, TRIAL, hashed, partial(tried, world, learner, setting))


# Pairs


def row(plan: Plan, pair: int) -> Row:
    """One row: how nearly the atoms of a pair point in the same directions.

    "cosine" is the mean of all, "near" and "like" the shares of units above `NEAR` and `LIKE`,
    "used" the share of the first's activity that is of units above `NEAR`, "together" that of units
    whose codes correlate by `LIKE` or more, whatever the sign, "idle" that of units that no test
    sample uses, and "left" what the codes leave of test samples.
    """
    first, second, found = matched(plan, pair)
    used = (first.codes != 0).mean(axis=0)
    return {
        "cosine": found.cosines.mean(),
        "near": (found.cosines >= NEAR).mean(),
        "like": (found.cosines >= LIKE).mean(),
        "used": used[found.cosines >= NEAR].sum() / used.sum(),
        "together": (correlation(first.codes, found.codes(second.codes)) >= LIKE).mean(),
        "idle": np.mean([(side.codes == 0).all(axis=0).mean() for side in (first, second)]),
        "left": np.mean([first.left, second.left]),
    }


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Between each column of codes a (samples, n) and that of b, from 0 to 1: (n,)."""
    a, b = (z - z.mean(axis=0) for z in (a, b))
    lengths = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    return np.abs((a * b).sum(axis=0)) / np.maximum(lengths, np.finfo(float).tiny)


def plans() -> Iterator[Plan]:
    """Every pair that the table has."""
    for world in WORLDS:
        yield from (Plan(world, n=n) for n in NS)
        yield from (Plan(world, k=k) for k in KS if k != K)
        yield from (Plan(world, change=change) for change in CHANGES if change != SEED)
        yield from (Plan(world, DICTIONARY, n) for n in NS[:2])
        for change in (SAME_HALF, OTHER_HALF, ELSEWHERE):
            yield Plan(world, DICTIONARY, change=change)
        yield from (Plan(world, UNTRAINED, n, change=OTHER_HALF) for n in NS)
    control = usual(MADE)
    yield from (
        replace(control, n=n, change=change) for n in NS[:2] for change in (SEED, SHAPELESS)
    )
    yield replace(control, learner=DICTIONARY)
    yield replace(control, learner=UNTRAINED, change=OTHER_HALF)


def known(plan: Plan, setting: Any) -> str:
    """A hash of all that a row depends on."""
    budget = BUDGETS[plan.world]
    own = {NETWORK: ((budget.epochs, budget.more), BATCH), DICTIONARY: budget.passes}
    return hash_of(f"{plan} {setting} {own.get(plan.learner)} {NEAR} {LIKE}")


def jobs() -> Iterator[Job]:
    """A row for each pair."""
    for plan in plans():
        for pair in PAIRS:
            hashed = known(plan, chosen(plan.world, plan.learner))
            yield Job(f"{plan}", pair, hashed, partial(row, plan, pair))


# Units that have a name


@cache
def lists() -> dict[str, np.ndarray]:
    """By name of a list of chapter 20's: which test words are of it, if `LEAST` of them are."""
    y, known = samples("words").y_test, yaml.safe_load(LISTS.read_text(encoding="utf-8"))
    found = {name: np.isin(y, words.split()) for name, words in known.items()}
    return {name: of_list for name, of_list in found.items() if of_list.sum() >= LEAST}


def named(pair: int) -> Row:
    """One row: how nearly the two units agree whose codes tell a list best, and how nearly any do.

    "cosine" and "near" are a mean and the share above `NEAR`, over lists; with "all", over units.
    """
    first, second, found = matched(Plan("words"), pair)
    agree = []
    for of_list in lists().values():
        best = [area_under_curve(side.codes, of_list).argmax() for side in (first, second)]
        agree.append(cosines_of(first.W[[best[0]]], second.W[[best[1]]]).item())
    told = np.array(agree)
    return {
        "cosine": told.mean(),
        "near": (told >= NEAR).mean(),
        "cosine_all": found.cosines.mean(),
        "near_all": (found.cosines >= NEAR).mean(),
    }


def named_jobs() -> Iterator[Job]:
    """A row for each pair of words' networks."""
    plan, words = Plan("words"), LISTS.read_text(encoding="utf-8")
    for pair in PAIRS:
        text = f"{known(plan, chosen(plan.world, plan.learner))} {LEAST} {words}"
        yield Job("words", pair, hash_of(text), partial(named, pair))


# What the lab shows


def pairs(path: Path) -> None:
    """Write a pair of each world: cosines by what it is, and of the networks' some units.

    Of words a unit is the `SAID` test words for which it has the largest codes, of the others it is
    its atom, in half precision.
    """
    arrays = {}
    for world in WORLDS:
        for name, plan in drawn(world).items():
            first, second, found = matched(plan, 0)
            arrays[f"{world}, {name}"] = found.cosines.astype(np.float32)
            if plan == usual(world):
                use = (first.codes != 0).mean(axis=0, dtype=np.float32)
                alive = np.flatnonzero(use)
                ranks = np.linspace(len(alive) - 1, 0, SHOWN).astype(int)
                shown = alive[np.argsort(found.cosines[alive])][ranks]
                arrays |= {f"{world}_use": use, f"{world}_shown": shown}
                arrays[f"{world}_first"] = pictured(world, first, shown)
                arrays[f"{world}_second"] = pictured(world, second, found.units[shown])
    archive.put_arrays(path, arrays)


def drawn(world: str) -> dict[str, Plan]:
    """The pairs of a world whose cosines are drawn, by what they are called."""
    own = usual(world)
    return {
        "networks": own,
        "networks, same start": replace(own, change=START),
        "dictionary learning": replace(own, learner=DICTIONARY),
        "samples as they are": replace(own, learner=UNTRAINED, change=OTHER_HALF),
        "networks, Gaussian samples": replace(own, change=SHAPELESS),
    }


def pictured(world: str, side: Learnt, units: np.ndarray) -> np.ndarray:
    """What a reader sees of some units: words (units,), or atoms (units, d)."""
    if world != "words":
        return side.W[units].astype(np.float16)
    y = samples(world).y_test
    most = (y[np.argsort(-side.codes[:, unit])[:SAID]] for unit in units)
    return np.array([" ".join(words) for words in most])


TABLES: dict[str, Any] = {
    "choice.csv": choice_jobs,
    "recur.csv": jobs,
    "named.csv": named_jobs,
}
FILES = {"pairs.npz": pairs}
