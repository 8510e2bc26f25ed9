"""Lab 12's tables: hundreds and thousands of units, of few images and of many.

A row of `table.csv` is a network: what it learned from, n, k and a seed. It has the errors of
`SHOWN` test images and of as many training images; `gap.csv` has better codes for the same atoms.
`longer.csv` has some of them with twice the updates, `switches.csv` some with one thing changed,
against the unchanged. `rivals.csv` has what else draws with k of n, and `verdicts.csv` who is
ahead: of a rival, and of the same network with fewer units.
What these need, the error of each image, is kept in `runs/lab_12`.
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
from sklearn.linear_model import orthogonal_mp_gram

from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.evaluation.metrics import dead_units, squared_errors
from ksae_lab.evaluation.statistics import difference
from ksae_lab.experiments import rival_atoms, rival_networks
from ksae_lab.experiments.build import build
from ksae_lab.experiments.rival_atoms import Reconstruct, by_omp
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.tables import Job, Row, hash_of
from ksae_lab.inference.pursuit import nonnegative_omp, pursuit, refit
from ksae_lab.models.k_sparse import KSparseAutoencoder

SHOWN, SEARCHED, STEPS = 1000, 500, 3  # test images; those that are searched, and for how long
BATCH, RATE = 128, 0.004
KS, K, FEW, WIDEST = (5, 10, 20, 50), 10, 100, 4000
# n and k for digits, the widest with one k only, for it takes its time; and n for clothes.
SIZES = [*product((FEW, 400, 1000), KS), (WIDEST, K)]
CLOTHES = (FEW, 1000)
SEEDS, TRIAL = (0, 1), 100
TWICE_SEEN = (FEW, 1000)  # n with both seeds for ten units; the rest has the first
# Where a network's images come from, how many, and the epochs that make some 3,400 updates.
IMAGES = {
    "3,500 digits": ("mnist5k", 3_500, 120),
    "3,500 clothes": ("fashion_mnist", 3_500, 120),
    "50,000 clothes": ("fashion_mnist", 50_000, 9),
}
DIGITS = "3,500 digits"

memory = joblib.Memory(Path(__file__).parents[2] / "runs" / "lab_12", verbose=0)
Errors = np.ndarray  # of each test image (images,)


@cache
def images(name: str) -> Dataset:
    """The images of this name: the first ones of each part."""
    data, count, _ = IMAGES[name]
    whole, few = load_dataset(data), {"train": count, "val": SHOWN, "test": SHOWN}
    parts = {
        f"{of}_{part}": getattr(whole, f"{of}_{part}")[:n] for part, n in few.items() for of in "xy"
    }
    return replace(whole, **parts)


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

    @property
    def experiment(self) -> Experiment:
        """All its settings."""
        epochs = IMAGES[self.images][2] * self.budget
        signed = {"activation": "linear", "by": "magnitude"} if self.signed else {}
        length = {
            "epochs": epochs,
            "batch_size": BATCH,
            "engine": "sparse" if self.n > FEW else "auto",
        }
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


# What validation images preferred, in choice.csv and, with 100 units, in Lab 2. Moves of nine
# digits in ten are from a trial before these tables.
def noise_and_signs(n: int, k: int) -> tuple[float, float, bool]:
    """Noise, the share of digits that move, and whether units may be negative."""
    if n > FEW:
        return 0.05, 0.9, k > 20
    return 0.15 if k == KS[0] else 0.1, 0.5, k > K


def plans() -> list[Plan]:
    """The networks of the table: seed by seed, so that what is there is of whole seeds."""
    found = []
    for seed, (n, k) in product(SEEDS, SIZES):
        if seed and (n not in TWICE_SEEN or k != K):
            continue
        noise, moves, signed = noise_and_signs(n, k)
        found.append(Plan(DIGITS, n, k, seed, noise, moves, signed))
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


def gap(plan: Plan) -> Row:
    """One row: the errors of `SEARCHED` test images by the way to a code for the same atoms.

    `least` is the best of the three pursuits that may take away, image by image. Where one pass
    may not, there is a pursuit that may not, either. `raw_digits` is what OMP makes of the same
    images with as many raw digits for atoms.
    """
    _, model = trained(plan)
    x = images(plan.images).x_test[:SEARCHED].astype(float)
    W, mean, z = model.W_dec.astype(float), model.b_dec.astype(float), model.encode(x)
    x = x - mean
    codes = {
        "one_pass": z,
        "values": refit(x, W, z != 0),
        "omp": orthogonal_mp_gram(W @ W.T, W @ x.T, n_nonzero_coefs=model.k).T,
    }
    for start, name in {"one_pass": "from_code", "omp": "from_omp"}.items():
        *_, codes[name] = islice(pursuit(x, W, model.k, codes[start]), STEPS)
    if not plan.signed:
        codes["nonnegative_omp"] = nonnegative_omp(x, W, model.k)
    by_way = {way: squared_errors(x, code @ W) for way, code in codes.items()}
    least = np.minimum.reduce([by_way[way] for way in ("omp", "from_code", "from_omp")])
    untrained = rival(RAW, plan.n, plan.k, plan.seed)[:SEARCHED]
    by_way |= {"least": least, "raw_digits": untrained}
    return {way: of.mean() for way, of in by_way.items()}


def row_of(plan: Plan) -> Row:
    """A network's row."""
    return trained(plan)[0] | {"test": errors(plan).mean()}


