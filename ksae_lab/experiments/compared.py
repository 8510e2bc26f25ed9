"""Networks that are compared: what each came to, and its error at each test image.

A comparison that is to hold for other digits, too, needs more of a network than its mean error. So
the networks of a sweep's file are kept in `runs`, and measured twice: as rows of the table that is
named like the file, and as the errors that `ksae_lab.evaluation.statistics.difference` takes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from ksae_lab.evaluation.metrics import squared_errors
from ksae_lab.experiments import archive, tables
from ksae_lab.experiments.networks import Network, Sweep
from ksae_lab.experiments.tables import Extra, Job, Row, hash_of

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


@dataclass(frozen=True)
class Errors:
    """What writes the error of each test image, for the networks of a sweep's file, to an .npz.

    An array (seeds, images) for each variant, and "settings", the hashes of what the networks are,
    by which `complete` knows an older file. The codes have `alpha` k units, to the nearest whole
    number.

    Chapter 8.
    """

    plan: Path
    alpha: float = 1

    def __call__(self, path: Path) -> None:
        """Train what is missing, and write the file.

        Raises what `rows` and its jobs raise, and `OSError` if the file cannot be written.
        """
        sweep, trained = _kept(self.plan)
        trained()
        x = sweep.dataset.x_test
        by_variant: dict[str, list[np.ndarray]] = {}
        for variant, network in _named(sweep):
            model = network.model()
            if self.alpha != 1:  # a dream has no k
                model.k = round(self.alpha * model.k)
            each = squared_errors(x, model.reconstruct(x)).astype(np.float32)
            by_variant.setdefault(variant, []).append(each)
        arrays = {name: np.array(of) for name, of in by_variant.items()}
        archive.put_arrays(path, arrays | {"settings": np.array(self.settings)})

    def complete(self, path: Path) -> bool:
        """Whether the file is there, and of these networks."""
        if not path.exists():
            return False
        with np.load(path) as arrays:
            found = arrays["settings"].tolist() if "settings" in arrays else []
        return bool(found == self.settings)

    @property
    def settings(self) -> list[str]:
        """A hash of each network's settings and of the number of units in its code."""
        sweep, _ = _kept(self.plan)
        return [hash_of(f"{network.settings} {self.alpha:g}")[:16] for network in sweep.networks]


def _kept(plan: Path) -> tuple[Sweep, Callable[[], None]]:
    """The networks of a plan, and what trains those that are missing, once."""
    sweep = Sweep(plan, Path(RUNS, plan.parent.name, plan.stem))
    return sweep, cache(sweep.train)


def _named(sweep: Sweep) -> Iterator[tuple[str, Network]]:
    """Each network with the name of its variant, the levels of its axes but for the seed."""
    for run, network in zip(sweep.runs, sweep.networks, strict=True):
        yield ", ".join(run.levels.values()), network
