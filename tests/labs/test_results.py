"""Every stored table has the rows that its lab asks for, with the settings that it has today."""

import pandas as pd
import pytest

from ksae_lab.experiments import labs, tables
from ksae_lab.experiments.compared import Errors
from tests.labs.imported import module
from tests.repo import ROOT, name

LABS = labs.every(ROOT)
TABLES = [(lab, table) for lab in LABS for table in LABS[lab].tables]
STORED = sorted([*ROOT.glob("notebooks/*/*.csv"), *ROOT.glob("book/tables/*/*.csv")])


@pytest.mark.parametrize(("lab", "table"), TABLES)
def test_the_rows_are_those_that_the_lab_asks_for(lab, table):
    path, jobs = LABS[lab].folder / table, LABS[lab].jobs(table)
    rows = pd.read_csv(path, comment="#", dtype={"settings": str})
    stored = list(zip(rows.variant, rows.seed, rows.settings, strict=True))
    assert stored == [(job.variant, job.seed, job.settings[:16]) for job in jobs]
    assert tables.complete(path, jobs)


# What is made whole has no hash of its settings, so its rows are held against the sweep itself.


@pytest.mark.parametrize(
    ("path", "sweep"),
    [("book/tables/k_sweep/table.csv", "k_sweep"), ("notebooks/fashion/sweep.csv", "fashion")],
)
def test_the_table_of_a_sweep_has_its_runs(path, sweep):
    rows = pd.read_csv(ROOT / path)
    lab = LABS["k_sweep"]
    assert list(rows.experiment) == [network.settings for network in lab.sweeps[sweep].networks]
    assert rows.error.isna().all()


def test_rates_are_those_of_the_sweep_for_every_step_and_quality():
    rows = pd.read_csv(ROOT / "book" / "tables" / "code_cost" / "table.csv", comment="#")
    measure, networks = module("code_cost"), LABS["k_sweep"].sweeps["k_sweep"].networks
    of_networks = rows[rows.method == "k-sparse"]
    wanted = [(n.k, n.seed, step) for n in networks for step in measure.STEPS]
    found = zip(of_networks.k, of_networks.seed, of_networks.step, strict=True)
    assert list(found) == wanted
    half = rows[rows.method == "k-sparse, half as long"]
    assert tuple(half.step) == measure.STEPS
    assert set(zip(half.k, half.seed, strict=True)) == {(10, 0)}
    counts = rows.method.value_counts()
    assert {name: counts[name] for name in counts.index if name.startswith("PCA")} == {
        "PCA, 100 axes": len(measure.STEPS),
        "PCA, all axes": len(measure.STEPS),
    }
    for method in ("JPEG, file", "JPEG, scan", "JPEG, mosaic"):
        assert tuple(rows[rows.method == method].quality) == measure.QUALITIES


def test_no_table_is_stored_that_no_lab_makes():
    made = {lab.folder / file for lab in LABS.values() for file in lab.tables | lab.files}
    assert set(STORED) <= made
    assert all(path.exists() for path in made)


def test_files_of_errors_are_of_the_networks_that_are_asked_for():
    wholes = [
        (maker, lab.folder / file) for lab in LABS.values() for file, maker in lab.files.items()
    ]
    errors = [(maker, path) for maker, path in wholes if isinstance(maker, Errors)]
    assert errors and all(maker.complete(path) for maker, path in errors)


@pytest.mark.parametrize("path", STORED, ids=name)
def test_the_first_line_says_what_makes_the_table(path):
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    if first.startswith("#"):
        assert first == f"# {tables.command(path)}"
    else:  # as a sweep writes it
        assert "experiment" in first.split(",")
