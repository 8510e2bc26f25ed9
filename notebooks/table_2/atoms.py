"""Lab 2's last table: what makes the network's atoms good? One thing is switched off at a time.

A row has the error of OMP with ten atoms, for a network that was trained without something, and for
dictionaries that others go on with from the network's atoms. Settings are otherwise those of
`table.yaml`. What a row needs, the error of each test digit, is kept in `runs/lab_2_atoms`.
"""

from collections.abc import Iterator
from functools import cache, partial
from itertools import islice
from pathlib import Path

import joblib
import numpy as np

from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.metrics import squared_errors
from ksae_lab.evaluation.statistics import difference
from ksae_lab.experiments.build import build
from ksae_lab.experiments.rival_atoms import Atoms, by_omp, heap, k_svd
from ksae_lab.experiments.rival_networks import matching
from ksae_lab.experiments.settings import Experiment, Settings
from ksae_lab.experiments.tables import Job, Row, hash_of
from ksae_lab.inference.ksvd import ksvd
from ksae_lab.models.k_sparse import KSparseAutoencoder

K, UNITS, SEEDS, ROUNDS, EPOCHS, BATCH = 10, 100, (0, 1), 15, 240, 128
TRAINING: Settings = {"epochs": EPOCHS, "batch_size": BATCH, "noise": 0.1, "shifts": 0.5}
WHOLE, FREE = "as it is", "rows of any length"
SWITCHES: dict[str, Settings] = {
    WHOLE: {},
    "no noise": {"training": {"noise": 0.0}},
    "no moves": {"training": {"shifts": None}},
    "signed": {"model": {"activation": "linear", "by": "magnitude"}},
    FREE: {},
    "a tenth of the steps": {"training": {"epochs": EPOCHS // 10}},
}
ON, OTHER, MATCHING = "K-SVD, from the network's atoms", "K-SVD", "matching pursuit's atoms"
MATCHING_RATE = 0.008

memory = joblib.Memory(Path(__file__).parents[2] / "runs" / "lab_2_atoms", verbose=0)
digits = cache(load_dataset)


@memory.cache
def atoms(name: str, seed: int) -> Atoms:
    """The atoms of a network without what `name` says, or of another learner."""
    x = heap(digits(), seed, True, copies=2)
    if name == OTHER:
        return k_svd(x, UNITS, K, ROUNDS, seed)
    if name == ON:
        *_, found = islice(ksvd(x, *atoms(WHOLE, seed), K), ROUNDS)
        return Atoms(*found)
    if name == MATCHING:
        length = {"epochs": EPOCHS, "batch_size": BATCH}
        learned = matching(digits(), UNITS, K, rate=MATCHING_RATE, seed=seed, **length)
        return Atoms(learned.W.astype(float), learned.b.astype(float))
    without = SWITCHES[name]
    settings = {
        "seed": seed,
        "model": {"n_units": UNITS, "k": K} | without.get("model", {}),
        "optimizer": {"learning_rate": 0.004},
        "training": TRAINING | without.get("training", {}),
    }
    run = build(Experiment.model_validate(settings), digits())
    assert isinstance(run.model, KSparseAutoencoder)
    run.model.unit_norm, run.quiet = name != FREE, True
    run.fit()
    W, mean = run.model.W_dec.astype(float), run.model.b_dec.astype(float)
    return Atoms(W / np.linalg.norm(W, axis=1, keepdims=True), mean)


def errors(name: str, seed: int) -> np.ndarray:
    """The error of OMP for each test digit (images,)."""
    x = digits().x_test
    return squared_errors(x.astype(float), by_omp(atoms(name, seed), K)(x))


def row(name: str) -> Row:
    """Means over seeds and digits, and how far that is above the network as it is."""
    mine, whole = (np.stack([errors(of, seed) for seed in SEEDS]) for of in (name, WHOLE))
    apart = difference(mine, whole)
    means = {"test": mine.mean(), "of_seeds": " ".join(f"{of:.5f}" for of in mine.mean(axis=1))}
    return means | {"difference": apart.mean, "half_width": apart.half_width, "p": apart.p}


def jobs() -> Iterator[Job]:
    """A row for each switch and for each other learner."""
    for name in (*SWITCHES, OTHER, ON, MATCHING):
        known = f"{name} {SWITCHES.get(name)} {TRAINING} {K} {UNITS} {SEEDS} {ROUNDS}"
        yield Job(name, 0, hash_of(known), partial(row, name))


TABLES = {"atoms.csv": jobs}
