"""Lab 6's tables: competing units with several winners, or several rounds, and codes of theirs.

First one seed tries each rate, for the validation images to choose from; then the seeds that count
train with the rates that were chosen, which stand below. `verdicts.csv` has what each variant
changes, over seeds and test images; the error of each image, which it needs, is kept in
`runs/lab_6`.
"""

import time
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import joblib
import numpy as np
from sklearn.linear_model import Ridge, orthogonal_mp_gram
from tqdm import trange

from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.evaluation.metrics import squared_errors
from ksae_lab.evaluation.statistics import above_zero
from ksae_lab.experiments.tables import Job, Row, hash_of
from ksae_lab.models.krotov_hopfield import KrotovHopfield

EPOCHS, BATCH = 80, 100
RATES = (0.01, 0.02, 0.05, 0.1)
CHOICE_SEED, SEEDS = 100, (0, 1, 2, 3, 4)
KS = (5, 10, 20)
RIDGE = 0.1  # for each image; the square of an overlap in a code is some hundred times as much

# Winners, Δ, rounds, and the rate that has the least geometric mean of the six validation errors:
# so a percent counts the same for both codes and every k.
VARIANTS = {
    "1 winner": (1, 0.4, 1, 0.1),
    "2 winners": (2, 0.4, 1, 0.02),
    "3 winners": (3, 0.4, 1, 0.02),
    "5 winners": (5, 0.4, 1, 0.01),
    "10 winners": (10, 0.4, 1, 0.01),
    "1 round": (1, 0, 1, 0.1),
    "3 rounds": (1, 0, 3, 0.05),
    "5 rounds": (1, 0, 5, 0.05),
}
# What each is held against: one winner or one round with the same push.
CONTROLS = {
    **dict.fromkeys(("2 winners", "3 winners", "5 winners", "10 winners"), "1 winner"),
    **dict.fromkeys(("3 rounds", "5 rounds"), "1 round"),
}

memory = joblib.Memory(Path(__file__).parents[2] / "runs" / "lab_6", verbose=0)


def train(
    x: np.ndarray, variant: str, rate: float, seed: int, epochs: int = EPOCHS, dtype=np.float32
) -> KrotovHopfield:
    """A hundred units that saw x, the rate falling linearly to zero."""
    winners, delta, rounds, _ = VARIANTS[variant]
    rng = np.random.default_rng(seed)
    net = KrotovHopfield(x.shape[1], 100, winners, delta=delta, rng=rng, dtype=dtype)
    for epoch in trange(epochs, desc=f"{variant}, rate {rate:g}", unit="epoch"):
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            batch = x[order[start : start + BATCH]]
            net.learn(batch, rate * (1 - epoch / epochs), rounds)
    return net


