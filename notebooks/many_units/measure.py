"""Lab 12's tables: hundreds and thousands of units, of few images and of many.

A row of `table.csv` is a network: what it learned from, n, k and a seed. It has the errors of
`SHOWN` test images and of as many training images; `gap.csv` has better codes for the same atoms.
`longer.csv` has some of them with twice the updates, `switches.csv` some with one thing changed,
against the unchanged. `rivals.csv` has what else draws with k of n, by what `trials.csv` preferred,
and `verdicts.csv` who is ahead: of a rival, of the same network with fewer units, of another code
for the same atoms. What these need, the error of each image, is kept in `runs/lab_12`.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice, product
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.linear_model import orthogonal_mp_gram

from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.evaluation.metrics import active_units, dead_units, squared_errors
from ksae_lab.evaluation.statistics import above_zero, difference
from ksae_lab.experiments import rival_atoms, rival_networks
from ksae_lab.experiments.build import build
from ksae_lab.experiments.rival_atoms import Atoms, Reconstruct, by_omp
from ksae_lab.experiments.rival_networks import Steps
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.tables import Job, Row, hash_of
from ksae_lab.inference.pursuit import nonnegative_omp, pursuit, refit
from ksae_lab.models.k_sparse import KSparseAutoencoder

SHOWN, SEARCHED, STEPS = 1000, 500, 3  # test images; those that are searched, and for how long
BATCH, RATE = 128, 0.004
KS, K, MANY, FEW, WIDEST = (5, 10, 20, 50), 10, 20, 100, 4000
# n and k for digits, the widest with two k only, for it takes its time; and n for clothes.
SIZES = [*product((FEW, 400, 1000), KS), (WIDEST, K), (WIDEST, 50)]
CLOTHES = (FEW, 1000)
SEEDS, TRIAL = (0, 1, 2), 100
OFTEN = (K, 50)  # k of the digits' networks that have all seeds; the rest has the first
# n and k with twice the updates.
LONGER = (
    (FEW, K),
    (FEW, 50),
    (400, 20),
    (400, 50),
    (1000, K),
    (1000, 20),
    (1000, 50),
)
# Where a network's images come from, how many, and the epochs that make some 3,400 updates; from
# `MANY` active units on they are twice as many.
IMAGES = {
    "3,500 digits": ("mnist5k", 3_500, 120),
    "3,500 clothes": ("fashion_mnist", 3_500, 120),
    "50,000 clothes": ("fashion_mnist", 50_000, 9),
}
DIGITS = "3,500 digits"

memory = joblib.Memory(Path(__file__).parents[2] / "runs" / "lab_12", verbose=0)
Errors = np.ndarray  # of each image (images,)


@cache
def images(name: str) -> Dataset:
    """The images of this name: the first ones of each part."""
    data, count, _ = IMAGES[name]
    whole, few = load_dataset(data), {"train": count, "val": SHOWN, "test": SHOWN}
    parts = {
        f"{of}_{part}": getattr(whole, f"{of}_{part}")[:n] for part, n in few.items() for of in "xy"
    }
    return replace(whole, **parts)


def epochs_of(images: str, k: int) -> int:
    """How long a network learns: with many active units twice as long, for then it is slower."""
    return IMAGES[images][2] * (2 if k >= MANY else 1)


@dataclass(frozen=True)
class Plan:
    """A network to train: on what, its size, how it is trained."""

    images: str
    n: int
    k: int
    seed: int
    noise: float
    moves: float | None
    signed: bool = False
    budget: int = 1
    start: str = "data"
    k_aux: int | None = None
    plain: bool = False

    @property
    def engine(self) -> str | None:
        """Whose steps it takes: wide networks those that cost what is active."""
        if self.n == FEW:
            return "auto"
        return None if self.plain else "sparse"

    @property
    def experiment(self) -> Experiment:
        """All its settings."""
        epochs = epochs_of(self.images, self.k) * self.budget
        signed = {"activation": "linear", "by": "magnitude"} if self.signed else {}
        length = {"epochs": epochs, "batch_size": BATCH, "engine": self.engine}
        return Experiment.model_validate(
            {
                "data": IMAGES[self.images][0],
                "seed": self.seed,
                "model": {"n_units": self.n, "k": self.k, "start": self.start} | signed,
                "auxk": {"k_aux": self.k_aux} if self.k_aux else None,
                "optimizer": {"learning_rate": RATE},
                "training": length | {"noise": self.noise, "shifts": self.moves},
            }
        )

    @property
    def name(self) -> str:
        """What tells the row from others of its seed."""
        return f"{self.images}, n={self.n}, k={self.k}"

    @property
    def settings(self) -> str:
        """The hash of all that decides the row."""
        return hash_of(f"{self.images} {self.experiment.hash} {SHOWN}")


def preferred(n: int, k: int) -> dict[str, Any]:
    """What validation digits preferred, in choice.csv and, with 100 units, in Lab 2.

    Moves of nine digits in ten are from a trial before these tables. With twenty active units a
    random start and AuxK together were ahead by less than two percent, and are left out.
    """
    if n == FEW:
        return {"noise": 0.15 if k == KS[0] else 0.1, "moves": 0.5, "signed": k > K}
    return {"noise": 0.05, "moves": 0.9, "start": "data" if k <= 20 else "mean"}


def plans() -> list[Plan]:
    """The networks of the table: seed by seed, so that what is there is of whole seeds."""
    found = []
    for seed, (n, k) in product(SEEDS, SIZES):
        if seed and k not in OFTEN:
            continue
        found.append(Plan(DIGITS, n, k, seed, **preferred(n, k)))
    for name, n in product(OF_CLOTHES, CLOTHES):
        found.append(Plan(name, n, K, SEEDS[0], *OF_CLOTHES[name]))
    return found


# Noise, and moves as of_images.csv prefers.
OF_CLOTHES: dict[str, tuple[float, float | None]] = {
    "3,500 clothes": (0.1, 0.9),
    "50,000 clothes": (0.1, None),
}


def trained(plan: Plan) -> tuple[Row, KSparseAutoencoder]:
    """A trained network, and the first columns of its row."""
    return _trained(plan.images, plan.experiment.model_dump_json())


@memory.cache
def _trained(name: str, experiment: str) -> tuple[Row, KSparseAutoencoder]:
    started, data = time.process_time(), images(name)
    run = build(Experiment.model_validate_json(experiment), data)
    run.quiet = True
    curve = run.fit().validation
    seconds, model = time.process_time() - started, run.model
    assert isinstance(model, KSparseAutoencoder)
    at = np.linspace(0, len(curve), 7)[1:].astype(int)
    row = {
        "validation": model.error(data.x_val),
        "training": model.error(data.x_train[:SHOWN]),
        "dead": dead_units(model.encode(data.x_train)),
        "seconds": round(seconds, 1),
        "curve": " ".join(f"{curve[epoch - 1]:.5f}" for epoch in at),
    }
    return row, model


def errors(plan: Plan) -> Errors:
    """The errors of one pass for each test image."""
    _, model = trained(plan)
    x = images(plan.images).x_test
    return squared_errors(x.astype(float), model.reconstruct(x))


def gap(plan: Plan) -> dict[str, Errors]:
    """The errors of `SEARCHED` test images by the way to a code for the same atoms.

    `least` is the best of the three pursuits that may take away, image by image. Where one pass
    may not, there is a pursuit that may not, either. `raw_digits` is what OMP makes of the same
    images with as many raw digits for atoms.
    """
    return _gap(plan.images, plan.experiment.model_dump_json())


@memory.cache
def _gap(name: str, experiment: str) -> dict[str, Errors]:
    _, model = _trained(name, experiment)
    x = images(name).x_test[:SEARCHED].astype(float)
    W, mean, z = model.W_dec.astype(float), model.b_dec.astype(float), model.encode(x)
    x = x - mean
    codes = {
        "one_pass": z,
        "values": refit(x, W, z != 0),
        "omp": orthogonal_mp_gram(W @ W.T, W @ x.T, n_nonzero_coefs=model.k).T,
    }
    for start, way in {"one_pass": "from_code", "omp": "from_omp"}.items():
        *_, codes[way] = islice(pursuit(x, W, model.k, codes[start]), STEPS)
    if model.phi.name == "relu":
        codes["nonnegative_omp"] = nonnegative_omp(x, W, model.k)
    by_way = {way: squared_errors(x, code @ W) for way, code in codes.items()}
    least = np.minimum.reduce([by_way[way] for way in ("omp", "from_code", "from_omp")])
    setting = Experiment.model_validate_json(experiment)
    untrained = rival(RAW, len(W), model.k, setting.seed)["test"][:SEARCHED]
    return by_way | {"least": least, "raw_digits": untrained}


def row_of(plan: Plan) -> Row:
    """A network's row."""
    return trained(plan)[0] | {"test": errors(plan).mean()}


