"""Ways of doing the same thing, timed in turns: what slows the machine down slows them all."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from tqdm import tqdm

WARM = 3  # first turns that are not counted: compiling, first touches of memory


def bar(items: Iterable[Any], name: str, total: int | None = None) -> Iterable[Any]:
    """The items, with a bar that shows how many are done; none in a log file.

    Chapter 17.
    """
    # Where `disable` is left out, the environment decides.
    quiet: dict[str, Any] = {} if sys.stderr.isatty() else {"disable": True}
    return tqdm(items, name, total, leave=False, **quiet)


def take_turns(
    ways: Mapping[str, Callable[[np.ndarray], Any]], batches: Sequence[np.ndarray], name: str
) -> dict[str, np.ndarray]:
    """Seconds (turns,) that each way takes for each of the batches (batch, d), warming left out.

    In each turn every way is given the same batch; who begins goes round, so that nobody always
    finds what the same other has left in the caches.

    Raises `ValueError` if warming leaves no turn.

    Chapter 17.
    """
    if len(batches) <= WARM:
        raise ValueError(f"There are {len(batches)} batches; give more than {WARM}, to warm up.")
    names = list(ways)
    seconds = {way: np.empty(len(batches)) for way in names}
    for turn, x in enumerate(bar(batches, name, len(batches))):
        first = turn % len(names)
        for way in names[first:] + names[:first]:
            started = perf_counter()
            ways[way](x)
            seconds[way][turn] = perf_counter() - started
    return {way: each[WARM:] for way, each in seconds.items()}


def summary(seconds: np.ndarray) -> dict[str, float | int]:
    """Median, quartiles and number of times (turns,), in milliseconds.

    Chapter 17.
    """
    low, median, high = 1e3 * np.quantile(seconds, (0.25, 0.5, 0.75))
    return {
        "median_ms": float(median),
        "q25_ms": float(low),
        "q75_ms": float(high),
        "steps": len(seconds),
    }