def by_overlaps(net: KrotovHopfield, k: int, x_train: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What a linear decoder draws of the k largest overlaps, fitted to the training images."""
    decoder = Ridge(RIDGE * len(x_train), fit_intercept=False)
    decoder.fit(net.encode(x_train, k), x_train)
    return decoder.predict(net.encode(x, k))


def by_omp(W: np.ndarray, k: int, x: np.ndarray) -> np.ndarray:
    """What OMP draws of x with k of the prototypes W."""
    atoms = W.astype(float) / np.linalg.norm(W, axis=1, keepdims=True)
    code = orthogonal_mp_gram(atoms @ atoms.T, atoms @ x.T.astype(float), n_nonzero_coefs=k)
    return code.T @ atoms


def each_error(net: KrotovHopfield, x_train: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
    """The error of each image (images,): two codes, each with few, more and many active units."""
    drawn = {f"overlaps_{k}": by_overlaps(net, k, x_train, x) for k in KS}
    drawn |= {f"omp_{k}": by_omp(net.W, k, x) for k in KS}
    return {name: squared_errors(x, x_hat) for name, x_hat in drawn.items()}


def errors(net: KrotovHopfield, x_train: np.ndarray, x: np.ndarray) -> dict[str, float]:
    """The means of the six errors over the images x."""
    return {name: float(each.mean()) for name, each in each_error(net, x_train, x).items()}


def wins(net: KrotovHopfield, x: np.ndarray, rounds: int) -> np.ndarray:
    """How often each unit overlaps most: with x, with what it leaves of x, … (rounds, n)."""
    counts = []
    for _ in range(rounds):
        best = net.overlaps(x).argmax(axis=1)
        counts.append(np.bincount(best, minlength=len(net.W)))
        w = net.W[best]
        x = x - (x * w).sum(axis=1, keepdims=True) / (w**2).sum(axis=1, keepdims=True) * w
    return np.array(counts)


def habits(net: KrotovHopfield, x: np.ndarray, rounds: int) -> dict[str, float]:
    """How the units share the images x, and how alike they are.

    `speaking` is (Σ h)² / Σ h² for the overlaps above zero: n if all are equal, 1 if one stands
    alone. A unit is dead if it never wins, in no round.
    """
    won = wins(net, x, rounds)
    share = won[0] / won[0].sum()
    h = np.maximum(net.overlaps(x), 0)
    directions = net.W / np.linalg.norm(net.W, axis=1, keepdims=True)
    cosines = directions @ directions.T
    return {
        "busiest": share.max(),
        "entropy": -(share[share > 0] * np.log2(share[share > 0])).sum(),
        "speaking": (h.sum(axis=1) ** 2 / (h**2).sum(axis=1)).mean(),
        "cosine": cosines[~np.eye(len(cosines), dtype=bool)].mean(),
        "never_first": (won[0] == 0).sum(),
        "dead": (won.sum(axis=0) == 0).sum(),
    }


def train_and_measure(
    dataset: Dataset, variant: str, rate: float, seed: int, epochs: int = EPOCHS
) -> dict:
    """One row: one number for validation, six test errors, the habits, and seconds of training."""
    started = time.process_time()
    x = dataset.x_train
    net = train(x, variant, rate, seed, epochs)
    seconds = round(time.process_time() - started, 1)
    row = {"validation": np.exp(np.mean(np.log(list(errors(net, x, dataset.x_val).values()))))}
    row |= errors(net, x, dataset.x_test) | habits(net, x, VARIANTS[variant][2])
    return row | {"seconds": seconds}


def settings(variant: str, rate: float) -> str:
    """A hash of what a row depends on, the seed apart."""
    winners, delta, rounds, _ = VARIANTS[variant]
    return hash_of(f"{EPOCHS} {BATCH} {KS} {RIDGE} {winners} {delta} {rounds} {rate}")


def plan() -> list[tuple[str, float, int]]:
    """The rows of the table, as (variant, rate, seed): the choice, then what was chosen."""
    choice = [(variant, rate, CHOICE_SEED) for variant, rate in product(VARIANTS, RATES)]
    return choice + [(name, VARIANTS[name][3], seed) for name, seed in product(VARIANTS, SEEDS)]


def jobs() -> Iterator[Job]:
    """The rows of the plan."""
    dataset = load_dataset("mnist5k")
    for variant, rate, seed in plan():
        measure = partial(train_and_measure, dataset, variant, rate, seed)
        yield Job(f"{variant}, rate {rate:g}", seed, settings(variant, rate), measure)


def of_digits(variant: str, seed: int) -> dict[str, np.ndarray]:
    """The errors of each test digit, with the rate that was chosen."""
    rate = VARIANTS[variant][3]
    return _of_digits(variant, rate, seed, settings(variant, rate))


@memory.cache
def _of_digits(variant: str, rate: float, seed: int, known: str) -> dict[str, np.ndarray]:
    dataset = load_dataset("mnist5k")
    net = train(dataset.x_train, variant, rate, seed)
    return each_error(net, dataset.x_train, dataset.x_test)


def verdict(variant: str, column: str) -> Row:
    """How far a variant lies above its control, in one of the six errors.

    With the same seed both start at the same numbers and see the same batches, so the differences
    are taken seed by seed and digit by digit.
    """
    ours, theirs = (
        np.stack([of_digits(name, seed)[column] for seed in SEEDS])
        for name in (variant, CONTROLS[variant])
    )
    return {"ours": ours.mean(), "theirs": theirs.mean()} | above_zero(ours - theirs).row()


def verdict_jobs() -> Iterator[Job]:
    """Every variant but the controls, in every error: one family."""
    for variant, code, k in product(CONTROLS, ("overlaps", "omp"), KS):
        both = [settings(name, VARIANTS[name][3]) for name in (variant, CONTROLS[variant])]
        column = f"{code}_{k}"
        known = hash_of(f"{both} {SEEDS} {column}")
        yield Job(f"{variant}: {column}", 0, known, partial(verdict, variant, column))


TABLES = {"table.csv": jobs, "verdicts.csv": verdict_jobs}
