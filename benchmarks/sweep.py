"""A small sweep on one core and on two: is it twice as fast, and are the numbers the same?

    python benchmarks/sweep.py

The six networks of experiments/sweep_quick.yaml, one and two at a time in turn, three times each.
The ratio is that of medians of wall time, start of the worker processes included.
"""

import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import joblib

from ksae_lab.experiments import sweep

ROOT = Path(__file__).resolve().parent.parent
REPETITIONS = 3
COST = ["seconds", "memory"]


def main() -> None:
    """Time both ways side by side, and compare their tables."""
    plan = sweep.load(ROOT / "experiments" / "sweep_quick.yaml")
    seconds, tables = {1: [], 2: []}, []
    for _ in range(REPETITIONS):
        for jobs, taken in seconds.items():
            with tempfile.TemporaryDirectory() as out:
                started = perf_counter()
                with joblib.parallel_config("loky", n_jobs=jobs):
                    tables.append(sweep.run(plan, out).drop(columns=COST))
                taken.append(perf_counter() - started)
                joblib.externals.loky.get_reusable_executor().shutdown()
    for jobs, taken in seconds.items():
        print(f"{jobs} at a time: {median(taken):5.1f} s  ({min(taken):.1f} to {max(taken):.1f})")
    print(f"two are {median(seconds[1]) / median(seconds[2]):.2f} times as fast as one")
    print(f"the same numbers every time: {all(table.equals(tables[0]) for table in tables)}")


if __name__ == "__main__":
    main()
