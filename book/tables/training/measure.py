"""Chapter 5's ladder: from a network as it was published to the chapter's own, part by part.

At the foot, as in the published network, units are sigmoids and the steps those of gradient
descent (here with momentum, as in 2013), two passes through the images long; the decoder alone is
another, it is linear, as the book's is. Each rung puts one part more in its place, up to the
chapter's recipe. Then each part is taken away alone from the whole recipe, which is what it takes
to name a cause, and two things are tried that the recipe does not have.

First `choice.csv`: with a seed that the ladder does not use, each network tries the same number of
learning rates, and the best by validation images is kept. A rung's training is doubled for as long
as that lowers the validation error by a hundredth or more; what differs from the whole recipe in
one part trains as long as it does. Then `ladder.csv`: five seeds for each network.
Last `differences.csv`: of those that differ in one part, over seeds and test images.
Each table reads what the one before it chose, so they are made in this order, one by one.
"""

import time
from collections.abc import Iterator, Mapping
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.evaluation.metrics import dead_units
from ksae_lab.evaluation.statistics import difference
from ksae_lab.experiments.build import build
from ksae_lab.experiments.labs import RUNS
from ksae_lab.experiments.settings import Experiment, Settings, merged
from ksae_lab.experiments.tables import Job, Row, hash_of
from ksae_lab.models.k_sparse import KSparseAutoencoder

CHOICE_SEED, SEEDS = 100, (0, 1, 2, 3, 4)
RATES = {
    "adam": (0.002, 0.004, 0.008, 0.016, 0.032),
    "sgd": (6.0, 12.0, 25.0, 50.0, 100.0),  # at 200 one seed of five runs away at the foot
}
LENGTHS = (40, 80)  # epochs
WORTH_IT = 0.01  # of the validation error

RECIPE: Settings = {
    "model": {"k": 10, "start": "mean"},
    "training": {"batch_size": 256, "noise": 0.1},
}
# The recipe's parts, from the foot of the ladder up, and what stands in the place of each.
WITHOUT: dict[str, Settings] = {
    "time": {"training": {"epochs": 2}},
    "Adam": {"optimizer": {"name": "sgd", "momentum": 0.9}},
    "relu": {"model": {"activation": "sigmoid"}},
    "mean image": {"model": {"start": "random"}},
    "unit rows": {},  # `constrain` is switched off in `trained`
    "noise": {"training": {"noise": 0.0}},
}
BESIDES: dict[str, Settings] = {
    "tied": {"model": {"tied": True}},
    "shifts": {"training": {"shifts": 0.5}},
}
CHANGES, PARTS = WITHOUT | BESIDES, list(WITHOUT)
# Each network's name, and how it differs from the recipe.
UP = {"foot": PARTS} | {f"+ {part}": PARTS[i:] for i, part in enumerate(PARTS, start=1)}
ALONE = {f"- {part}": [part] for part in PARTS} | {f"and {part}": [part] for part in BESIDES}
NETWORKS: dict[str, list[str]] = UP | ALONE
WHOLE = list(UP)[-1]
PAIRS = [*pairwise(UP), *((WHOLE, name) for name in ALONE)]

digits = cache(partial(load_dataset, "mnist5k"))


def experiment(name: str, rate: float, epochs: int, seed: int) -> Experiment:
    """What trains the network of that name."""
    settings = merged(RECIPE, {"seed": seed, "training": {"epochs": epochs}})
    for part in NETWORKS[name]:
        settings = merged(settings, CHANGES[part])
    return Experiment(**merged(settings, {"optimizer": {"learning_rate": rate}}))


def trained(settings: Settings, unit_rows: bool) -> tuple[Row, np.ndarray]:
    """A row for one training, and the test error of each image."""
    started, data = time.process_time(), digits()
    run = build(Experiment(**settings), data)
    model, run.quiet = run.model, True
    assert isinstance(model, KSparseAutoencoder)
    model.unit_norm = unit_rows
    with np.errstate(over="ignore", invalid="ignore"):  # a rate may be too large
        run.fit()
        row = _measured(model, data) | {"seconds": round(time.process_time() - started, 1)}
        return row, ((model.reconstruct(data.x_test) - data.x_test) ** 2).mean(axis=1)


