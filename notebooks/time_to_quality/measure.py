"""Lab 11's tables: how long a network takes to become as good as it gets, by engine and batch.

In a race all sides start at the same network and see the same batches, and they take turns, an
epoch each. The clock is the processor's, of one thread, and runs during steps and flushes, not
while errors are measured. A side leaves when its validation error has stopped falling (`stopped`).
The rate of each batch size is what validation digits preferred in `choice.csv`.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ksae_lab.benchmarks import machine
from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.engine.sparse_step import SparseStep
from ksae_lab.evaluation.metrics import dead_units
from ksae_lab.experiments.tables import Job, Row, hash_of
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn.module import ForwardPass
from ksae_lab.training.loop import Callback, Trainer
from ksae_lab.training.optimizers import Adam
from ksae_lab.training.steps import PlainStep

SIZES = {1000: 25, 4096: 32}  # n: k
SEEDS, MAIN, BATCHES = range(5), 64, (64, 128, 256, 512)
GRID = (0.002, 0.004, 0.008, 0.016)
RATES = {
    **{(1000, 64): 0.004, (1000, 128): 0.004, (1000, 256): 0.008, (1000, 512): 0.008},
    **{(4096, 64): 0.004, (4096, 128): 0.004, (4096, 256): 0.004, (4096, 512): 0.008},
}
# Training stops where three epochs bring less than two percent; not before the tenth, since large
# batches overshoot in their first epochs and come back.
FALL, SPAN, LEAST, LONGEST = 0.02, 3, 10, 40
STARTS = range(2)


class LazyStep(SparseStep):
    """The engine's step with all debts forgiven: units that no image reached stay as they are."""

    def __init__(self, model: KSparseAutoencoder, optimizer: Adam):
        super().__init__(model, optimizer, debt=1)  # else they would pay before they are forgiven

    def __call__(self, batch: tuple[np.ndarray, ...]) -> tuple[float, ForwardPass]:
        """Take one step on x (batch, d), and forget who has missed it."""
        result = super().__call__(batch)
        self.idle[:] = 0
        return result


SIDES: dict[str, Callable[..., Any]] = {
    "plain": PlainStep,
    "sparse": SparseStep,
    "lazy": LazyStep,
}


class Touched(Callback):
    """Counts the units that a batch selects, on average over an epoch."""

    reads_weights = False

    def __init__(self) -> None:
        self.counts: list[int] = []

    def after_step(self, trainer: Trainer, forward: ForwardPass) -> None:
        """Count."""
        self.counts.append(np.count_nonzero(forward.active))

    def mean(self) -> float:
        """The mean since it was last asked for."""
        mean, self.counts = float(np.mean(self.counts)), []
        return mean


class Side:
    """One training of a race, and what it has come to after each epoch."""

    def __init__(self, name: str, n: int, batch: int, rate: float, seed: int, x: np.ndarray):
        rng = np.random.default_rng(seed)
        self.model = KSparseAutoencoder(x.shape[1], n, SIZES[n], rng=rng)
        self.model.init_from_data(x, rng)
        self.touched = Touched()
        options = {"quiet": True, "callbacks": [self.touched], "make_step": SIDES[name]}
        self.trainer = Trainer(self.model, (x,), Adam(rate), LONGEST, batch, rng, **options)
        self.trainer.prepare()
        names = "validation", "test", "seconds", "touched"
        self.curves: dict[str, list[float]] = {name: [] for name in names}

    def one_epoch(self, dataset: Dataset) -> None:
        """Train for an epoch, by the clock, and then measure."""
        started = time.process_time()
        self.trainer.one_epoch()
        seconds = time.process_time() - started
        errors = [self.model.error(x) for x in (dataset.x_val, dataset.x_test)]
        numbers = *errors, seconds, self.touched.mean()
        for curve, number in zip(self.curves.values(), numbers, strict=True):
            curve.append(number)


def stopped(errors: Sequence[float]) -> bool:
    """Whether the last epochs, `SPAN` of them, have lowered the least error by less than `FALL`.

    Never before `LEAST` epochs.
    """
    return len(errors) >= LEAST and min(errors) > (1 - FALL) * min(errors[:-SPAN])


