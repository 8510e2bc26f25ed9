"""Chapter 15's other tables: networks of a sweep against noise, with few labels, in little room.

    python -m tools.uses denoising experiments/k_sweep.yaml runs/k_sweep table.csv

and likewise `labels`, `compression` and `classes`.
The networks are those of a sweep over k and seeds that `python -m ksae_lab sweep` has run. A row of
the same seed draws the same noise or the same labels, whoever is measured: rows can be paired.
A row is written as soon as it is measured; started again, the command does what is missing.
"""

import argparse
from pathlib import Path

from tools.probe import stored
from tools.tables import fill, provenance
from tools.uses import classes, compression, denoising, labels

TABLES = {
    "denoising": denoising,
    "labels": labels,
    "compression": compression,
    "classes": classes,
}


def main() -> None:
    """Read the command line, and measure what the table lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("use", choices=TABLES)
    parser.add_argument("plan", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("table", type=Path)
    asked = parser.parse_args()
    dataset, networks = stored(asked.plan, asked.folder)
    rows = TABLES[asked.use].rows(networks, dataset)
    command = f"-m tools.uses {asked.use} {asked.plan} {asked.folder} {asked.table}"
    fill(asked.table, provenance(command), list(rows))


if __name__ == "__main__":
    main()
