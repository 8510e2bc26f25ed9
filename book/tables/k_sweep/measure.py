"""Chapter 13's table: what the trainings of `experiments/k_sweep.yaml` came to."""

from pathlib import Path

from ksae_lab.experiments.networks import Sweep


def the_sweep(path: Path, k_sweep: Sweep) -> None:
    """Write the table."""
    k_sweep.write(path)


FILES = {"table.csv": the_sweep}
