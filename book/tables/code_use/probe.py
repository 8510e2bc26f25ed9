"""Chapter 15's first table: what a linear classifier reads off codes, and off their rivals."""

from collections.abc import Iterator

from ksae_lab.experiments.networks import Sweep
from ksae_lab.experiments.probe_table import probe_jobs
from ksae_lab.experiments.tables import Job


def jobs(short_sweep: Sweep) -> Iterator[Job]:
    """The networks of chapter 13's sweep, with k and with 2 k units, and what rivals them."""
    return probe_jobs(short_sweep)


TABLES = {"probe.csv": jobs}
