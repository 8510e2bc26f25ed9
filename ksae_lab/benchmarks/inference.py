"""Codes of images once training is over: how many in a second, and how soon the first.

All ways encode the same real digits with one network of a short training, in turns, on one thread.
Those that look for a code by optimisation take far longer, and take fewer turns, beside a product
of their own. `error` is the mean squared error of what W_dec draws of the codes.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ksae_lab.benchmarks import encoders, timing, ways

Row = dict[str, Any]

COLUMNS = ("p99_ms", "codes_per_second", "error", "active", "same_units")

SIZES = ((100, 10), (1000, 25), (4096, 32), (16384, 32))  # n, k
ALONE, TOGETHER = 1, 256  # images at a time
CALLS = {ALONE: 1000, TOGETHER: 21}
SEARCHES = 7  # calls of what takes long
LARGEST = 1000  # units; for more, searches encode single images only
SETTLING = 300, 128  # steps and batch of the training
JUDGED = 64  # images for errors
ENOUGH = 100  # calls from which on a 99th percentile is more than the slowest one
QUICK_SIZES, QUICK_CALLS, QUICK_SEARCHES, QUICK_SETTLING = ((60, 5), (90, 5)), 4, 1, (5, 32)


def rows(quick: bool) -> Iterator[Row]:
    """A row for each size, batch and way; `quick` has two small sizes and few calls.

    Raises `ImportError` where numba is missing.

    Chapter 17.
    """
    train, test = ways.digits(), ways.digits(part="test")
    steps, batch = QUICK_SETTLING if quick else SETTLING
    for n, k in QUICK_SIZES if quick else SIZES:
        model, _ = ways.settled(n, k, train, batch, steps)
        own = encoders.dense(model.encode(test[:JUDGED]))
        groups = (
            (encoders.encoders(model), CALLS),
            (encoders.searches(model, train), dict.fromkeys(CALLS, SEARCHES)),
        )
        for one_pass, (group, counts) in zip((True, False), groups, strict=True):
            worth = {name: judged(model, own, way, test[:JUDGED]) for name, way in group.items()}
            for size, calls in counts.items():
                if size > ALONE and n > LARGEST and not one_pass:
                    continue
                calls = (QUICK_CALLS if one_pass else QUICK_SEARCHES) if quick else calls
                images = ways.batches(test, size, timing.WARM + calls)
                doing = {ways.PRODUCT: lambda x, W=model.W_enc: x @ W, **group}
                seconds = timing.take_turns(doing, images, f"inference, n = {n}")
                for name, each in seconds.items():
                    if name == ways.PRODUCT and not one_pass:
                        continue
                    ratio = float(np.median(each) / np.median(seconds[ways.PRODUCT]))
                    yield (
                        {"benchmark": "inference", "n": n, "k": k, "d": test.shape[1]}
                        | {"batch": size, "way": name}
                        | told(each, size)
                        | {"ratio_to_product": ratio}
                        | worth.get(name, {})
                    )


def told(seconds: np.ndarray, batch: int) -> Row:
    """What the times (calls,) of a batch of that many images come to.

    Chapter 17.
    """
    slow = 1e3 * float(np.quantile(seconds, 0.99)) if len(seconds) >= ENOUGH else None
    rate = batch / float(np.median(seconds))
    return timing.summary(seconds) | {"p99_ms": slow, "codes_per_second": rate}


def judged(model: Any, own: np.ndarray, way: encoders.Way, x: np.ndarray) -> Row:
    """What a way's codes of x (images, d) are worth beside the model's `own` (images, n).

    `active` is the mean number of units that are not zero, and `same_units` the share of those of
    the model that are active here, too.

    Chapter 17.
    """
    z = encoders.dense(way(x))
    x_hat = z @ model.W_dec + model.b_dec
    return {
        "error": float(np.mean((x_hat - x) ** 2)),
        "active": float(np.count_nonzero(z, axis=1).mean()),
        "same_units": float(np.sum((z != 0) & (own != 0)) / np.sum(own != 0)),
    }