def table_jobs(budget: int = 1) -> Iterator[Job]:
    """The networks of the table; with twice the updates those of seed 0 with ten units."""
    for plan in plans():
        if budget == 1 or (
            plan.images == DIGITS and plan.seed == 0 and plan.k == K and plan.n in TWICE_SEEN
        ):
            plan = replace(plan, budget=budget)
            yield Job(plan.name, plan.seed, plan.settings, partial(row_of, plan))


def gap_jobs() -> Iterator[Job]:
    """What one pass leaves to a search, for the networks of digits."""
    for plan in plans():
        if plan.images == DIGITS and plan.seed == 0:
            settings = hash_of(f"{plan.settings} {SEARCHED} {STEPS} {known(RAW)}")
            yield Job(plan.name, plan.seed, settings, partial(gap, plan))


def of_images_jobs() -> Iterator[Job]:
    """Should clothes move, and have less noise? Asked of few and of many, with 1,000 units."""
    for name, (noise, best) in OF_CLOTHES.items():
        for moves, level in ((0.9, noise), (None, noise), (best, noise / 2)):
            plan = Plan(name, 1000, K, TRIAL, level, moves)
            variant = f"{name}, moves {moves or 0:g}, noise {level:g}"
            yield Job(variant, TRIAL, plan.settings, partial(validated, plan))


