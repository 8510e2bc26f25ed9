"""Chapter 7's comparison: a row for each network, and its error at each test image."""

from functools import partial
from pathlib import Path

from ksae_lab.experiments import compared

PLAN = Path(__file__).with_name("table.yaml")
TABLES = {"table.csv": partial(compared.rows, PLAN)}
FILES = {"table.npz": compared.Errors(PLAN)}
