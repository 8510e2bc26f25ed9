"""Every table in `notebooks/results` says which command made it: does it still ask for these rows?

The commands are run until they have said what they want, and stopped there.
"""

import importlib
import shlex
import sys
from dataclasses import replace

import pandas as pd
import pytest

from ksae_lab.data.datasets import load_dataset
from tests.repo import ROOT

RESULTS = ROOT / "notebooks" / "results"


# The others are written whole: those of sweeps, and chapter 14's.
TABLES = [
    table
    for table in sorted(RESULTS.glob("*.csv"))
    if "\nvariant,seed,settings," in table.read_text(encoding="utf-8")
]


class Asked(Exception):
    """What `fill` was called with."""


def ask(*arguments):
    raise Asked(*arguments)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.stem)
def test_the_rows_are_those_that_the_command_asks_for(table, monkeypatch):
    first = table.read_text(encoding="utf-8").splitlines()[0]
    name, *words = shlex.split(first.removeprefix("# python -m "))
    tool = importlib.import_module(name)
    if hasattr(tool, "__path__"):
        tool = importlib.import_module(f"{name}.__main__")
    monkeypatch.setattr(tool, "fill", ask)
    # What a row depends on of the images is their name; Fashion-MNIST may not be at hand.
    digits = load_dataset("mnist5k")
    for module in (tool, importlib.import_module("tools.probe")):
        monkeypatch.setattr(
            module, "load_dataset", lambda name: replace(digits, name=name), raising=False
        )
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [name, *words])
    with pytest.raises(Asked) as asked:
        tool.main()
    path, stamp, jobs = asked.value.args
    assert ROOT / path == table
    assert stamp.splitlines()[0] == first
    rows = pd.read_csv(table, comment="#", dtype={"settings": str})
    found = {(row.variant, row.seed): row.settings for row in rows.itertuples()}
    assert found == {(job.variant, job.seed): job.settings[:16] for job in jobs}
    assert len(rows) == len(jobs)
