"""Networks that are compared: what each came to, and its error at each test image.

A comparison that is to hold for other digits, too, needs more of a network than its mean error. So
the networks of a sweep's file are kept in `runs`, and measured twice: as rows of the table that is
named like the file, and as the errors that `ksae_lab.evaluation.statistics.difference` takes.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np

from ksae_lab.evaluation.metrics import squared_errors
from ksae_lab.experiments import archive, tables
from ksae_lab.experiments.networks import Network, Sweep
from ksae_lab.experiments.tables import Extra, Job, Row

RUNS = "runs"


def rows(plan: Path, extra: Extra | None = None) -> Iterator[Job]:
    """A row for each run of a sweep's file: what `tables.measured` and `extra` say of its network.

    Raises what `sweep.load` raises; and a job what `Sweep.train` raises, as the first one trains.

    Chapter 8.
    """
    sweep, trained = _kept(plan)

    def row(network: Network) -> Row:
        trained()
        model, data = network.model(), sweep.dataset
        found = tables.measured(model, data, data.x_train)
        return found | extra(model, network.experiment, data) if extra else found

    for variant, network in _named(sweep):
        yield Job(variant, network.seed, network.settings, partial(row, network))


def errors(plan: Path, path: Path, alpha: float = 1) -> None:
    """Write the error of each test image, an array (seeds, images) for each variant, to an .npz.

    The codes have `alpha` k units, to the nearest whole number.

    Raises what `rows` and its jobs raise, and `OSError` if the file cannot be written.

    Chapter 8.
    """
    sweep, trained = _kept(plan)
    trained()
    x = sweep.dataset.x_test
    by_variant: dict[str, list[np.ndarray]] = {}
    for variant, network in _named(sweep):
        model = network.model()
        if alpha != 1:  # a dream has no k
            model.k = round(alpha * model.k)
        each = squared_errors(x, model.reconstruct(x)).astype(np.float32)
        by_variant.setdefault(variant, []).append(each)
    archive.put_arrays(path, {name: np.array(of) for name, of in by_variant.items()})


def _kept(plan: Path) -> tuple[Sweep, Callable[[], None]]:
    """The networks of a plan, and what trains those that are missing, once."""
    sweep = Sweep(plan, Path(RUNS, plan.parent.name, plan.stem))
    return sweep, cache(sweep.train)


def _named(sweep: Sweep) -> Iterator[tuple[str, Network]]:
    """Each network with the name of its variant, the levels of its axes but for the seed."""
    for run, network in zip(sweep.runs, sweep.networks, strict=True):
        yield ", ".join(run.levels.values()), network
