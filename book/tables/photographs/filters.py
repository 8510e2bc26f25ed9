"""Chapter 19's dictionaries: what is learned from patches of photographs, and by whom.

`choice.csv`, made first, has what validation patches say of each learner's settings, with a seed
that is used nowhere else. A row of `filters.csv` is a dictionary: who learned it from what, how
much of new patches is left unexplained by k of its atoms, and what share of its atoms Gabor
functions fit, with their medians. `plates.npz` has some of the atoms themselves. What was learned
is kept in `runs/chapter_19`.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from scipy.linalg import pinv
from sklearn.decomposition import PCA, FastICA

from ksae_lab.data import photographs
from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.data.photographs import SIDE
from ksae_lab.evaluation import gabor
from ksae_lab.evaluation.metrics import dead_units, fvu
from ksae_lab.experiments import archive, rival_atoms
from ksae_lab.experiments.build import build, trained
from ksae_lab.experiments.rival_atoms import Atoms, by_omp
from ksae_lab.experiments.settings import Experiment
from ksae_lab.experiments.tables import Job, Row, hash_of
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn.rows import unit_rows

NS, KS = (144, 288, 576, 1152), (2, 4, 8, 16, 32)
EPOCHS, BATCH = 24, 128
SEEDS, TRIAL = (0, 1, 2), 100
FITTED, GOOD = 144, 0.6  # how many atoms are fitted, and the r² of a good fit
SHOWN = 32  # atoms of a plate
UPDATES, INFERENCE, MOST = 3000, 60, 100  # of sparse coding: batches of MOST, steps for a code
PASSES = 4  # of dictionary learning

memory = joblib.Memory(Path(__file__).parents[3] / "runs" / "chapter_19", verbose=0)


@dataclass(frozen=True)
class Plan:
    """A dictionary to be learned; `times` is how often the usual budget."""

    learner: str
    patches: str = "whitened"
    n: int = 288
    k: int = 8
    times: int = 1

    def __str__(self) -> str:
        """What a row is called."""
        name = f"{self.learner}, {self.patches}, n={self.n}, k={self.k}"
        return name if self.times == 1 else f"{name}, {self.times} times as long"

    @property
    def budget(self) -> tuple[int, ...]:
        """What else the dictionary depends on."""
        return {
            NETWORK: (EPOCHS, BATCH),
            SIGNED: (EPOCHS, BATCH),
            CODING: (UPDATES, INFERENCE, MOST),
            DICTIONARY: (PASSES,),
        }.get(self.learner, ())


# What is learned from


def scrambled(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image (height, width) with the same power at each frequency, and phases drawn anew."""
    phases = np.angle(np.fft.fft2(rng.normal(size=image.shape)))
    return np.fft.ifft2(np.abs(np.fft.fft2(image)) * np.exp(1j * phases)).real


def as_they_are(image: np.ndarray) -> np.ndarray:
    """An image (height, width), its mean 0 and its variance 1."""
    return (image - image.mean()) / image.std()


@cache
def data(kind: str) -> Dataset:
    """Patches of photographs "whitened", "grey" as they are, or "scrambled" and then whitened."""
    dataset, rng = load_dataset("photographs"), np.random.default_rng(0)
    if kind == "whitened":
        return dataset
    prepare: Callable[[np.ndarray], np.ndarray] = {
        "grey": as_they_are,
        "scrambled": lambda image: photographs.whitened(scrambled(image, rng)),
    }[kind]
    x, x_test = photographs.parts(prepare)
    x_train, x_val = np.split(x, [len(dataset.x_train)])
    return replace(dataset, x_train=x_train, x_val=x_val, x_test=x_test)


# Who learns. Each is called with patches, a plan, what was chosen for it, and a seed.


def network(
    dataset: Dataset, plan: Plan, setting: tuple[float, str], seed: int
) -> KSparseAutoencoder:
    """The k-sparse network of this book, as it stands or with units that may be negative."""
    rate, start = setting
    kind = {"activation": "linear", "by": "magnitude"} if plan.learner == SIGNED else {}
    settings = {
        "seed": seed,
        "model": {"n_units": plan.n, "k": plan.k, "start": start, **kind},
        "optimizer": {"learning_rate": rate},
        "training": {"epochs": plan.times * EPOCHS, "batch_size": BATCH, "engine": "auto"},
    }
    return trained(build(Experiment.model_validate(settings), dataset))