def table_jobs(budget: int = 1) -> Iterator[Job]:
    """The networks of the table; with twice the updates those of `LONGER`."""
    for plan in plans():
        if budget == 1 or (plan.images == DIGITS and plan.seed == 0 and (plan.n, plan.k) in LONGER):
            plan = replace(plan, budget=budget)
            yield Job(plan.name, plan.seed, plan.settings, partial(row_of, plan))


def gap_jobs() -> Iterator[Job]:
    """What one pass leaves to a search, for the networks of digits."""

    def row(plan: Plan) -> Row:
        return {way: of.mean() for way, of in gap(plan).items()}

    for plan in plans():
        if plan.images == DIGITS:
            yield Job(plan.name, plan.seed, known_gap(plan), partial(row, plan))


def known_gap(plan: Plan) -> str:
    """A hash of what other codes for a network's atoms depend on."""
    return hash_of(f"{plan.settings} {SEARCHED} {STEPS} {known(RAW)}")


def of_images_jobs() -> Iterator[Job]:
    """Should clothes move, and have less noise? Asked of few and of many, with 1,000 units."""
    for name, (noise, best) in OF_CLOTHES.items():
        for moves, level in ((0.9, noise), (None, noise), (best, noise / 2)):
            plan = Plan(name, 1000, K, TRIAL, level, moves)
            variant = f"{name}, moves {moves or 0:g}, noise {level:g}"
            yield Job(variant, TRIAL, plan.settings, partial(validated, plan))