def _measured(model: KSparseAutoencoder, data: Dataset) -> Row:
    parts = {"validation": data.x_val, "test": data.x_test, "training": data.x_train}
    errors = {part: model.error(x) for part, x in parts.items()}
    return errors | {"dead": dead_units(model.encode(data.x_train))}


def result(name: str, rate: float, epochs: int, seed: int) -> tuple[Row, np.ndarray]:
    """What `trained` says of the network of that name; trained once, and kept in `runs`."""
    kept = joblib.Memory(Path(RUNS, "training"), verbose=0).cache(trained)
    settings = experiment(name, rate, epochs, seed).model_dump(mode="json")
    row, errors = kept(settings, unit_rows="unit rows" not in NETWORKS[name])
    return row, errors


def search(name: str) -> Row:
    """The row of a network's trials: errors of validation images, then what is chosen."""

    def error(rate: float, epochs: int) -> float:
        try:
            found: float = result(name, rate, epochs, CHOICE_SEED)[0]["validation"]
        except ValueError:  # the weights have run away, and h holds NaN
            return np.inf
        return found

    shortest = experiment(name, 1.0, LENGTHS[0], CHOICE_SEED)
    rates, epochs = RATES[shortest.optimizer.name], shortest.training.epochs
    trials = [error(rate, epochs) for rate in rates]
    rate, best = rates[int(np.argmin(trials))], min(trials)
    row: Row = {f"rate_{i}": trial for i, trial in enumerate(trials, start=1)}
    row |= {f"epochs_{length}": np.nan for length in LENGTHS[1:]}
    if "time" in NETWORKS[name]:
        return row | {"rate": rate, "epochs": epochs}
    if name in ALONE:
        return row | {"rate": rate, "epochs": search(WHOLE)["epochs"]}
    for length in LENGTHS[1:]:
        row[f"epochs_{length}"] = longer = error(rate, length)
        if longer > (1 - WORTH_IT) * best:
            break
        epochs, best = length, longer
    return row | {"rate": rate, "epochs": epochs}


def choice() -> Iterator[Job]:
    """A row for each network's trials."""
    for name, changes in NETWORKS.items():
        what = experiment(name, 1.0, 1, CHOICE_SEED).hash, changes, RATES, LENGTHS, WORTH_IT
        yield Job(name, CHOICE_SEED, hash_of(f"{what}"), partial(search, name))


def ladder() -> Iterator[Job]:
    """Five rows for each network, as `choice.csv` prefers it."""
    for name, settings in chosen().items():
        for seed in SEEDS:
            yield Job(name, seed, _hash(name, settings, seed), partial(_row, name, settings, seed))


def differences() -> Iterator[Job]:
    """A row for each pair of networks that differ in one part: the first less the second."""
    settings = chosen()
    for a, b in PAIRS:
        hashes = [_hash(name, settings[name], seed) for name in (a, b) for seed in SEEDS]
        measure = partial(_compared, {name: settings[name] for name in (a, b)})
        yield Job(f"{a} → {b}", 0, hash_of(f"{hashes}"), measure)


def chosen() -> Mapping[str, tuple[float, int]]:
    """Rate and epochs of each network, by `choice.csv`."""
    table = pd.read_csv(Path(__file__).with_name("choice.csv"), comment="#", index_col="variant")
    pairs = zip(table.rate, table.epochs, strict=True)
    return dict(zip(table.index, pairs, strict=True))


def _hash(name: str, settings: tuple[float, int], seed: int) -> str:
    return hash_of(f"{experiment(name, *settings, seed).hash} {NETWORKS[name]}")


def _row(name: str, settings: tuple[float, int], seed: int) -> Row:
    return result(name, *settings, seed)[0]


def _compared(both: Mapping[str, tuple[float, int]]) -> Row:
    a, b = (
        np.array([result(name, *settings, seed)[1] for seed in SEEDS])
        for name, settings in both.items()
    )
    found = difference(a, b)
    return {"mean": found.mean, "half_width": found.half_width, "p": found.p, "of": b.mean()}


TABLES = {"choice.csv": choice, "ladder.csv": ladder, "differences.csv": differences}
