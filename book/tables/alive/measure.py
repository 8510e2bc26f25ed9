"""Chapter 8's comparison of remedies: a row for each network, and its error at each test image."""

from functools import partial
from pathlib import Path

from ksae_lab.experiments import compared

NAMES = ("table", "twice", "resting", "apart")
PLANS = [Path(__file__).with_name(f"{name}.yaml") for name in NAMES]
TABLES = {f"{plan.stem}.csv": partial(compared.rows, plan) for plan in PLANS}
FILES = {f"{plan.stem}.npz": compared.Errors(plan) for plan in PLANS}
