"""One step of training, plain and sparse, beside the encoder's product: what does each cost?

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/engine.py

The two engines take turns on the same batches of real digits, each with a network and an Adam of
its own; the product of the same shapes is timed between them, since no dense method can be faster.
Medians of wall time, in milliseconds, and ratios of these; "touched" is the share of units that a
batch selects.
"""

import copy
from time import perf_counter

import numpy as np

from ksae_lab import Adam, KSparseAutoencoder, load_dataset
from ksae_lab.engine.sparse_step import SparseStep
from ksae_lab.training.steps import PlainStep

SIZES = ((100, 10, 128), (1000, 25, 256), (4096, 32, 256), (16384, 32, 256))  # n, k, batch
WARM, STEPS = 3, 21


def compare(images: np.ndarray, n: int, k: int, batch: int) -> dict[str, float]:
    """Median milliseconds of the product, of a plain and of a sparse step; and units touched."""
    rng = np.random.default_rng(0)
    model = KSparseAutoencoder(images.shape[1], n, k, rng=rng)
    model.init_from_data(images, rng)
    plain = PlainStep(copy.deepcopy(model), Adam())
    sparse = SparseStep(copy.deepcopy(model), Adam())
    times: dict[str, list[float]] = {"product": [], "plain": [], "sparse": []}
    touched = []
    for _ in range(WARM + STEPS):
        x = images[rng.choice(len(images), batch, replace=False)]
        for name, do in (
            ("product", lambda x=x: x @ sparse.model.W_enc),
            ("plain", lambda x=x: plain((x,))),
            ("sparse", lambda x=x: sparse((x,))),
        ):
            started = perf_counter()
            result = do()
            times[name].append(perf_counter() - started)
        touched.append(result[1].active.mean())
    medians = {name: 1e3 * float(np.median(each[WARM:])) for name, each in times.items()}
    return medians | {"touched": float(np.median(touched[WARM:]))}


def main() -> None:
    images = load_dataset("mnist5k").x_train
    heads = (
        "n",
        "k",
        "batch",
        "touched",
        "product",
        "plain",
        "sparse",
        "plain/sparse",
        "s/product",
    )
    print("  ".join(f"{head:>8}" for head in heads))
    for n, k, batch in SIZES:
        found = compare(images, n, k, batch)
        product, plain, sparse = (found[name] for name in ("product", "plain", "sparse"))
        numbers = (product, plain, sparse, plain / sparse, sparse / product)
        cells = [f"{n:8}", f"{k:8}", f"{batch:8}", f"{found['touched']:8.0%}"]
        print("  ".join([*cells, *(f"{number:8.2f}" for number in numbers)]), flush=True)


if __name__ == "__main__":
    main()
