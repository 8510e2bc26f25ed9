"""Tables that grow row by row: what is missing is measured, what is there is kept.

Many tables have the trainings of a sweep's file as rows (`training_jobs`); the rows of others are
whatever a lab measures. Either way a row is known by its variant and its seed, and is measured
again when the hash of its settings has changed.
"""

import hashlib
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from tqdm import tqdm

import ksae_lab
from ksae_lab._optional import optional
from ksae_lab.data.datasets import Dataset, load_dataset
from ksae_lab.evaluation.metrics import active_units, dead_units
from ksae_lab.experiments import archive, sweep
from ksae_lab.experiments.build import build
from ksae_lab.experiments.settings import Experiment
from ksae_lab.models.base import Coder

Row = dict[str, Any]
Key = tuple[str, int]  # a row's variant and seed
Extra = Callable[[Any, Experiment, Dataset], Row]  # model, experiment, data → further columns


@dataclass(frozen=True)
class Job:
    """One row to come: its name, its seed, the hash of its settings, and what measures it.

    Lab 2.
    """

    variant: str
    seed: int
    settings: str
    measure: Callable[[], Row]


def hash_of(settings: str) -> str:
    """The hash of what a row depends on, written out as text.

    Lab 4.
    """
    return hashlib.sha256(settings.encode()).hexdigest()


def complete(table: Path, jobs: Iterable[Job]) -> bool:
    """Whether a table has the rows that the jobs ask for, with their settings, and no others.

    Raises `ValueError` if two jobs have the same variant and seed, or if the file is no such table.

    Lab 2.
    """
    rows = {key: row["settings"] for key, row in _rows(table).items()}
    return rows == {key: job.settings[:16] for key, job in _by_key(table, jobs).items()}


def fill(table: Path, jobs: Iterable[Job]) -> None:
    """Do the jobs whose rows the table lacks, or has with other settings; the others keep theirs.

    A row is written as soon as it is measured, so that an interruption costs one row at most, and
    stays as it is written, to the last digit. Rows that no job asks for are dropped.

    Raises what `complete` raises, and `OSError` if the table cannot be written.

    Lab 2.
    """
    wanted, rows = _by_key(table, jobs), _rows(table)
    rows = {
        key: rows[key]
        for key, job in wanted.items()
        if key in rows and rows[key]["settings"] == job.settings[:16]
    }
    missing = [(key, job) for key, job in wanted.items() if key not in rows]
    if rows:  # whatever is wrong with the place shows now
        write(table, rows.values())
    for key, job in tqdm(missing, table.stem, len(wanted), initial=len(rows), unit="row"):
        own = {"variant": job.variant, "seed": job.seed, "settings": job.settings[:16]}
        rows[key] = own | job.measure()
        write(table, [rows[key] for key in wanted if key in rows])


def write(table: Path, rows: Iterable[Row]) -> None:
    """Replace a table whole, with six digits a number, below the lines that say what made it.

    Raises `OSError` if the disk refuses.

    Chapter 14.
    """
    pandas = optional("pandas", table)
    packages = f"ksae-lab {ksae_lab.__version__}, numpy {np.__version__}"
    stamp = f"# {command(table)}\n# Python {platform.python_version()}, {packages}\n"
    # In a column that holds words as well, pandas would write all digits.
    short = [{name: _short(value) for name, value in row.items()} for row in rows]
    text = pandas.DataFrame(short).to_csv(index=False, float_format="%.6g")
    archive.put(table, (stamp + text).encode())


def command(table: Path) -> str:
    """What makes a table, by the folder and the file that it lies in.

    Lab 2.
    """
    return f"make table LAB={table.resolve().parent.name} TABLE={table.stem}"


def expand(plan: str | Path) -> dict[Key, Experiment]:
    """Every (variant, seed) of a sweep's file; a variant is the levels of its named axes.

    Raises what `sweep.load` raises.

    Lab 2.
    """
    runs = sweep.load(plan)
    return {(", ".join(run.levels.values()), run.experiment.seed): run.experiment for run in runs}


def training_jobs(plan: Path, extra: Extra | None = None) -> Iterator[Job]:
    """A row for each run of a sweep's file: what `train_and_measure` says of it.

    Raises what `sweep.load` raises.

    Lab 2.
    """
    data = cache(load_dataset)

    def row(experiment: Experiment) -> Row:
        return train_and_measure(experiment, data(experiment.data), extra)

    for (variant, seed), experiment in expand(plan).items():
        yield Job(variant, seed, experiment.hash, partial(row, experiment))


def train_and_measure(experiment: Experiment, dataset: Dataset, extra: Extra | None = None) -> Row:
    """One row: errors, active units of images not seen, dead units, seconds, and what `extra` says.

    `extra` is handed the trained model, its experiment and the data.

    Lab 2.
    """
    started = time.process_time()
    run = build(experiment, dataset)
    run.fit()
    model = cast(Coder, run.model)  # experiments describe no other models
    row = measured(model, dataset, run.data[0])
    row["seconds"] = round(time.process_time() - started, 1)
    return row | extra(model, experiment, dataset) if extra else row


def measured(model: Coder, dataset: Dataset, x: np.ndarray) -> Row:
    """Errors, active and dead units of a model that learned from x (samples, d).

    Units are active for images that it has not seen, and dead for all of x.

    Chapter 8.
    """
    return {
        "validation": model.error(dataset.x_val),
        "test": model.error(dataset.x_test),
        "training": model.error(x),
        "validation_active": active_units(model.encode(dataset.x_val)).mean(),
        "active": active_units(model.encode(dataset.x_test)).mean(),
        "dead": dead_units(model.encode(x)),
    }


def _by_key(table: Path, jobs: Iterable[Job]) -> dict[Key, Job]:
    """The jobs by variant and seed."""
    result: dict[Key, Job] = {}
    for job in jobs:
        key = (job.variant, job.seed)
        if key in result:
            raise ValueError(f"{table}: {key} is asked for twice; give each row a name of its own.")
        result[key] = job
    return result


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else value


def _rows(table: Path) -> dict[Key, Row]:
    """The rows that a table has, as text, by variant and seed; none if it is not there."""
    if not table.exists():
        return {}
    rows = optional("pandas", table).read_csv(table, comment="#", dtype=str, keep_default_na=False)
    if list(rows.columns[:3]) != ["variant", "seed", "settings"]:
        raise ValueError(
            f"{table} does not begin with variant, seed and settings; move it away, and it is made."
        )
    records = cast(list[Row], rows.to_dict("records"))
    return {(row["variant"], int(row["seed"])): row for row in records}
