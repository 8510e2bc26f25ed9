"""One lab, one folder: the tables that it reads, beside what makes them.

A table of a lab is made in one of three ways. A sweep's file `choice.yaml` makes `choice.csv`: each
of its runs is trained, and is a row. The Python files of the folder may say how further tables are
measured, by two dictionaries with names of files as keys::

    TABLES = {"table.csv": jobs}  # jobs() → the rows as `tables.Job`, to be measured one by one
    FILES = {"pictures.npz": draw}  # draw(path) writes a file that is made whole

A file that is made whole is complete when it is there, or when what makes it has a method
`complete(path)` that says so.

These functions take the sweeps whose networks they measure as arguments, each by the name of its
file in `experiments/`: for `def jobs(k_sweep)` the sweep `experiments/k_sweep.yaml` is trained, in
`runs/k_sweep`, before the first row is measured. A function of `FILES` takes the path first.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from ksae_lab.experiments.networks import Sweep
from ksae_lab.experiments.tables import Job, complete, fill, training_jobs

PLACES = ("notebooks", "book/tables")  # of the folders: of labs, and of chapters
SWEEPS, RUNS = "experiments", "runs"

Maker = Callable[..., Any]


def find(name: str, root: Path = Path()) -> "Lab":
    """The lab, or the chapter with tables, of this name, in the repository at `root`.

    Raises `ValueError`, with the names that there are, for another.

    Lab 2.
    """
    labs = every(root)
    if name not in labs:
        raise ValueError(f"There are no tables of {name!r}; choose from {', '.join(labs)}.")
    return labs[name]


def every(root: Path = Path()) -> dict[str, "Lab"]:
    """Each folder of the repository at `root` that says how tables are made, by its name.

    Lab 2.
    """
    folders = [folder for place in PLACES for folder in sorted((root / place).glob("*/"))]
    return {
        folder.name: Lab(folder, root)
        for folder in folders
        if any(folder.glob("*.py")) or any(folder.glob("*.yaml"))
    }


@dataclass(frozen=True)
class Lab:
    """A folder with tables, in a repository.

    Lab 2.
    """

    folder: Path
    root: Path

    @cached_property
    def modules(self) -> list[ModuleType]:
        """The Python files of the folder, imported."""
        return [_imported(path) for path in sorted(self.folder.glob("*.py"))]

    @cached_property
    def tables(self) -> dict[str, Maker]:
        """What lists the jobs of each table, by the name of its file."""
        plans = sorted(self.folder.glob("*.yaml"))
        trainings = {f"{plan.stem}.csv": partial(training_jobs, plan) for plan in plans}
        return trainings | self._gathered("TABLES")

    @cached_property
    def files(self) -> dict[str, Maker]:
        """What writes each file that is made whole, by its name."""
        return self._gathered("FILES")

    @cached_property
    def sweeps(self) -> dict[str, Sweep]:
        """The sweeps of the repository, by the names of their files."""
        plans = (self.root / SWEEPS).glob("*.yaml")
        return {plan.stem: Sweep(plan, self.root / RUNS / plan.stem) for plan in plans}

    def needs(self, maker: Maker) -> dict[str, Sweep]:
        """The sweeps that a function of `TABLES` or `FILES` takes as arguments, by name."""
        arguments = inspect.signature(maker).parameters
        return {name: sweep for name, sweep in self.sweeps.items() if name in arguments}

    def jobs(self, name: str) -> list[Job]:
        """The rows that a table should have; nothing is trained for that.

        Raises what the table's own function raises.
        """
        maker = self.tables[name]
        return list(maker(**self.needs(maker)))

    def fill(self, stem: str | None = None) -> Iterator[str]:
        """Make what is missing of the table of this name, or of all, and say what was done to each.

        Before the work, every plan is read and the images of each sweep are loaded.

        Raises `ValueError` for a name that there is not, and for whatever is wrong with a plan or a
        stored table; and what `load_dataset`, `Sweep.train` and `tables.fill` raise.
        """
        makers = {
            name: maker
            for name, maker in (self.tables | self.files).items()
            if stem in (None, Path(name).stem)
        }
        if not makers:
            stems = ", ".join(Path(name).stem for name in self.tables | self.files)
            raise ValueError(f"{self.folder} has no table {stem!r}; choose from {stems}.")
        jobs = {name: self.jobs(name) for name in makers if name in self.tables}
        to_do = {
            name: maker
            for name, maker in makers.items()
            if not self._is_complete(name, jobs.get(name))
        }
        sweeps = {name: s for maker in to_do.values() for name, s in self.needs(maker).items()}
        for sweep in sweeps.values():
            _ = sweep.dataset
        for sweep in sweeps.values():
            sweep.train()
        for name, maker in makers.items():
            path = self.folder / name
            if name not in to_do:
                yield f"{path} is complete; there is nothing to do."
            elif name in jobs:
                fill(path, jobs[name])
                yield f"{path} has its {len(jobs[name])} rows."
            else:
                maker(path, **self.needs(maker))
                yield f"{path} is made."

    def _is_complete(self, name: str, jobs: list[Job] | None) -> bool:
        path = self.folder / name
        if jobs is not None:
            return complete(path, jobs)
        is_there: Callable[[Path], bool] = getattr(self.files[name], "complete", Path.exists)
        return is_there(path)

    def _gathered(self, dictionary: str) -> dict[str, Maker]:
        return {k: v for m in self.modules for k, v in getattr(m, dictionary, {}).items()}


def _imported(path: Path) -> ModuleType:
    """A Python file as a module of a name that no other has."""
    name = f"{path.parent.name}.{path.stem}"
    spec = spec_from_file_location(name, path)
    assert spec and spec.loader
    module = module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module
