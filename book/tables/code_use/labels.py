"""How well a probe reads codes, components and pixels when few digits have labels.

`labels.csv` has the mean errors. `label_verdicts.csv` holds networks against rivals, over seeds and
test digits; the mistakes that it needs are kept in `runs/chapter_15`.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
from sklearn.decomposition import PCA

from ksae_lab.data.datasets import Dataset
from ksae_lab.evaluation.probe import best_probe
from ksae_lab.evaluation.statistics import above_zero
from ksae_lab.experiments.networks import Sweep
from ksae_lab.experiments.probe_rivals import untrained
from ksae_lab.experiments.tables import Job, Row, hash_of

LABELS = (10, 30, 100, 300, 1000)
DRAWS = 10
KS, SEEDS = (10, 50), (0, 1, 2)
RIVALS = "raw pixels", "PCA, k={k}", "raw images, k={k}"

memory = joblib.Memory(Path(__file__).parents[3] / "runs" / "chapter_15", verbose=0)


class Side(NamedTuple):
    """What is probed: its name, its seed, what it depends on, and what makes its encoder."""

    name: str
    seed: int
    settings: str
    make: Callable[[], Callable[[np.ndarray], np.ndarray]]


def some(y: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` indices of labels y (samples,), equally many of each class."""
    classes = np.unique(y)
    each = count // len(classes)
    drawn = [rng.choice(np.flatnonzero(y == c), each, replace=False) for c in classes]
    return np.concatenate(drawn)


@memory.cache(ignore=["side", "dataset"])
def mistakes(name: str, settings: str, seed: int, side: Side, dataset: Dataset) -> np.ndarray:
    """In how many of the draws a test digit was put wrong: (numbers of labels, digits), a share."""
    codes, z_val, z_test = map(side.make(), (dataset.x_train, dataset.x_val, dataset.x_test))
    validation, test = (z_val, dataset.y_val), (z_test, dataset.y_test)
    # How loud a unit is, all the training digits tell, and these need no label. With few labels it
    # matters whether quiet units are brought to the same scale: the validation digits say.
    scales = [codes.std(axis=0), np.full(codes.shape[1], codes.std())]
    shares = np.zeros((len(LABELS), len(test[1])))
    for row, count in enumerate(LABELS):
        for draw in range(DRAWS):
            few = some(dataset.y_train, count, np.random.default_rng([seed, draw]))
            train = codes[few], dataset.y_train[few]
            shares[row] += best_probe(train, validation, test, scales).wrong / DRAWS
    return shares


def of_side(side: Side, dataset: Dataset) -> np.ndarray:
    """The mistakes of a side."""
    return mistakes(side.name, side.settings, side.seed, side, dataset)


def few_labels(side: Side, dataset: Dataset) -> Row:
    """One row: the mean error of the probes for each number of labels, over the draws."""
    errors = of_side(side, dataset).mean(axis=1)
    return {f"error_{count}": error for count, error in zip(LABELS, errors, strict=True)}


def sides(k_sweep: Sweep) -> list[Side]:
    """Codes, components, untrained codes and pixels, with the same labels for all of a seed."""
    networks, result = k_sweep.by_k_and_seed(seeds=SEEDS), []

    def fitted(k: int) -> Callable:
        return PCA(k, svd_solver="full").fit(k_sweep.dataset.x_train).transform

    def drawn(k: int, seed: int) -> Callable:
        return untrained("raw images", k_sweep.dataset.x_train, units, k, seed)

    for (k, seed), network in networks.items():
        if k in KS:
            own, units = hash_of(repr((LABELS, DRAWS, network.settings))), network.n_units
            result.append(Side(f"k-sparse, k={k}", seed, own, lambda n=network: n.model().encode))
            own = hash_of(repr((LABELS, DRAWS, k)))
            result.append(Side(f"PCA, k={k}", seed, own, partial(fitted, k)))
            own = hash_of(repr((LABELS, DRAWS, k, units, "raw images")))
            result.append(Side(f"raw images, k={k}", seed, own, partial(drawn, k, seed)))
    own = hash_of(repr((LABELS, DRAWS)))
    return result + [Side("raw pixels", seed, own, lambda: lambda x: x) for seed in SEEDS]


def jobs(k_sweep: Sweep) -> Iterator[Job]:
    """A row for each side."""
    for side in sides(k_sweep):
        measure = partial(few_labels, side, k_sweep.dataset)
        yield Job(side.name, side.seed, side.settings, measure)


def verdict(ours: list[Side], theirs: list[Side], count: int, dataset: Dataset) -> Row:
    """One row: how far the network's error lies above a rival's, for seeds and digits drawn.

    Sides of one seed learn from the same labels, so they are paired.
    """
    at = LABELS.index(count)
    a, b = (np.stack([of_side(side, dataset)[at] for side in of]) for of in (ours, theirs))
    apart = above_zero(a - b)
    means = {"network": a.mean(), "rival": b.mean()}
    return means | apart.row()


def verdict_jobs(k_sweep: Sweep) -> Iterator[Job]:
    """Every network against every rival at each number of labels: one family."""
    every = sides(k_sweep)
    for k, rival, count in product(KS, RIVALS, LABELS):
        name, other = f"k-sparse, k={k}", rival.format(k=k)
        ours, theirs = ([side for side in every if side.name == of] for of in (name, other))
        settings = hash_of(f"{count} {[side.settings for side in ours + theirs]}")
        measure = partial(verdict, ours, theirs, count, k_sweep.dataset)
        yield Job(f"{name} against {other}, {count} labels", 0, settings, measure)


TABLES = {"labels.csv": jobs, "label_verdicts.csv": verdict_jobs}
