"""What Lab 11 reads off its tables: who is where after as many updates, and when at which level.

`rows` are those of one side, a row a seed, in the same order for all sides of a race.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ksae_lab.evaluation.statistics import interval_half_width

Along = Callable[[Any], np.ndarray]  # a row → what has been spent by the end of each epoch


def read(path: str) -> pd.DataFrame:
    """A table by size, batch, side and seed, its curves as arrays (epochs,)."""
    table = pd.read_csv(path, comment="#")
    for curve in table.filter(like="_by_epoch"):
        texts = table[curve].astype(str)
        table[curve] = [np.array(text.split(), float) for text in texts]
    one_race = table.groupby(["n", "batch", "rate", "seed"])["race"].nunique() == 1
    assert one_race.all(), "sides that are compared must have taken turns"
    return table.set_index(["n", "batch", "engine", "seed"]).sort_index()


def epochs(row: pd.Series) -> np.ndarray:
    """Epochs that are done."""
    return np.arange(1, row["epochs"] + 1)


def updates(row: pd.Series) -> np.ndarray:
    """Updates until then."""
    return epochs(row) * row["updates"] / row["epochs"]


def seconds(row: pd.Series) -> np.ndarray:
    """Seconds of training until then."""
    return np.cumsum(row["seconds_by_epoch"])


def each(rows: pd.DataFrame) -> list[pd.Series]:
    """The rows one by one."""
    return [row for _, row in rows.iterrows()]


def best(rows: pd.DataFrame) -> np.ndarray:
    """The least validation error of each seed: (seeds,)."""
    return np.array([curve.min() for curve in rows["validation_by_epoch"]])


def above(
    rows: pd.DataFrame, plain: pd.DataFrame, part: str = "test", epoch: int | None = None
) -> np.ndarray:
    """Percent above the plain side after an epoch, or after as many as both have: (seeds,)."""
    found = []
    for row, base in zip(each(rows), each(plain), strict=True):
        last = (epoch or min(row["epochs"], base["epochs"])) - 1
        error, reference = (of[f"{part}_by_epoch"][last] for of in (row, base))
        found.append(100 * (error / reference - 1))
    return np.array(found)


def reached(errors: Sequence[float], at: Sequence[float], level: float) -> float:
    """Where, `at` seconds or updates so far, the error first comes to a level; NaN if never.

    Between the ends of two epochs it falls on a straight line.
    """
    for i, (error, here) in enumerate(zip(errors, at, strict=True)):
        if error <= level:
            if i == 0:
                return here
            share = (errors[i - 1] - level) / (errors[i - 1] - error)
            return at[i - 1] + share * (here - at[i - 1])
    return float("nan")


def to_level(rows: pd.DataFrame, levels: np.ndarray, along: Along) -> np.ndarray:
    """Where each seed comes to its own level: (seeds,), NaN where it never does."""
    pairs = zip(each(rows), levels, strict=True)
    return np.array(
        [reached(row["validation_by_epoch"], along(row), level) for row, level in pairs]
    )


def price(rows: pd.DataFrame) -> np.ndarray:
    """Seconds of an epoch: (seeds,)."""
    return np.array([spent.mean() for spent in rows["seconds_by_epoch"]])


def touched(rows: pd.DataFrame) -> float:
    """Units that a batch selects, on average over epochs and seeds."""
    return float(np.mean([counts.mean() for counts in rows["touched_by_epoch"]]))


def told(values: np.ndarray, digits: int = 1) -> str:
    """Mean and interval of what was found, without the seeds that found nothing."""
    there = values[np.isfinite(values)]
    if not len(there):
        return "never"
    half = f" ± {interval_half_width(there):.{digits}f}" if len(there) > 1 else ""
    return f"{there.mean():.{digits}f}{half}".replace("-", "−")
