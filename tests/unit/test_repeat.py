"""The tool behind the labs' tables: what it trains, what it keeps, and what its rows hold."""

import contextlib
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from ksae_lab.autoencoder import KSparseAutoencoder
from ksae_lab.data import load_dataset
from tests.repo import ROOT
from tools import repeat

PLAN = {
    "base": {"model": {"n_units": 20, "k": 2}, "training": {"epochs": 1, "batch_size": 500}},
    "factors": [
        {"k=2": {}, "k=4": {"model": {"k": 4}}},
        {"fixed": None, "falling": {"curriculum": {"k_start": 10}, "training": {"epochs": 3}}},
    ],
    "seeds": [3, 5],
}


def test_all_combinations_are_experiments():
    experiments = repeat.expand(PLAN)
    levels = [f"{k}, {falls}" for k in ("k=2", "k=4") for falls in ("fixed", "falling")]
    assert list(experiments) == [(name, seed) for name in levels for seed in (3, 5)]
    one = experiments["k=4, falling", 5]
    assert (one.model.k, one.model.n_units, one.seed) == (4, 20, 5)
    assert (one.training.epochs, one.training.batch_size) == (3, 500)
    assert experiments["k=2, fixed", 3].curriculum is None
    assert PLAN["base"]["model"]["k"] == 2, "the base is not written to"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the tool on a plan; returns the table and which trainings took place."""

    def run(plan, stop_after=None):
        trained = []

        def measure(experiment, dataset, alphas):
            if len(trained) == stop_after:
                raise KeyboardInterrupt
            trained.append((experiment.model.k, experiment.seed))
            return {"test": experiment.model.k + experiment.seed / 10}

        monkeypatch.setattr(repeat, "train_and_measure", measure)
        file, table = tmp_path / "plan.yaml", tmp_path / "table.csv"
        file.write_text(yaml.safe_dump(plan, sort_keys=False))
        monkeypatch.setattr(sys, "argv", ["repeat.py", str(file), str(table)])
        with contextlib.suppress(KeyboardInterrupt):
            repeat.main()
        return pd.read_csv(table, comment="#"), trained

    return run


SMALL = PLAN | {"factors": PLAN["factors"][:1]}


def test_an_interrupted_table_is_completed_and_equals_an_uninterrupted_one(run):
    part, trained = run(SMALL, stop_after=3)
    assert len(part) == len(trained) == 3
    whole, trained = run(SMALL)
    assert trained == [(4, 5)], "only what was missing"
    assert whole.test.tolist() == [2.3, 2.5, 4.3, 4.5]
    assert run(SMALL)[1] == []


def test_a_row_with_other_settings_is_trained_again(run):
    run(SMALL)
    changed = SMALL | {"factors": [{"k=2": {}, "k=4": {"model": {"k": 5}}}]}
    table, trained = run(changed)
    assert trained == [(5, 3), (5, 5)]
    assert table.test.tolist() == [2.3, 2.5, 5.3, 5.5]


def test_a_row_is_what_the_training_gives():
    digits = load_dataset()
    experiment = repeat.expand(PLAN)["k=4, fixed", 3]
    row = repeat.train_and_measure(experiment, digits, [1, 2])
    training = repeat.build(experiment, digits)
    training.go()
    model = training.model
    assert row["test"] == row["test_alpha_1"] == pytest.approx(model.error(digits.x_test), rel=1e-5)
    model.k = 8
    assert row["test_alpha_2"] == pytest.approx(model.error(digits.x_test), rel=1e-5)
    assert row["dead"] <= 20


def test_the_probe_is_a_logistic_regression_on_the_codes():
    digits = load_dataset()
    model = KSparseAutoencoder(784, 30, 5, rng=np.random.default_rng(0))
    model.start_from(digits.x_train, np.random.default_rng(0))
    z, z_test = model.encode(digits.x_train), model.encode(digits.x_test)
    scale = z.std(axis=0)
    by_hand = LogisticRegression(C=0.1, max_iter=500).fit(z / scale, digits.y_train)
    expected = 1 - by_hand.score(z_test / scale, digits.y_test)
    assert repeat.probe_error(model, digits) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    "plan", sorted((ROOT / "experiments" / "labs").glob("*.yaml")), ids=lambda plan: plan.stem
)
def test_every_table_is_the_one_that_its_file_asks_for(plan):
    table = pd.read_csv(ROOT / "notebooks" / "results" / f"{plan.stem}.csv", comment="#")
    experiments = repeat.expand(yaml.safe_load(plan.read_text(encoding="utf-8")))
    rows = {(row.variant, row.seed): row.settings for row in table.itertuples()}
    assert rows == {key: experiment.hash[:16] for key, experiment in experiments.items()}
