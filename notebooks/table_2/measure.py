"""The table of dictionary learning with OMP, as scikit-learn has it, over k.

One row for each weight of the L1 penalty and each seed of the learning; validation digits then
choose the weight for each k.
"""

import time
from collections.abc import Iterator
from functools import partial
from itertools import product

from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.linear_model import orthogonal_mp_gram

from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.experiments.tables import Job, hash_of
from ksae_lab.nn.losses import mse

ALPHAS, SEEDS = (0.1, 0.25, 0.5, 1, 2), (0, 1, 2, 3, 4)
KS = (1, 2, 3, 5, 7, 10, 14, 20, 30, 40, 50, 70)
SETTINGS = {"n_components": 100, "batch_size": 64, "max_iter": 20}


def measure(dataset: Dataset, alpha: float, seed: int, ks: tuple[int, ...] = KS) -> dict:
    """One row: the errors of OMP's codes of validation and test digits, for each k."""
    started = time.process_time()
    x, mean = dataset.x_train.astype(float), dataset.x_train.mean(axis=0, dtype=float)
    learner = MiniBatchDictionaryLearning(alpha=alpha, random_state=seed, **SETTINGS)
    atoms = learner.fit(x - mean).components_
    row = {}
    for part, images in {"validation": dataset.x_val, "test": dataset.x_test}.items():
        drive = atoms @ (images - mean).T
        for k in ks:
            code = orthogonal_mp_gram(atoms @ atoms.T, drive, n_nonzero_coefs=k).T
            row[f"{part}_{k}"] = mse(mean + code @ atoms, images)
    row["seconds"] = round(time.process_time() - started, 1)
    return row


def jobs() -> Iterator[Job]:
    """Every weight and every seed."""
    dataset, settings = load_dataset("mnist5k"), hash_of(f"{KS} {SETTINGS}")
    for alpha, seed in product(ALPHAS, SEEDS):
        yield Job(f"alpha={alpha:g}", seed, settings, partial(measure, dataset, alpha, seed))


TABLES = {"dictionary.csv": jobs}
