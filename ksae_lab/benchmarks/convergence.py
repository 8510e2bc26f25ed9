"""Time to quality: after how many seconds of steps does the validation error reach a level?

All ways start at the same network and see the same batches; they take turns, an epoch each. The
clock runs during steps and flushes, and stands while errors are measured. The levels are fixed
before by the plain way's last error: half as much again, a fifth, a twentieth above it.
"""

from collections.abc import Iterator
from time import perf_counter
from typing import Any

import numpy as np

from ksae_lab.benchmarks import timing, ways
from ksae_lab.training.optimizers import Adam

Row = dict[str, Any]
COLUMNS = ("seed", "error", "seconds", "reached", "times_as_fast")

Curve = list[tuple[float, float]]  # seconds so far and validation error, at the start and each end

SIZES, EPOCHS, SEEDS, BATCH = ((1000, 25), (4096, 32)), 20, range(3), 64  # n, k
QUICK_SIZES, QUICK_EPOCHS, QUICK_SEEDS = ((200, 10),), 3, range(1)
LEVELS = (1.5, 1.2, 1.05)  # of the plain way's last error
COMPARED = (ways.PLAIN, ways.ENGINE, ways.SCREENED, ways.DENSE, ways.BY_HAND)


def rows(quick: bool) -> Iterator[Row]:
    """A row for each size, seed and way, with the curve and when it reached each level, or None.

    `times_as_fast` says how many times sooner than the plain way.

    Raises `ImportError` where numba is missing.

    Lab 11.
    """
    sizes, epochs = (QUICK_SIZES, QUICK_EPOCHS) if quick else (SIZES, EPOCHS)
    for n, k in sizes:
        for seed in QUICK_SEEDS if quick else SEEDS:
            found = curves(n, k, seed, epochs)
            last = found[ways.PLAIN][-1][1]
            for way, curve in found.items():
                row: Row = {"benchmark": "convergence", "n": n, "k": k, "d": 784, "batch": BATCH}
                row |= {"way": way, "median_ms": _per_step(curve), "ratio_to_product": None}
                row |= {"error": curve[-1][1], "seconds": curve[-1][0], "seed": seed}
                row["levels"] = [level * last for level in LEVELS]
                row["reached"] = [reached(curve, level) for level in row["levels"]]
                before = [reached(found[ways.PLAIN], level) for level in row["levels"]]
                row["times_as_fast"] = [
                    plain / own if plain and own else None
                    for plain, own in zip(before, row["reached"], strict=True)
                ]
                yield row | {"curve": curve}


def curves(n: int, k: int, seed: int, epochs: int) -> dict[str, Curve]:
    """The curve of each way.

    Raises what `rows` raises.

    Lab 11.
    """
    x, unseen = ways.digits(), ways.digits(part="val")
    model = ways.network(n, k, x, seed)
    taken = ways.steps(model, Adam(), ways.at_hand(COMPARED))
    warm = ways.steps(model, Adam(), taken)  # compiles; these are thrown away
    for step in warm.values():
        step((ways.batches(x, BATCH, 1)[0],))
    del warm
    found: dict[str, Curve] = {way: [(0.0, model.error(unseen))] for way in taken}
    rng = np.random.default_rng(seed)
    for _ in timing.bar(range(epochs), f"convergence, n = {n}", epochs):
        order = rng.permutation(len(x))
        batches = [x[order[start : start + BATCH]] for start in range(0, len(x), BATCH)]
        for way, step in taken.items():
            started = perf_counter()
            for batch in batches:
                step((batch,))
            step.flush()
            seconds = found[way][-1][0] + perf_counter() - started
            found[way].append((seconds, step.model.error(unseen)))
    return found


def reached(curve: Curve, level: float) -> float | None:
    """Seconds at the first epoch's end at which the error was at most `level`; None if never.

    Lab 11.
    """
    return next((seconds for seconds, error in curve if error <= level), None)


def _per_step(curve: Curve) -> float:
    """Milliseconds of a step, in the median epoch."""
    epochs = np.diff([seconds for seconds, _ in curve])
    return 1e3 * float(np.median(epochs)) / -(-len(ways.digits()) // BATCH)