def sparse_coding(x: np.ndarray, plan: Plan, penalty: float, seed: int) -> Atoms:
    """Sparse coding with the price log(1 + a²), its codes by gradient steps, atoms of length 1.

    Source: Olshausen & Field (1996; 1997).
    """
    rng, updates = np.random.default_rng(seed), plan.times * UPDATES
    W = unit_rows(rng.normal(size=(plan.n, x.shape[1])))
    for update in range(updates):
        batch = x[rng.integers(len(x), size=MOST)].astype(float)
        a = inferred(batch, W, penalty)
        rate = 2 * min(1, 2 * (1 - update / updates))
        W = unit_rows(W + rate * a.T @ (batch - a @ W) / MOST)
    return Atoms(W, np.zeros(x.shape[1]))


def inferred(x: np.ndarray, W: np.ndarray, penalty: float) -> np.ndarray:
    """Codes (batch, n) at which |x − aW|² / 2 + penalty · Σ log(1 + a²) is low, with momentum."""
    gram, drive = W @ W.T, x @ W.T
    step = 1 / (np.linalg.eigvalsh(gram)[-1] + 2 * penalty)
    a = ahead = np.zeros_like(drive)
    for t in range(INFERENCE):
        slope = ahead @ gram - drive + 2 * penalty * ahead / (1 + ahead**2)
        before, a = a, ahead - step * slope
        ahead = a + t / (t + 3) * (a - before)
    return a


def dictionary(x: np.ndarray, plan: Plan, alpha: float, seed: int) -> Atoms:
    """scikit-learn's dictionary learning with an L1 penalty."""
    return rival_atoms.dictionary(x, plan.n, alpha, plan.times * PASSES, seed)


def independent(x: np.ndarray, plan: Plan, setting: None, seed: int) -> Atoms:
    """ICA's patterns, as many as there are pixels less the mean, which patches lack."""
    count = x.shape[1] - 1
    learner = FastICA(count, whiten="unit-variance", max_iter=400, tol=1e-3, random_state=seed)
    learner.fit(x)
    return Atoms(unit_rows(pinv(learner.components_).T), np.zeros(x.shape[1]))


def principal(x: np.ndarray, plan: Plan, setting: None, seed: int) -> Atoms:
    """PCA's axes."""
    return Atoms(PCA(x.shape[1] - 1, svd_solver="full").fit(x).components_, np.zeros(x.shape[1]))


def untrained(x: np.ndarray, plan: Plan, setting: None, seed: int) -> Atoms:
    """Patches as they are."""
    drawn = np.random.default_rng(seed).choice(len(x), plan.n, replace=False)
    return Atoms(unit_rows(x[drawn].astype(float)), np.zeros(x.shape[1]))


NETWORK, SIGNED = "k-sparse network", "k-sparse, signed"
CODING, DICTIONARY = "sparse coding, 1996", "dictionary learning"
ATOMS: dict[str, Callable[[np.ndarray, Plan, Any, int], Atoms]] = {
    CODING: sparse_coding,
    DICTIONARY: dictionary,
    "ICA": independent,
    "PCA": principal,
    "patches as they are": untrained,
}
OPEN: dict[str, tuple[Any, ...]] = {
    NETWORK: tuple(product((0.002, 0.004, 0.008, 0.016), ("random", "data"))),
    SIGNED: tuple(product((0.002, 0.004, 0.008, 0.016), ("random", "data"))),
    CODING: (0.4, 0.8, 1.6, 3.2, 6.4),
    DICTIONARY: (0.5, 1.0, 2.0),
}


Learned = tuple[Atoms, KSparseAutoencoder | None, float]


def learned(plan: Plan, setting: Any, seed: int) -> Learned:
    """A dictionary, the network that it belongs to, if it does to one, and seconds of a core."""
    return _learned(astuple(plan), setting, seed, plan.budget)


@memory.cache
def _learned(of: tuple, setting: Any, seed: int, budget: tuple[int, ...]) -> Learned:
    plan, model = Plan(*of), None
    dataset, started = data(plan.patches), time.process_time()
    if plan.learner in (NETWORK, SIGNED):
        model = network(dataset, plan, setting, seed)
        atoms = Atoms(model.W_dec.astype(float), model.b_dec.astype(float))
    else:
        atoms = ATOMS[plan.learner](dataset.x_train, plan, setting, seed)
    return atoms, model, time.process_time() - started


# Choice


