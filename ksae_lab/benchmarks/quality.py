"""Does the engine arrive where dense Adam does? Final errors, paired by seed.

With one seed both trainings begin at the same network and see the same batches; what is compared is
their difference, in percent of the plain one's error, with Student's 95 % interval over seeds.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np

from ksae_lab.benchmarks import timing, ways
from ksae_lab.engine.choose import Engine
from ksae_lab.evaluation.statistics import interval_half_width
from ksae_lab.training.optimizers import Adam

Row = dict[str, Any]

COLUMNS = (
    *("seed", "train_error", "test_error"),
    *("train_percent", "train_low", "train_high", "test_percent", "test_low", "test_high"),
)

SIZES, EPOCHS, SEEDS, BATCH = ((1000, 25), (4096, 32)), 20, range(5), 64  # n, k
QUICK_SIZES, QUICK_EPOCHS, QUICK_SEEDS = ((200, 10),), 2, range(2)
ENGINES: dict[str, Engine] = {ways.PLAIN: "plain", ways.ENGINE: "sparse"}
DIFFERENCE = "engine against plain"
PARTS = ("train", "test")


def rows(quick: bool) -> Iterator[Row]:
    """A row for each size, seed and way, and for each size one of the differences.

    Raises `ImportError` where numba is missing.

    Lab 11.
    """
    sizes, epochs = (QUICK_SIZES, QUICK_EPOCHS) if quick else (SIZES, EPOCHS)
    seeds = QUICK_SEEDS if quick else SEEDS
    for n, k in sizes:
        measured = []
        for seed in timing.bar(seeds, f"quality, n = {n}", len(seeds)):
            for way in ENGINES:
                measured.append(train(n, k, way, seed, epochs))
                yield measured[-1]
        yield differences(measured)


def train(n: int, k: int, way: str, seed: int, epochs: int) -> Row:
    """One training, and its errors on the images it saw and on those it did not.

    Raises what `rows` raises.

    Lab 11.
    """
    x = ways.digits()
    model = deepcopy(ways.network(n, k, x, seed))
    options: dict[str, Any] = {"epochs": epochs, "batch_size": BATCH, "rng": seed, "quiet": True}
    model.fit(x, optimizer=Adam(), engine=ENGINES[way], **options)
    errors = {f"{part}_error": model.error(ways.digits(part=part)) for part in PARTS}
    return _row(n, k, way) | {"seed": seed} | errors | {"epochs": epochs}


def differences(measured: list[Row]) -> Row:
    """Of rows of one size: by how many percent the engine's errors are above the plain ones.

    Raises `ValueError` for fewer than two seeds.

    Lab 11.
    """
    row = _row(measured[0]["n"], measured[0]["k"], DIFFERENCE)
    by_way = {way: [row for row in measured if row["way"] == way] for way in ENGINES}
    for part in PARTS:
        plain, engine = (np.array([r[f"{part}_error"] for r in each]) for each in by_way.values())
        percent = 100 * (engine / plain - 1)
        mean, half = float(percent.mean()), interval_half_width(percent)
        row |= {f"{part}_percent": mean, f"{part}_low": mean - half, f"{part}_high": mean + half}
    return row | {"seeds": len(by_way[ways.PLAIN])}


def _row(n: int, k: int, way: str) -> Row:
    own = {"benchmark": "quality", "n": n, "k": k, "d": 784, "batch": BATCH, "way": way}
    return own | {"median_ms": None, "ratio_to_product": None}
