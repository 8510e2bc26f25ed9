"""Train the variants of a lab's file with several seeds, and keep one row of a table for each.

    python tools/repeat.py experiments/labs/lab_2.yaml notebooks/results/lab_2.csv

A lab's file holds `base`, the settings that all share; `factors`, a list of what is varied, each
with its levels by name and the settings of each; and `seeds`. All combinations are trained.
`alphas`, if given, asks for codes of α k units as well: their error, and that of a linear
classifier on them.
A row is written as soon as its training is done. Started again, the command trains what is missing
or has other settings now, and keeps the rest.
"""

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ksae_lab.data import Dataset, load_dataset
from ksae_lab.experiment import build
from ksae_lab.metrics import active_units, dead_units
from ksae_lab.settings import Experiment
from ksae_lab.sparse_dream import SparseDream


def expand(plan: dict) -> dict[tuple[str, int], Experiment]:
    """Every (variant, seed) of a lab's file, as an experiment; a variant is "level, level, …"."""
    experiments = {}
    for levels in product(*(factor.items() for factor in plan["factors"])):
        settings = plan["base"]
        for _, changes in levels:
            settings = merged(settings, changes)
        name = ", ".join(name for name, _ in levels)
        for seed in plan["seeds"]:
            experiments[name, seed] = Experiment.model_validate(settings | {"seed": seed})
    return experiments


def merged(base: dict, changes: dict | None) -> dict:
    """`base` with `changes`, section by section."""
    result = dict(base)
    for key, value in (changes or {}).items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if both else value
    return result


def train_and_measure(experiment: Experiment, dataset: Dataset, alphas: list[float]) -> dict:
    """One row: errors, active units of test images, dead units, seconds, and what α gives."""
    started = time.process_time()
    run = build(experiment, dataset)
    run.go()
    model = run.model
    row = {
        "validation": model.error(dataset.x_val),
        "test": model.error(dataset.x_test),
        "training": model.error(run.data[0]),
        "validation_active": active_units(model.encode(dataset.x_val)).mean(),
        "active": active_units(model.encode(dataset.x_test)).mean(),
        "dead": dead_units(model.encode(run.data[0])),
        "seconds": round(time.process_time() - started, 1),
    }
    if isinstance(model, SparseDream):
        row["overlap"] = agreement_with_overlaps(model)
    for alpha in alphas:
        model.k = round(alpha * experiment.model.k)
        row[f"test_alpha_{alpha:g}"] = model.error(dataset.x_test)
        row[f"probe_alpha_{alpha:g}"] = probe_error(model, dataset)
    return {name: float(f"{value:.6g}") for name, value in row.items()}


def agreement_with_overlaps(model: SparseDream) -> float:
    """The correlation of S with −W Wᵀ off the diagonal: 1 where units hush whom they resemble."""
    pairs = ~np.eye(len(model.S), dtype=bool)
    return float(np.corrcoef(model.S[pairs], -(model.W @ model.W.T)[pairs])[0, 1])


def probe_error(model, dataset: Dataset) -> float:
    """The share of test images that a logistic regression on the codes puts into a wrong class."""
    scale = StandardScaler(with_mean=False)
    z_train = scale.fit_transform(model.encode(dataset.x_train))
    probe = LogisticRegression(C=0.1, max_iter=500).fit(z_train, dataset.y_train)
    z_test = scale.transform(model.encode(dataset.x_test))
    return float(np.mean(probe.predict(z_test) != dataset.y_test))


def main() -> None:
    """Read the command line, and train what the table lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plan", type=Path)
    parser.add_argument("table", type=Path)
    arguments = parser.parse_args()
    plan = yaml.safe_load(arguments.plan.read_text(encoding="utf-8"))
    dataset = load_dataset(plan["base"].get("data", "mnist5k"))
    alphas = plan.get("alphas", [])
    jobs = [
        Job(name, seed, experiment.hash, partial(train_and_measure, experiment, dataset, alphas))
        for (name, seed), experiment in expand(plan).items()
    ]
    fill(arguments.table, provenance(f"tools/repeat.py {arguments.plan} {arguments.table}"), jobs)


@dataclass(frozen=True)
class Job:
    """One row to come: its name, its seed, the hash of its settings, and what measures it."""

    variant: str
    seed: int
    settings: str
    measure: Callable[[], dict]


def fill(table: Path, stamp: str, jobs: list[Job]) -> None:
    """Do the jobs whose rows the table lacks, or has with other settings, one row at a time."""
    done = pd.read_csv(table, comment="#").to_dict("records") if table.exists() else []
    kept = {(row["variant"], row["seed"]): row for row in done}
    rows = []
    for number, job in enumerate(jobs, start=1):
        row = kept.get((job.variant, job.seed))
        if row is None or row["settings"] != job.settings[:16]:
            row = {"variant": job.variant, "seed": job.seed, "settings": job.settings[:16]}
            row |= job.measure()
            print(row, flush=True)
        rows.append(row)
        later = [(job.variant, job.seed) for job in jobs[number:]]
        write(table, stamp, rows + [kept[key] for key in later if key in kept])


def provenance(command: str) -> str:
    """The lines above a table: which command made it, and with what."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("ksae-lab", "numpy"))
    return f"# python {command}\n# Python {platform.python_version()}, {packages}\n"


def write(table: Path, stamp: str, rows: list[dict]) -> None:
    """Replace the table whole, so that an interruption leaves the earlier one."""
    new = table.with_suffix(".new")
    new.write_text(stamp + pd.DataFrame(rows).to_csv(index=False), encoding="utf-8")
    new.replace(table)


if __name__ == "__main__":
    main()