def switched() -> dict[str, tuple[Plan, Plan]]:
    """Networks of the table, each beside itself with one thing changed, by a name for the change.

    AuxK is as in Lab 2's recipe where half of the units are fewer than 256, else as in chapter 8.
    """
    known = {(plan.images, plan.n, plan.k): plan for plan in plans() if plan.seed == SEEDS[0]}
    asked: dict[tuple[str, int, int], dict[str, dict[str, Any]]] = {
        (DIGITS, 400, 50): {"no noise": {"noise": 0.0}, "random start": {"start": "mean"}},
        **{(DIGITS, n, K): {} for n in (1000, WIDEST)},
        **{(of, 1000, K): {} for of in OF_CLOTHES},
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


# The rivals, for digits. Each is called with n, k and seed.


def pca(n: int, k: int, seed: int) -> Reconstruct:
    """PCA with the best k of its axes for each digit: a hundred, or all."""
    return rival_atoms.pca(images(DIGITS).x_train, min(n, 784), k, own=True)


def raw(n: int, k: int, seed: int) -> Reconstruct:
    """Training digits as they are, or all there are, with OMP."""
    x = images(DIGITS).x_train
    return by_omp(rival_atoms.raw(x, min(n, len(x)), seed), k)


def recipe(n: int, k: int, seed: int) -> Reconstruct:
    """The top-k recipe of language models, with as many updates as the network."""
    steps = rival_networks.Steps(RATE, IMAGES[DIGITS][2], BATCH, seed)
    return rival_networks.recipe(images(DIGITS), n, k, steps).reconstruct


RAW = "raw digits + OMP"
RIVALS: dict[str, Callable[..., Reconstruct]] = {
    "PCA, own k": pca,
    RAW: raw,
    "top-k recipe": recipe,
}


@memory.cache
def rival(name: str, n: int, k: int, seed: int) -> Errors:
    """The errors of a rival for each test digit."""
    x = images(DIGITS).x_test
    return squared_errors(x.astype(float), RIVALS[name](n, k, seed)(x))


def contests() -> Iterator[tuple[str, int, int]]:
    """Each rival, with n and k: PCA has no more axes than pixels, and the recipe takes its time."""
    limits = {"PCA, own k": 1000 * 50, RAW: WIDEST * 50, "top-k recipe": 400 * 50}
    for name, (n, k) in product(RIVALS, SIZES):
        if k in (K, 50) and n * k <= limits[name]:
            yield name, n, k


def rival_jobs() -> Iterator[Job]:
    """The rivals' errors."""

    def row(name: str, n: int, k: int, seed: int) -> Row:
        started = time.process_time()
        error = rival(name, n, k, seed).mean()
        return {"test": error, "seconds": round(time.process_time() - started, 1)}

    for name, n, k in contests():
        job = partial(row, name, n, k, SEEDS[0])
        yield Job(f"{name}, n={n}, k={k}", SEEDS[0], known(name), job)


def known(name: str) -> str:
    """A hash of what a rival's row depends on, beside n, k and the seed."""
    return hash_of(f"{name} {IMAGES[DIGITS]} {SHOWN} {BATCH} {RATE}")


def of_networks(images: str, n: int, k: int) -> np.ndarray:
    """The errors (seeds, images) of the table's networks of one kind."""
    wanted = [p for p in plans() if (p.images, p.n, p.k) == (images, n, k)]
    return np.stack([errors(plan) for plan in wanted])


def verdict(ours: Callable[[], np.ndarray], theirs: Callable[[], np.ndarray]) -> Row:
    """One row: how far ours lies above theirs, for seeds and images that are drawn."""
    a, b = ours(), theirs()
    apart = difference(a, b)
    means = {"ours": a.mean(), "theirs": b.mean()}
    return means | apart.row()


def verdict_jobs() -> Iterator[Job]:
    """Two families: one pass against each rival, and many units against a hundred."""
    networks = [plan.settings for plan in plans()]
    settings = hash_of(f"{networks} {[known(name) for name in RIVALS]} {SEEDS}")
    for name, n, k in contests():
        ours, theirs = partial(of_networks, DIGITS, n, k), partial(of_rivals, name, n, k)
        yield Job(f"against {name}, n={n}, k={k}", 0, settings, partial(verdict, ours, theirs))
    sizes = [(DIGITS, n, k) for n, k in SIZES] + [
        (of, n, K) for of, n in product(OF_CLOTHES, CLOTHES)
    ]
    for of, n, k in sizes:
        if n > FEW:
            ours, theirs = (partial(of_networks, of, size, k) for size in (n, FEW))
            yield Job(f"{of}, n={n}, k={k}", 0, settings, partial(verdict, ours, theirs))


def of_rivals(name: str, n: int, k: int) -> np.ndarray:
    """A rival's errors (1, images): each is trained once."""
    return rival(name, n, k, SEEDS[0])[None]


TABLES = {
    "of_images.csv": of_images_jobs,
    "table.csv": table_jobs,
    "gap.csv": gap_jobs,
    "longer.csv": partial(table_jobs, budget=2),
    "switches.csv": switch_jobs,
    "rivals.csv": rival_jobs,
    "verdicts.csv": verdict_jobs,
}