@cache
def race(
    n: int, batch: int, rate: float, seed: int, sides: tuple[tuple[str, int], ...]
) -> dict[str, Row]:
    """A row for each side, given with the most epochs that it may take."""
    dataset = _digits()
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    with threadpool_limits(1):
        for name, _ in sides:  # compiles; this one is thrown away
            Side(name, n, batch, rate, seed, dataset.x_train[:batch]).trainer.one_epoch()
        running = {name: Side(name, n, batch, rate, seed, dataset.x_train) for name, _ in sides}
        every, turn = dict(running), 0
        while running:
            first = turn % len(running)
            for name in [*list(running)[first:], *list(running)[:first]]:
                running[name].one_epoch(dataset)
            turn += 1
            over = [name for name, most in sides if turn >= min(most, LONGEST)]
            over += [name for name, s in running.items() if stopped(s.curves["validation"])]
            running = {name: side for name, side in running.items() if name not in over}
        shared = {"n": n, "k": SIZES[n], "batch": batch, "rate": rate, "race": begun} | _machine()
        return {name: shared | _outcome(name, side, dataset) for name, side in every.items()}


def _outcome(name: str, side: Side, dataset: Dataset) -> Row:
    """What a side has come to; its curves are texts, a number an epoch."""
    curves, facts = side.curves, side.trainer.step.facts
    return {
        "engine": name,
        "screen": facts.get("screen", "none"),
        "epochs": len(curves["validation"]),
        "updates": side.trainer.optimizer.steps,
        "validation": curves["validation"][-1],
        "test": curves["test"][-1],
        "training": side.model.error(dataset.x_train),
        "dead": dead_units(side.model.encode(dataset.x_train)),
        "seconds": sum(curves["seconds"]),
    } | {f"{key}_by_epoch": " ".join(f"{x:.5g}" for x in of) for key, of in curves.items()}


@cache
def _digits() -> Dataset:
    return load_dataset("mnist5k")


@cache
def _machine() -> Row:
    card = machine.card()
    return {"processor": card["processor"], "threads": 1, "gflops": card["gflops_float32_product"]}


def _jobs(
    name: str, n: int, batch: int, rate: float, seed: int, *sides: tuple[str, int]
) -> Iterator[Job]:
    """The rows of one race."""
    settings = hash_of(f"{SIZES[n]} {n} {batch} {rate} {sides} {FALL} {SPAN} {LEAST} {LONGEST}")
    for side, _ in sides:
        measure = partial(_row, side, (n, batch, rate, seed, sides))
        yield Job(f"{name}, {side}", seed, settings, measure)


def _row(side: str, of: tuple[Any, ...]) -> Row:
    return race(*of)[side]


def jobs() -> Iterator[Job]:
    """The races of all three sides, with the main batch size."""
    for n in SIZES:
        for seed in SEEDS:
            sides = [(side, LONGEST) for side in SIDES]
            yield from _jobs(f"n={n}", n, MAIN, RATES[n, MAIN], seed, *sides)


def by_batch() -> Iterator[Job]:
    """The engine with other batch sizes; the plain side runs an epoch beside it, for its price."""
    for n in SIZES:
        for batch in BATCHES:
            if batch != MAIN:
                for seed in SEEDS:
                    sides = ("sparse", LONGEST), ("plain", 1)
                    name = f"n={n}, batch={batch}"
                    yield from _jobs(name, n, batch, RATES[n, batch], seed, *sides)


def choice() -> Iterator[Job]:
    """What the rates were chosen by: the engine with each; and lazy steps, with the main batch."""
    for n in SIZES:
        for batch in BATCHES:
            for rate in GRID:
                sides = ["sparse", "lazy"] if batch == MAIN else ["sparse"]
                name = f"n={n}, batch={batch}, rate={rate}"
                yield from _jobs(name, n, batch, rate, 0, *((side, LONGEST) for side in sides))


FIRST_STEP = """
import sys, time
import numpy as np
from ksae_lab import Adam, KSparseAutoencoder
from ksae_lab.engine.choose import step_of
model = KSparseAutoencoder(784, 1000, 25, rng=0)
x = np.random.default_rng(0).random((64, 784), dtype=np.float32)
started = time.process_time()
step_of(sys.argv[1])(model, Adam())((x,))
print(time.process_time() - started)
"""


def first_step() -> Row:
    """The processor's seconds until the first step is done: compiled anew, compiled before, plain.

    "Before" means by another process of the same machine, which has left what it compiled.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder, "OMP_NUM_THREADS": "1"}
        engines = {"anew": "sparse", "before": "sparse", "plain": "plain"}
        command = [sys.executable, "-c", FIRST_STEP]
        return {
            name: float(subprocess.check_output([*command, engine], env=environment))
            for name, engine in engines.items()
        }


def start() -> Iterator[Job]:
    """What a first step costs before there is anything to gain."""
    for repetition in STARTS:
        yield Job("first step", repetition, hash_of(FIRST_STEP), first_step)


TABLES = {
    "table.csv": jobs,
    "batches.csv": by_batch,
    "choice.csv": choice,
    "start.csv": start,
}
