"""Many trainings from one file: every combination is run once, and all become one table.

A sweep's file is an experiment's, with one section more that says what varies::

    training: {epochs: 20}
    sweep:
      model.k: [5, 10, 20]
      seed: [0, 1]
      recipe:
        plain: {}
        curriculum: {curriculum: {k_start: 60}, training: {noise: 0.2}}

An axis with a list is a setting and its values. An axis with names is whatever you call it, and
each name stands for the settings that it changes. Here twelve runs come of it.

Each run has a folder of its own, named after the hash of its settings, and finishes by itself:
whatever is stopped or killed, the same call goes on with what is missing. Runs go through joblib,
so where they happen is the caller's choice, by `joblib.parallel_config`.
"""

import json
import reprlib
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from ksae_lab._optional import optional
from ksae_lab.data.paths import user_path
from ksae_lab.experiments import archive, config
from ksae_lab.experiments.settings import Experiment, Settings, flat, merged, nested
from ksae_lab.experiments.train import COST, MODEL, train

if TYPE_CHECKING:
    import pandas as pd

ERROR, LOCK = "error.txt", "lock"
TABLE = "table.csv"
# What readers of tables take for a missing value, in small letters.
MISSING = {
    "",
    "na",
    "nan",
    "-nan",
    "null",
    "none",
    "n/a",
    "#n/a",
    "<na>",
    "#na",
    "1.#ind",
    "1.#qnan",
}


@dataclass(frozen=True)
class Planned:
    """One run of a sweep: its experiment, and the levels of the named axes that it stands on.

    Chapter 13.
    """

    experiment: Experiment
    levels: dict[str, str]

    def folder(self, out: str | Path) -> Path:
        """Where the run's files go, below the sweep's folder `out`."""
        return user_path(out, "folder") / "runs" / self.experiment.hash[:16]


def load(path: str | Path, changes: Sequence[str] = ()) -> list[Planned]:
    """The runs of a sweep's file, the last axis varying fastest; `changes` as in `config.load`.

    Raises `FileNotFoundError` for a missing file and `ValueError`, in one sentence, for a file that
    cannot be read, an axis without values, a run that is no experiment, and one that stands there
    twice.

    Chapter 13.
    """
    base = config.changed(config.read(path), changes)
    axes = base.pop("sweep", None)
    if not isinstance(axes, dict) or not axes:
        raise ValueError(
            f"{path} says nothing to vary; add a section such as `sweep: {{seed: [0, 1]}}`."
        )
    for name in axes:
        if not isinstance(name, str):
            raise ValueError(
                f"{path}: {name!r} is no name of what varies; give a setting, such as `model.k`."
            )
    plan: dict[str, Planned] = {}
    for combination in product(*(_levels(path, name, axis) for name, axis in axes.items())):
        settings, levels = base, {}
        for name, level, its_own in combination:
            settings = merged(settings, its_own)
            if isinstance(axes[name], dict):
                levels[name] = level
        here = ", ".join(f"{name} {level}" for name, level, _ in combination)
        run = Planned(config.check(settings, f"{path}, {here}"), levels)
        if run.experiment.hash in plan:
            raise ValueError(f"{path}, {here}: another run has the same settings; leave one out.")
        plan[run.experiment.hash] = run
    return list(plan.values())


def run(plan: Sequence[Planned], out: str | Path, *, quiet: bool = False) -> "pd.DataFrame":
    """Do what is missing of a plan in the folder `out`, and return its table.

    joblib decides where: one after the other, unless the call stands in a `with` such as
    `joblib.parallel_config(n_jobs=4)`, or, with workers that see the same folder,
    `joblib.parallel_config(backend="dask")`. Each run has one thread for its matrices, so that
    numbers do not depend on the place.
    A run that fails leaves its error in the table, and is tried again by the next call.
    A bar counts the runs, unless `quiet`. Ctrl-C raises `KeyboardInterrupt`; the table holds what
    is finished.

    Raises `ValueError` if a table of another's is in the way, `OSError` if `out` cannot be written,
    and `ChildProcessError`, one of its kinds, if a worker of this machine was killed.

    Chapter 13.
    """
    import joblib

    out = user_path(out, "folder").absolute()  # workers may stand elsewhere
    check_free(out / TABLE)
    missing = [run for run in plan if not (run.folder(out) / MODEL).exists()]
    write(table(plan, out), out / TABLE)  # whatever is wrong with the folder shows now
    done = joblib.Parallel(return_as="generator_unordered")(
        joblib.delayed(_complete)(run.experiment, run.folder(out), Path.cwd()) for run in missing
    )
    try:
        finished = len(plan) - len(missing)
        hidden: dict[str, Any] = {"disable": True} if quiet else {}
        bar = tqdm(done, "sweep", len(plan), initial=finished, unit="run", **hidden)
        for _ in bar:
            pass
    except BrokenExecutor:
        raise ChildProcessError(
            "A worker was killed, perhaps for want of memory. What is finished is kept: "
            "start again, with fewer jobs at a time."
        ) from None
    finally:
        result = table(plan, out)
        write(result, out / TABLE)
    return result


