"""Codes of images once training is over: how many in a second, and how soon the first.

All ways encode the same real digits with one network of a short training, in turns, on one thread.
Those that look for a code by optimisation take far longer, and take fewer turns, beside a product
of their own. `error` is the mean squared error of what W_dec draws of the codes.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ksae_lab.benchmarks import encoders, timing, ways
from ksae_lab.models.k_sparse import KSparseAutoencoder

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
    calls = dict.fromkeys(CALLS, QUICK_CALLS) if quick else CALLS
    searches = QUICK_SEARCHES if quick else SEARCHES
    for n, k in QUICK_SIZES if quick else SIZES:
        model, _ = ways.settled(n, k, train, batch, steps)
        yield from compare(model, encoders.encoders(model), test, calls)
        few = dict.fromkeys(CALLS if n <= LARGEST else (ALONE,), searches)
        for row in compare(model, encoders.searches(model, train), test, few):
            if row["way"] != ways.PRODUCT:  # with more calls it has its rows
                yield row


def compare(
    model: KSparseAutoencoder, group: dict[str, encoders.Way], x: np.ndarray, calls: dict[int, int]
) -> Iterator[Row]:
    """A row for each size of batch in `calls`, which says how often, and each way of a group.

    They encode images of x (images, d), and take turns with the product of W_enc.

    Chapter 17.
    """
    own = model.encode(x[:JUDGED])
    worth = {name: judged(model, own, way, x[:JUDGED]) for name, way in group.items()}
    W_enc, (n, d) = model.W_enc, model.W_dec.shape
    doing: dict[str, encoders.Way] = {ways.PRODUCT: lambda x: x @ W_enc, **group}
    for batch, count in calls.items():
        images = ways.batches(x, batch, timing.WARM + count)
        seconds = timing.take_turns(doing, images, f"inference, n = {n}")
        product = float(np.median(seconds[ways.PRODUCT]))
        for way, each in seconds.items():
            named = {"benchmark": "inference", "n": n, "k": model.k, "d": d, "batch": batch}
            times = told(each, batch) | {"ratio_to_product": float(np.median(each)) / product}
            yield named | {"way": way} | times | worth.get(way, {})


def told(seconds: np.ndarray, batch: int) -> Row:
    """What the times (calls,) of a batch of that many images come to.

    Chapter 17.
    """
    slow = 1e3 * float(np.quantile(seconds, 0.99)) if len(seconds) >= ENOUGH else None
    rate = batch / float(np.median(seconds))
    return timing.summary(seconds) | {"p99_ms": slow, "codes_per_second": rate}


def judged(model: KSparseAutoencoder, own: np.ndarray, way: encoders.Way, x: np.ndarray) -> Row:
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
