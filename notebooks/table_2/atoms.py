"""Lab 2's table of atoms: what makes the network's own good, switched off one thing at a time.

`atoms.csv` has a row for each way to learn a hundred atoms. Orthogonal matching pursuit reads all
of them with ten active units, so that they differ in the atoms alone. `train` and `test` are its
errors on digits that were learned and on others; `difference`, how far the latter lies above that
of the network as it is, for seeds and test digits that are drawn.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import islice
from pathlib import Path

import joblib
import numpy as np

from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.metrics import squared_errors
from ksae_lab.evaluation.statistics import difference
from ksae_lab.experiments import rival_atoms
from ksae_lab.experiments.build import build
from ksae_lab.experiments.rival_atoms import Atoms, by_omp
from ksae_lab.experiments.settings import Experiment, Settings
from ksae_lab.experiments.tables import Job, Row, expand, hash_of
from ksae_lab.inference.ksvd import ksvd
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn.rows import unit_rows

K, UNITS, SEEDS = 10, 100, (0, 1)
PLAN = Path(__file__).with_name("table.yaml")  # what the network is trained by, as it is
ROUNDS, COPIES = 15, 2  # of K-SVD: its rounds, and how many copies of each digit it sees
AS_IT_IS = "network"
SIGNED = {"activation": "linear", "by": "magnitude"}

memory = joblib.Memory(Path(__file__).parents[2] / "runs" / "lab_2", verbose=0)
digits = cache(load_dataset)


@memory.cache
def of_network(
    seed: int,
    model: Settings | None = None,
    training: Settings | None = None,
    unit_norm: bool = True,
) -> Atoms:
    """The atoms of the network of `PLAN`, but for what is switched off in these settings of it."""
    plan = expand(PLAN)[f"k={K}, once", seed].model_dump()
    plan["model"] |= model or {}
    plan["training"] |= training or {}
    run = build(Experiment.model_validate(plan), digits())
    run.quiet = True
    assert isinstance(run.model, KSparseAutoencoder)
    run.model.unit_norm = unit_norm
    run.fit()
    return Atoms(unit_rows(run.model.W_dec.astype(float)), run.model.b_dec.astype(float))


@memory.cache
def of_k_svd(seed: int, moved: bool = False, from_network: bool = False) -> Atoms:
    """K-SVD's atoms for ten active units, which start at digits or where the network has ended."""
    x = rival_atoms.heap(digits(), seed, moved, COPIES if moved else 1)
    if not from_network:
        return rival_atoms.k_svd(x, UNITS, K, ROUNDS, seed)
    *_, (W, mean) = islice(ksvd(x, *of_network(seed), K), ROUNDS)
    return Atoms(W, mean)


WAYS: dict[str, Callable[[int], Atoms]] = {
    AS_IT_IS: of_network,
    "network, no noise": partial(of_network, training={"noise": 0.0}),
    "network, no moves": partial(of_network, training={"shifts": None}),
    "network, signed": partial(of_network, model=SIGNED),
    "network, rows of any length": partial(of_network, unit_norm=False),
    "network, random start": partial(of_network, model={"start": "mean"}),
    "network, a tenth of the steps": partial(of_network, training={"epochs": 24}),
    "K-SVD": of_k_svd,
    "K-SVD, moves": partial(of_k_svd, moved=True),
    "K-SVD from the network's": partial(of_k_svd, from_network=True),
    "K-SVD from the network's, moves": partial(of_k_svd, moved=True, from_network=True),
}


def errors(way: str, part: str) -> np.ndarray:
    """The errors (seeds, images) of pursuit with a way's atoms."""
    x = getattr(digits(), f"x_{part}").astype(float)
    drawn = (by_omp(WAYS[way](seed), K)(x) for seed in SEEDS)
    return np.stack([squared_errors(x, each) for each in drawn])


def row(way: str) -> Row:
    """One row: mean errors, and how far the test error lies above that of the network as it is."""
    test = errors(way, "test")
    found = {"train": errors(way, "train").mean(), "test": test.mean()}
    return found | difference(test, errors(AS_IT_IS, "test")).row()


def jobs() -> Iterator[Job]:
    """A row for each way."""
    networks = [expand(PLAN)[f"k={K}, once", seed].hash for seed in SEEDS]
    known = f"{networks} {K} {UNITS} {SEEDS} {ROUNDS} {COPIES}"
    for name, way in WAYS.items():
        settings = way.keywords if isinstance(way, partial) else {}
        yield Job(name, 0, hash_of(f"{name} {settings} {known}"), partial(row, name))


TABLES = {"atoms.csv": jobs}
