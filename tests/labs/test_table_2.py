"""Lab 2's tables: against scikit-learn's own coder, and contests that can be done by hand."""

import csv
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.metrics import squared_errors
from ksae_lab.evaluation.statistics import difference
from ksae_lab.experiments.rival_atoms import Atoms, by_omp
from tests.labs.imported import module
from tests.repo import ROOT

measure, atoms = module("table_2"), module("table_2", "atoms")
SIZES = {"x_train": 300, "y_train": 300, "x_val": 30, "y_val": 30, "x_test": 40, "y_test": 40}


@pytest.mark.parametrize("name", measure.RIVALS)
def test_a_rival_has_an_error_for_each_digit(name, monkeypatch):
    digits = load_dataset()
    few = {part: getattr(digits, part)[:size] for part, size in SIZES.items()}
    monkeypatch.setattr(measure, "digits", lambda: replace(digits, **few))
    monkeypatch.setattr(measure, "UNITS", 12)
    monkeypatch.setattr(measure, "WEIGHTS", (0.1, 2.4))
    for budget in ("NMF_ROUNDS", "KSVD_ROUNDS", "EPOCHS"):
        monkeypatch.setattr(measure, budget, 1)
    for cached in ("dictionary", "factors", "priced"):
        monkeypatch.setattr(measure, cached, getattr(measure, cached).func)
    open_to_it = measure.OPEN.get(name, measure.OPEN["dictionary + OMP"])
    errors = measure.rival.func(name, 3, 0, open_to_it[0], 1)
    assert errors["test"].shape == (40,) and errors["validation"].shape == (30,)
    spread = few["x_test"].astype(float).var(axis=0).mean()
    assert 0 < errors["test"].mean() < 1.5 * spread


def test_a_verdict_draws_seeds_and_digits(monkeypatch):
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(5, 50)), 0.3 + rng.normal(size=(3, 50))
    monkeypatch.setattr(measure, "seeds", lambda name, budget: (0, 1, 2))
    monkeypatch.setattr(measure, "of_networks", lambda k, budget, what: {"test": ours})
    monkeypatch.setattr(
        measure, "rival", lambda name, k, seed, setting, budget: {"test": theirs[seed]}
    )
    row = measure.verdict("one pass", "PCA", 10, (0,), "once")
    expected = difference(ours, theirs)
    assert (row["difference"], row["half_width"], row["p"]) == (
        expected.mean,
        expected.half_width,
        expected.p,
    )
    assert row["network"] - row["rival"] == pytest.approx(expected.mean)


def test_every_rival_has_the_setting_that_validation_preferred():
    lines = (ROOT / "notebooks/table_2/trials.csv").read_text(encoding="utf-8").splitlines()
    trials = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    for name, k, setting in measure.contests():
        own = name if name in measure.OPEN else name.removesuffix(", non-negative")
        of_it = [row for row in trials if row["variant"].startswith(f"{own}, k={k}: ")]
        assert len(of_it) == len(measure.OPEN.get(own, ()))
        if of_it:
            best = min(of_it, key=lambda row: float(row["validation"]))
            text = " ".join(f"{number:g}" for number in setting)
            assert best["variant"].endswith(f": {text}")
        else:
            assert setting == ()


@pytest.mark.parametrize(
    ("constant", "value", "tables"),
    [
        ("PASSES", 21, ("trials", "rivals", "verdicts")),
        ("WEIGHTS", (1, 2), ("trials", "rivals", "verdicts")),
        ("seeds", lambda name, budget: (7,), ("verdicts",)),
    ],
)
def test_rows_are_measured_again_when_a_budget_or_the_seeds_change(
    monkeypatch, constant, value, tables
):
    def hashes(table):
        return {(j.variant, j.seed): j.settings for j in measure.TABLES[f"{table}.csv"]()}

    before = {table: hashes(table) for table in tables}
    monkeypatch.setattr(measure, constant, value)
    for table in tables:
        after = hashes(table)
        assert all(after[key] != settings for key, settings in before[table].items())


def test_atoms_are_compared_over_seeds_and_digits(monkeypatch):
    rng = np.random.default_rng(0)
    x, W = rng.normal(size=(2, 30, 16)), np.eye(16)
    few = {"x_train": x[0], "x_test": x[1]}
    monkeypatch.setattr(atoms, "digits", lambda: SimpleNamespace(**few))
    ways = {
        atoms.AS_IT_IS: lambda seed: Atoms(W, np.zeros(16)),
        "without half": lambda seed: Atoms(np.roll(W, seed, axis=0)[:8], np.zeros(16)),
    }
    monkeypatch.setattr(atoms, "WAYS", ways)
    monkeypatch.setattr(atoms, "K", 4)
    row = atoms.row("without half")
    largest = np.sort(x**2, axis=-1)[..., :-4].sum(axis=-1) / 16  # all but the four largest
    own = np.sort(x[1, :, :8] ** 2, axis=-1)[:, :-4].sum(axis=-1) + (x[1, :, 8:] ** 2).sum(axis=-1)
    assert atoms.row(atoms.AS_IT_IS)["test"] == pytest.approx(largest[1].mean())
    assert atoms.row(atoms.AS_IT_IS)["train"] == pytest.approx(largest[0].mean())
    first = squared_errors(x[1], by_omp(ways["without half"](0), 4)(x[1]))
    np.testing.assert_allclose(first, own / 16)
    assert row["difference"] == pytest.approx(row["test"] - largest[1].mean())
    assert row["half_width"] > 0 and row["p"] < 0.05
