"""One sparse step: what do the payments of idle units cost?

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/debts.py

Steps whose idle units may owe a tenth of their way, nothing or all of it take turns on the same
batches, from where 300 steps have led. A line has medians in milliseconds, and how much longer the
first two take than the last, whose units pay when they are used.
"""

import copy
from time import perf_counter

import numpy as np

from ksae_lab.data.datasets import load_dataset
from ksae_lab.engine.sparse_step import DEBT, SparseStep
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.training.optimizers import Adam

SIZES = ((1000, 25, 256), (4096, 32, 256), (16384, 32, 256), (65536, 32, 256))  # n, k, batch
SETTLING, STEPS = 300, 21


def compare(n: int, k: int, batch: int, images: np.ndarray) -> str:
    """A line of the table."""
    rng = np.random.default_rng(0)
    model = KSparseAutoencoder(images.shape[1], n, k, rng=rng)
    model.init_from_data(images, rng)
    first = SparseStep(model, Adam())
    for _ in range(SETTLING):
        first((images[rng.choice(len(images), batch)],))
    first.flush()
    taken = {}
    for debt in (DEBT, 0, 1):
        optimizer = Adam()
        optimizer.load_state(first.optimizer.state)
        taken[debt] = SparseStep(copy.deepcopy(model), optimizer, debt=debt)
    milliseconds = {debt: [] for debt in taken}
    for _ in range(3 * STEPS):
        x = images[rng.choice(len(images), batch)]
        for debt, step in taken.items():
            start = perf_counter()
            step((x,))
            milliseconds[debt].append(1e3 * (perf_counter() - start))
    some, none, late = (np.median(each[-STEPS:]) for each in milliseconds.values())
    times = f"{n:6} {some:8.1f} {none:8.1f} {late:8.1f}"
    return f"{times}   {some / late - 1:+.0%}   {none / late - 1:+.0%}"


def main() -> None:
    images = load_dataset("mnist5k").x_train
    print(f"     n  a tenth  nothing  all      above all: a tenth, nothing; debt {DEBT}, d = 784")
    for size in SIZES:
        print(compare(*size, images), flush=True)


if __name__ == "__main__":
    main()