def switched() -> dict[str, tuple[Plan, Plan]]:
    """Networks of the table, each beside itself with one thing changed, by the change's name.

    AuxK is as in Lab 2's recipe where half of the units are fewer than 256, else as in chapter 8.
    """
    known = {(plan.images, plan.n, plan.k): plan for plan in plans() if plan.seed == SEEDS[0]}
    asked: dict[tuple[str, int, int], dict[str, dict[str, Any]]] = {
        (DIGITS, FEW, 50): {"random start": {"start": "mean"}},
        (DIGITS, 400, 50): {"no noise": {"noise": 0.0}, "start at digits": {"start": "data"}},
        **{(DIGITS, 1000, k): {"plain steps": {"plain": True}} for k in (K, 50)},
        **{(DIGITS, WIDEST, k): {} for k in (K, 50)},
        **{(of, 1000, K): {"plain steps": {"plain": True}} for of in OF_CLOTHES},
    }
    found = {}
    for which, changes in asked.items():
        plan = known[which]
        for name, change in {"AuxK": {"k_aux": min(256, plan.n // 2)}, **changes}.items():
            found[f"{name}: {plan.name}"] = plan, replace(plan, **change)
    return found


def switch_jobs() -> Iterator[Job]:
    """The networks with one thing changed, and how far they lie above the unchanged."""

    def row(plan: Plan, changed: Plan) -> Row:
        apart = verdict(lambda: errors(changed)[None], lambda: errors(plan)[None])
        return trained(changed)[0] | apart

    for name, (plan, changed) in switched().items():
        settings = hash_of(f"{plan.settings} {changed.settings}")
        yield Job(name, changed.seed, settings, partial(row, plan, changed))


def validated(plan: Plan) -> Row:
    """A row of a trial: the validation error, and no other."""
    row, _ = trained(plan)
    return {name: row[name] for name in ("validation", "training", "dead", "seconds")}


# The rivals, for digits. Each is called with n, k, seed and what was chosen for it.


def of_parts(reconstruct: Reconstruct) -> dict[str, Errors]:
    """The error of each validation and test digit."""
    data = images(DIGITS)
    parts = {"validation": data.x_val, "test": data.x_test}
    return {part: squared_errors(x.astype(float), reconstruct(x)) for part, x in parts.items()}


def pca(n: int, k: int, seed: int, setting: float) -> dict[str, Errors]:
    """PCA with the best k of its axes for each digit: a hundred, or all."""
    x = images(DIGITS).x_train
    return of_parts(rival_atoms.pca(x, min(n, x.shape[1]), k, own=True))


def raw(n: int, k: int, seed: int, setting: float) -> dict[str, Errors]:
    """Training digits as they are, or all there are, with OMP."""
    x = images(DIGITS).x_train
    return of_parts(by_omp(rival_atoms.raw(x, min(n, len(x)), seed), k))


@memory.cache
def atoms(n: int, seed: int, alpha: float) -> Atoms:
    """scikit-learn's atoms of digits that move, whatever k: twenty passes."""
    x = rival_atoms.heap(images(DIGITS), seed, True, COPIES)
    return rival_atoms.dictionary(x, n, alpha, PASSES // COPIES, seed)


def dictionary(n: int, k: int, seed: int, setting: float) -> dict[str, Errors]:
    """scikit-learn's dictionary with OMP."""
    return of_parts(by_omp(atoms(n, seed, setting), k))


def steps(rate: float, k: int, seed: int) -> Steps:
    """As many steps as the network with k active units takes."""
    return Steps(rate, epochs_of(DIGITS, k), BATCH, seed)


def recipe(n: int, k: int, seed: int, setting: float) -> dict[str, Errors]:
    """The top-k recipe of language models."""
    model = rival_networks.recipe(images(DIGITS), n, k, steps(setting, k, seed))
    return of_parts(model.reconstruct)


@memory.cache
def priced(n: int, weight: float, rate: float, k: int, seed: int) -> rival_networks.Counted:
    """A relu network that pays for activity: active units and the errors of each part.

    It learns as long as a network with k active units does.
    """
    model = rival_networks.priced(images(DIGITS), n, weight, steps(rate, k, seed))
    errors, data = of_parts(model.reconstruct), images(DIGITS)
    parts = {"validation": data.x_val, "test": data.x_test}
    return {p: (active_units(model.encode(x)).mean(), errors[p]) for p, x in parts.items()}


def relu(n: int, k: int, seed: int, setting: float) -> dict[str, Errors]:
    """A relu network that has k active units on average."""
    found = [partial(priced, n, weight, setting, k, seed) for weight in WEIGHTS]
    return rival_networks.at_count(found, k)


PCA, RAW, LEARNT = "PCA, own k", "raw digits + OMP", "dictionary + OMP"
RELU = "relu and L1"
PASSES, COPIES = 20, 4
WEIGHTS = (0.15, 0.3, 0.6, 1.2, 2.4, 4.8)  # of L1
RELU_RATE = 0.008  # in Lab 2 within two percent of the best for both k
WIDE = tuple(product((FEW, 400, 1000), OFTEN))
EVERY = (*WIDE, *product((WIDEST,), OFTEN))
RIVALS: dict[str, tuple[tuple[tuple[int, int], ...], Callable[..., dict[str, Errors]]]] = {
    PCA: (EVERY, pca),
    RAW: (EVERY, raw),
    LEARNT: (WIDE, dictionary),
    "top-k recipe": (WIDE, recipe),
    RELU: (((400, K), (400, 50)), relu),
}
# What is left open, weights of the penalty and rates, with the n that are asked; wider ones follow.
OPEN: dict[str, tuple[tuple[int, ...], tuple[float, ...]]] = {
    LEARNT: ((FEW, 400), (0.0625, 0.125, 0.25, 0.5, 1)),
    "top-k recipe": ((400,), (0.001, 0.002, 0.004, 0.008)),
}


@memory.cache
def rival(name: str, n: int, k: int, seed: int, setting: float = 0) -> dict[str, Errors]:
    """The errors of a rival for each digit, by part."""
    return RIVALS[name][1](n, k, seed, setting)


def trial_jobs() -> Iterator[Job]:
    """What is left open of the rivals, by validation digits."""

    def row(name: str, n: int, k: int, setting: float) -> Row:
        found = rival(name, n, k, TRIAL, setting)["validation"].mean()
        return {"rival": name, "n": n, "k": k, "setting": setting, "validation": found}

    for name, (ns, settings) in OPEN.items():
        for n, k, setting in product(ns, OFTEN, settings):
            variant = f"{name}, n={n}, k={k}: {setting:g}"
            job = partial(row, name, n, k, setting)
            yield Job(variant, TRIAL, hash_of(f"{known(name)} {setting}"), job)


@cache
def chosen(name: str, n: int, k: int) -> float:
    """What validation digits preferred of what is open of a rival; 0 if nothing is.

    The relu network has the rate of Lab 2.

    Raises `FileNotFoundError` before trials.csv is made.
    """
    if name == RELU:
        return RELU_RATE
    if name not in OPEN:
        return 0.0
    trials = pd.read_csv(Path(__file__).with_name("trials.csv"), comment="#")
    asked, _ = OPEN[name]
    rows = trials[(trials.rival == name) & (trials.k == k)]
    rows = rows[rows.n == (n if n in asked else asked[-1])]
    return float(rows.setting[rows.validation.idxmin()])


def contests() -> Iterator[tuple[str, int, int]]:
    """Each rival, with n and k."""
    yield from ((name, n, k) for name, (sizes, _) in RIVALS.items() for n, k in sizes)


def rival_jobs() -> Iterator[Job]:
    """The rivals' errors."""

    def row(name: str, n: int, k: int, seed: int) -> Row:
        setting = chosen(name, n, k)
        error = rival(name, n, k, seed, setting)["test"].mean()
        return {"setting": setting, "test": error}

    for name, n, k in contests():
        settings = hash_of(f"{known(name)} {chosen(name, n, k)}")
        for seed in seeds_of(name, n):
            yield Job(f"{name}, n={n}, k={k}", seed, settings, partial(row, name, n, k, seed))


def seeds_of(name: str, n: int) -> tuple[int, ...]:
    """With which seeds a rival is made; PCA draws no lots, and what takes its time is made once."""
    once = name in (PCA, RELU) or (name == LEARNT and n > 400)
    return SEEDS[:1] if once else SEEDS


def known(name: str) -> str:
    """A hash of what a rival's row depends on, beside n, k, the seed and what was chosen."""
    length = f"{IMAGES[DIGITS]} {MANY}"
    return hash_of(f"{name} {length} {SHOWN} {BATCH} {PASSES} {COPIES} {WEIGHTS}")


def of_networks(images: str, n: int, k: int) -> np.ndarray:
    """The errors (seeds, images) of the table's networks of one kind."""
    wanted = [p for p in plans() if (p.images, p.n, p.k) == (images, n, k)]
    return np.stack([errors(plan) for plan in wanted])


def of_codes(way: str, n: int, k: int) -> np.ndarray:
    """The errors (seeds, images) of one way to a code for the atoms of networks of digits."""
    wanted = [p for p in plans() if (p.images, p.n, p.k) == (DIGITS, n, k)]
    return np.stack([gap(plan)[way] for plan in wanted])


def of_rivals(name: str, n: int, k: int) -> np.ndarray:
    """A rival's errors (seeds, images)."""
    setting = chosen(name, n, k)
    return np.stack([rival(name, n, k, seed, setting)["test"] for seed in seeds_of(name, n)])


def of_few(name: str, n: int, k: int) -> np.ndarray:
    """A rival's errors (seeds, images) for the images that are searched."""
    return of_rivals(name, n, k)[:, :SEARCHED]


Side = Callable[[], np.ndarray]


def verdict(ours: Side, theirs: Side, *, within: bool = False) -> Row:
    """One row: how far our errors (seeds, images) lie above theirs, if both are drawn anew.

    `within` the same networks the differences are taken before.
    """
    a, b = ours(), theirs()
    apart = above_zero(a - b) if within else difference(a, b)
    return {"ours": a.mean(), "theirs": b.mean()} | apart.row()


# Which code is held against which, for the same atoms; the last has others.
CODES = (
    ("one_pass", "least"),
    ("values", "least"),
    ("omp", "least"),
    ("from_code", "omp"),
    ("omp", "raw_digits"),
)


def verdict_jobs() -> Iterator[Job]:
    """Three families: against rivals, against a hundred units, and codes for the same atoms."""
    networks = [plan.settings for plan in plans()]

    def job(variant: str, of: str, ours: Side, theirs: Side, *, within: bool = False) -> Job:
        measure = partial(verdict, ours, theirs, within=within)
        return Job(variant, 0, hash_of(f"{networks} {of}"), measure)

    for name, n, k in contests():
        sides = partial(of_networks, DIGITS, n, k), partial(of_rivals, name, n, k)
        yield job(f"against {name}, n={n}, k={k}", f"{known(name)} {chosen(name, n, k)}", *sides)
    sizes = [(DIGITS, n, k) for n, k in SIZES] + [
        (of, n, K) for of, n in product(OF_CLOTHES, CLOTHES)
    ]
    for of, n, k in sizes:
        if n > FEW:
            more, few = (partial(of_networks, of, size, k) for size in (n, FEW))
            yield job(f"{of}, n={n}, k={k}", "", more, few)
    for (ours, theirs), (n, k) in product(CODES, SIZES):
        sides = partial(of_codes, ours, n, k), partial(of_codes, theirs, n, k)
        of = f"{SEARCHED} {STEPS} {known(RAW)}"
        yield job(f"{ours} over {theirs}, n={n}, k={k}", of, *sides, within=True)
    for n, k in RIVALS[LEARNT][0]:
        sides = partial(of_codes, "omp", n, k), partial(of_few, LEARNT, n, k)
        of = f"{SEARCHED} {known(LEARNT)} {chosen(LEARNT, n, k)}"
        yield job(f"omp over {LEARNT}, n={n}, k={k}", of, *sides)


TABLES = {
    "of_images.csv": of_images_jobs,
    "table.csv": table_jobs,
    "gap.csv": gap_jobs,
    "longer.csv": partial(table_jobs, budget=2),
    "switches.csv": switch_jobs,
    "trials.csv": trial_jobs,
    "rivals.csv": rival_jobs,
    "verdicts.csv": verdict_jobs,
}
