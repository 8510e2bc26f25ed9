"""How the time of a step grows, in units, active units, features, images a step and images in all.

One size varies at a time; plain step and engine take turns, the product of the same shapes between
them. Each way's times get a law, time ~ size^a, and the sizes between which it does not hold. Of an
epoch the time is that of its steps and of the flush at its end.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from ksae_lab.benchmarks import laws, timing, ways

Row = dict[str, Any]

COLUMNS = ("varies", "images", "exponent", "low", "high", "breaks")

BASE = {"n": 4096, "k": 32, "d": 784, "batch": 256}
SIZES = {
    "n": (512, 1024, 2048, 4096, 8192, 16384, 32768),
    "k": (4, 8, 16, 32, 64, 128),
    "d": (98, 196, 392, 784, 1568, 3136),
    "batch": (16, 32, 64, 128, 256, 512, 1024),
    "images": (512, 1024, 2048, 4096, 8192),
}
QUICK_BASE = {"n": 256, "k": 8, "d": 98, "batch": 32}
QUICK_SIZES = {"n": (128, 256, 512), "k": (4, 8, 16), "images": (64, 128, 256)}
STEPS, SETTLING, QUICK_STEPS = 11, 100, 3
COMPARED = (ways.PLAIN, ways.ENGINE)


def rows(quick: bool) -> Iterator[Row]:
    """A row for each size and way, and one for each law, with None in place of what varies.

    Raises `ImportError` where numba is missing.

    Chapter 17.
    """
    base, counts = (QUICK_BASE, (QUICK_STEPS,) * 2) if quick else (BASE, (STEPS, SETTLING))
    for varied, sizes in (QUICK_SIZES if quick else SIZES).items():
        measured = [row for size in sizes for row in at(varied, size, base, *counts)]
        yield from measured
        yield from laws_of(measured, varied, base)


def at(varied: str, size: int, base: dict[str, int], steps: int, settling: int) -> list[Row]:
    """The ways at one size of what varies, the others as in `base`, after `settling` steps.

    Raises what `rows` raises.

    Chapter 17.
    """
    sizes = base | {varied: size}
    n, k, d, batch = (sizes[name] for name in ("n", "k", "d", "batch"))
    x = ways.digits(d)
    taken = ways.steps(*ways.settled(n, k, x, batch, settling), COMPARED)
    name = f"scale, {varied} = {size}"
    if varied == "images":
        doing: dict[str, Callable[[np.ndarray], Any]]
        doing = {way: partial(_epoch, taken[way], batch) for way in taken}
        turns = ways.batches(x, size, timing.WARM + steps)
    else:
        W_enc = taken[ways.ENGINE].model.W_enc
        doing = {way: partial(_step, taken[way]) for way in taken}
        doing |= {ways.PRODUCT: lambda x: x @ W_enc}
        turns = ways.batches(x, batch, timing.WARM + steps)
    seconds = timing.take_turns(doing, turns, name)
    product = float(np.median(seconds[ways.PRODUCT])) if ways.PRODUCT in seconds else None
    own: Row = {"benchmark": "scale", "n": n, "k": k, "d": d, "batch": batch}
    return [
        own
        | {"way": way}
        | timing.summary(each)
        | {"ratio_to_product": float(np.median(each)) / product if product else None}
        | {"varies": varied, "images": sizes.get("images")}
        for way, each in seconds.items()
    ]


def laws_of(measured: list[Row], varied: str, base: dict[str, int]) -> list[Row]:
    """A row for each way, with the law that its times in `measured` follow as `varied` grows.

    Raises what `laws.fit` raises.

    Chapter 17.
    """
    result = []
    for way in dict.fromkeys(row["way"] for row in measured):
        own = [row for row in measured if row["way"] == way]
        law = laws.fit([row[varied] for row in own], [row["median_ms"] for row in own])
        row: Row = {"benchmark": "scale"} | base | {"way": way}
        row |= {"median_ms": None, "ratio_to_product": None, "varies": varied, "images": None}
        result.append(row | {varied: None} | law.told())
    return result


def _step(step: Any, x: np.ndarray) -> None:
    step((x,))


def _epoch(step: Any, batch: int, x: np.ndarray) -> None:
    for start in range(0, len(x), batch):
        step((x[start : start + batch],))
    step.flush()