def choice_jobs() -> Iterator[Job]:
    """Each learner with each setting: by what validation patches lose with k atoms."""

    def row(plan: Plan, setting: Any) -> Row:
        atoms, model, _ = learned(plan, setting, TRIAL)
        x = data(plan.patches).x_val
        lost = fvu(x, model.reconstruct(x) if model else by_omp(atoms, plan.k)(x))
        return {"left": lost}

    for learner, settings in OPEN.items():
        plan = Plan(learner)
        for setting in settings:
            job = partial(row, plan, setting)
            yield Job(f"{learner}: {setting}", TRIAL, known(plan, setting), job)


def known(plan: Plan, setting: Any) -> str:
    """A hash of what a dictionary depends on."""
    return hash_of(f"{plan} {setting} {plan.budget}")


@cache
def chosen(learner: str) -> Any:
    """The setting that validation patches chose, and None where nothing is open.

    It is the first that is within half a percent of the best: a slow rate, a low penalty.

    Raises `FileNotFoundError` before choice.csv is made.
    """
    if learner not in OPEN:
        return None
    tried = pd.read_csv(Path(__file__).with_name("choice.csv"), comment="#", index_col="variant")
    left = [tried.left[f"{learner}: {setting}"] for setting in OPEN[learner]]
    good = np.flatnonzero(np.array(left) <= 1.005 * min(left))
    return OPEN[learner][good[0]]


# Filters


def gabors(W: np.ndarray) -> list[gabor.Gabor]:
    """The Gabor functions nearest to atoms W (n, d): to all, or to `FITTED` that are drawn."""
    drawn = np.random.default_rng(0).permutation(len(W))[:FITTED]
    return [gabor.fit(W[i].reshape(SIDE, SIDE)) for i in drawn if W[i].any()]


def one_way(orientations: np.ndarray) -> float:
    """0 if orientations (n,), in radians, point everywhere alike, 1 if all are one."""
    return float(abs(np.mean(np.exp(2j * orientations))))


def filters(plan: Plan, seed: int) -> Row:
    """One dictionary: what it leaves of test patches, and what its atoms look like."""
    atoms, model, seconds = learned(plan, chosen(plan.learner), seed)
    x, fits = data(plan.patches).x_test, gabors(atoms.W)
    good = [each for each in fits if each.r2 >= GOOD]
    row = {"learner": plan.learner, "patches": plan.patches, "n": len(atoms.W), "k": plan.k}
    row |= {
        "one_pass": fvu(x, model.reconstruct(x)) if model else np.nan,
        "omp": fvu(x, by_omp(atoms, plan.k)(x)),
        "dead": dead_units(model.encode(data(plan.patches).x_train)) if model else np.nan,
        "fitted": len(good) / len(fits),
        "r2": np.median([each.r2 for each in fits]),
    }
    if good:
        row |= {
            name: np.median([getattr(each, name) for each in good])
            for name in ("frequency", "bandwidth", "along", "across")
        }
        row["one_way"] = one_way(np.array([each.orientation for each in good]))
    return row | {"seconds": round(seconds, 1)}


def plans(seed: int) -> Iterator[Plan]:
    """The dictionaries of a seed; of the first one some are trained for twice as long as well."""
    whitened = Plan(NETWORK)
    yield from (replace(whitened, n=n) for n in NS)
    yield from (replace(whitened, k=k) for k in KS if k != whitened.k)
    yield from (replace(whitened, patches=kind) for kind in ("grey", "scrambled"))
    yield from map(Plan, (SIGNED, *ATOMS))
    if seed == SEEDS[0]:
        yield from (Plan(learner, times=2) for learner in (NETWORK, CODING, DICTIONARY))


def filter_jobs() -> Iterator[Job]:
    """The dictionaries."""
    for seed in SEEDS:
        for plan in plans(seed):
            settings = hash_of(f"{known(plan, chosen(plan.learner))} {FITTED} {GOOD}")
            yield Job(str(plan), seed, settings, partial(filters, plan, seed))


def plates(path: Path) -> None:
    """Write some atoms (atoms, d) of each learner, and of the network from other patches."""
    other = (Plan(NETWORK, patches=kind) for kind in ("grey", "scrambled"))
    shown = {}
    for plan in (*map(Plan, (NETWORK, *ATOMS)), *other):
        atoms, *_ = learned(plan, chosen(plan.learner), SEEDS[0])
        name = plan.learner if plan.patches == "whitened" else plan.patches
        shown[name] = atoms.W[:SHOWN].astype(np.float16)
    archive.put_arrays(path, shown)


TABLES = {"choice.csv": choice_jobs, "filters.csv": filter_jobs}
FILES = {"plates.npz": plates}
