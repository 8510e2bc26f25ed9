"""Tables that grow row by row: what is missing is measured, what is there is kept."""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from tqdm import tqdm


@dataclass(frozen=True)
class Job:
    """One row to come: its name, its seed, the hash of its settings, and what measures it."""

    variant: str
    seed: int
    settings: str
    measure: Callable[[], dict]


def fill(table: Path, stamp: str, jobs: list[Job]) -> None:
    """Do the jobs whose rows the table lacks, or has with other settings, one row at a time."""
    done = []
    if table.exists():  # a hash may be all digits
        done = pd.read_csv(table, comment="#", dtype={"settings": str}).to_dict("records")
    kept = {(row["variant"], row["seed"]): row for row in done}
    rows = []
    for number, job in enumerate(tqdm(jobs, unit="row"), start=1):
        row = kept.get((job.variant, job.seed))
        if row is None or row["settings"] != job.settings[:16]:
            row = {"variant": job.variant, "seed": job.seed, "settings": job.settings[:16]}
            row |= job.measure()
        rows.append(row)
        later = [(job.variant, job.seed) for job in jobs[number:]]
        write(table, stamp, rows + [kept[key] for key in later if key in kept])


def provenance(command: str) -> str:
    """The lines above a table: which command made it, and with what."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("ksae-lab", "numpy"))
    return f"# python {command}\n# Python {platform.python_version()}, {packages}\n"


def write(table: Path, stamp: str, rows: list[dict]) -> None:
    """Replace the table whole, so that an interruption leaves the earlier one; six digits each."""
    new = table.with_suffix(".new")
    text = pd.DataFrame(rows).to_csv(index=False, float_format="%.6g")
    new.write_text(stamp + text, encoding="utf-8")
    new.replace(table)
