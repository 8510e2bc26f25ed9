"""One step of training: what does it cost, in the encoder's product?

Every way starts at the same network, a little trained, has a full Adam of its own, keeps unit rows,
and is handed the same batches in turn, on one thread. Where PyTorch is installed beside this
package, in any environment that has both, its rivals take their turns in the same process.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from ksae_lab.benchmarks import counting, timing, ways

Row = dict[str, Any]

COLUMNS = ("touched", "loss")

D = 784
# n, k, batch: the lines of the table of targets.
SIZES = ((100, 10, 128), (1000, 25, 256), (4096, 32, 256), (16384, 32, 256), (65536, 32, 256))
STEPS = 21
SETTLING = 600  # half of a training; earlier, wide networks select many units below zero
QUICK_SIZES, QUICK_STEPS = ((100, 10, 128), (200, 10, 128)), 5


def rows(quick: bool) -> Iterator[Row]:
    """A row for each size and way; `quick` has two small sizes and few steps.

    Raises `ImportError` where numba is missing.

    Chapter 17.
    """
    x = ways.digits(D)
    steps, settling = (QUICK_STEPS, QUICK_STEPS) if quick else (STEPS, SETTLING)
    for n, k, batch in QUICK_SIZES if quick else SIZES:
        yield from compare(x, n, k, batch, steps, settling)


def compare(x: np.ndarray, n: int, k: int, batch: int, steps: int, settling: int) -> list[Row]:
    """One size on images x (images, d): all ways that there are, and the product between them.

    They start where `settling` steps of the engine have led.

    Raises what `rows` raises.

    Chapter 17.
    """
    taken = ways.steps(*ways.settled(n, k, x, batch, settling), ways.at_hand())
    # Of the engine's own weights: they lie unit by unit, which is as good for a product.
    W_enc = taken[ways.ENGINE].model.W_enc
    losses: dict[str, list[float]] = {name: [] for name in taken}
    touched: list[float] = []

    def step(name: str, x: np.ndarray) -> None:
        loss, forward = taken[name]((x,))
        losses[name].append(loss)
        if name == ways.ENGINE:
            touched.append(float(np.mean(forward.active)))

    doing = {name: partial(step, name) for name in taken}
    seconds = timing.take_turns(
        {ways.PRODUCT: lambda x: x @ W_enc, **doing},
        ways.batches(x, batch, timing.WARM + steps),
        f"speed, n = {n}",
    )
    product = float(np.median(seconds[ways.PRODUCT]))
    used = float(np.median(touched[timing.WARM :]))
    result = []
    for name, each in seconds.items():
        told: Row = {"benchmark": "speed", "n": n, "k": k, "d": x.shape[1], "batch": batch}
        told |= {"way": name} | timing.summary(each)
        told["ratio_to_product"] = float(np.median(each)) / product
        told |= {"operations": _operations(name, batch, n, k, x.shape[1])}
        if name != ways.PRODUCT:
            told["loss"] = float(np.mean(losses[name][timing.WARM :]))
        if name in (ways.ENGINE, ways.SCREENED):
            moved = counting.update_bytes(round(used * n), x.shape[1])
            told |= {
                "touched": used,
                "update_bytes": moved,
                "facts": taken[name].facts,
            }
        result.append(told)
    return result


def _operations(name: str, batch: int, n: int, k: int, d: int) -> int:
    """What the way cannot do without; screening counts as the product that it stands for."""
    if name == ways.PRODUCT:
        return counting.product_operations(batch, d, n)
    if name in (ways.PLAIN, ways.DENSE):
        return counting.dense_step_operations(batch, n, d)
    return counting.sparse_step_operations(batch, n, k, d)