def table(plan: Sequence[Planned], out: str | Path) -> "pd.DataFrame":
    """One row for each run of the plan that is finished, or has failed, in the plan's order.

    Columns are the named axes, the settings ("model.k"), what `evaluate` says of test images, where
    training came to and what it took ("seconds" of the processor, "memory" in bytes), versions, the
    hash of the settings, and the "error" of a run that failed.

    Raises `ValueError` if a file is damaged.

    Chapter 13.
    """
    rows = []
    for run in plan:
        folder, facts, versions, error = run.folder(out), {}, {}, None
        if (folder / MODEL).exists():
            _, card = archive.read(folder / MODEL)
            with archive.understood(folder):
                cost = json.loads((folder / COST).read_text(encoding="utf-8"))
                facts = card["facts"]["metrics"] | card["facts"]["training"] | cost
            versions = {f"version.{name}": of for name, of in card["libraries"].items()}
        elif (folder / ERROR).exists():
            error = (folder / ERROR).read_text(encoding="utf-8")
        else:
            continue
        settings = flat(run.experiment.model_dump(mode="json", exclude_none=True))
        rows.append(
            run.levels
            | settings
            | facts
            | versions
            | {"experiment": run.experiment.hash, "error": error}
        )
    frame: pd.DataFrame = optional("pandas", "A sweep's table").DataFrame(rows)
    return frame


def write(result: "pd.DataFrame", path: str | Path) -> None:
    """Write a table in place of the earlier one, as .csv or .parquet.

    Raises `ValueError` for another ending, `OSError` if the disk refuses, and `ImportError` where
    Parquet's package, `ksae-lab[parquet]`, is missing.

    Chapter 13.
    """
    path = user_path(path)
    if path.suffix == ".csv":
        archive.put(path, result.to_csv(index=False).encode())
    elif path.suffix == ".parquet":
        optional("pyarrow", path, "choose .csv")
        archive.put(path, result.to_parquet(index=False))
    else:
        raise ValueError(f"{path} ends neither in .csv nor in .parquet; choose one of them.")


def check_free(path: str | Path) -> None:
    """See that a table may be written there: nothing is there, or the table of a sweep.

    Raises `ValueError` for anything else, which somebody may want to keep.

    Chapter 13.
    """
    path = user_path(path)
    if not path.exists():
        return
    pandas = optional("pandas", "A sweep's table")
    try:
        read = pandas.read_parquet if path.suffix == ".parquet" else pandas.read_csv
        columns = set(read(path).columns)
        ours = not columns or {"experiment", "error"} <= columns
    except pandas.errors.EmptyDataError:  # as a sweep begins
        ours = True
    except Exception:  # the readers have a dozen ways to fail
        ours = False
    if not ours:
        raise ValueError(
            f"{path} is there, and no table of a sweep; choose another name, or move it away."
        )


def _levels(path: str | Path, name: str, axis: object) -> list[tuple[str, str, Settings]]:
    """The axis' name with each of its levels: how it is called, and the settings it changes."""
    if isinstance(axis, dict) and axis:
        for level, changes in axis.items():
            if str(level).lower() in MISSING:
                raise ValueError(
                    f"{path}: the level {str(level)!r} of {name} would be read as a missing value "
                    "from the table; give it another name."
                )
            if not isinstance(changes, dict | None):
                raise ValueError(
                    f"{path}, {name} {level}: its settings are {reprlib.repr(changes)}; "
                    "expected sections, such as `{model: {k: 5}}`."
                )
        return [(name, str(level), changes) for level, changes in axis.items()]
    if isinstance(axis, list) and axis:
        return [(name, str(value), nested(name, value)) for value in axis]
    raise ValueError(
        f"{path}: `sweep.{name}` is {reprlib.repr(axis)}; "
        "give a list of values, or levels by name with the settings of each."
    )


def _complete(experiment: Experiment, folder: Path, base: Path) -> None:
    """One run, in whatever process it is given to; a lock keeps a second one out meanwhile.

    `base` is where the sweep was started: paths of data begin there.

    The other one may be an orphan, whose sweep was killed: the lock goes when it is done or dead.
    """
    from filelock import FileLock
    from threadpoolctl import threadpool_limits

    folder.mkdir(parents=True, exist_ok=True)
    quiet = np.errstate(over="ignore", invalid="ignore")  # training says if the loss runs away
    with FileLock(folder / LOCK), threadpool_limits(1), quiet:
        try:
            train(experiment, folder, resume=True, quiet=True, base=base)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            archive.put(folder / ERROR, text.encode())
        else:
            (folder / ERROR).unlink(missing_ok=True)
