"""The tool behind the labs' tables: what it trains, and what its rows hold."""

import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ksae_lab.data.datasets import load_dataset
from tools import repeat

PLAN = """
model: {n_units: 20, k: 2}
training: {epochs: 1, batch_size: 500}
sweep:
  k: {k=2: {}, k=4: {model: {k: 4}}}
  curriculum: {fixed: {}, falling: {curriculum: {k_start: 10}, training: {epochs: 3}}}
  seed: [3, 5]
"""


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


def test_a_variant_is_named_after_its_levels(plan):
    experiments = repeat.expand(plan)
    levels = [f"{k}, {falls}" for k in ("k=2", "k=4") for falls in ("fixed", "falling")]
    assert list(experiments) == [(name, seed) for name in levels for seed in (3, 5)]
    one = experiments["k=4, falling", 5]
    assert (one.model.k, one.seed, one.training.epochs) == (4, 5, 3)


def test_the_command_trains_the_plan(plan, tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr(
        repeat,
        "train_and_measure",
        lambda experiment, dataset, alphas: (
            measured.append((experiment.model.k, experiment.seed, alphas)) or {"test": 1.0}
        ),
    )
    arguments = [str(plan), str(tmp_path / "table.csv"), "--alphas", "1", "2.5"]
    monkeypatch.setattr(sys, "argv", ["repeat.py", *arguments])
    repeat.main()
    twice = [(2, 3), (2, 5)] * 2 + [(4, 3), (4, 5)] * 2
    assert measured == [(k, seed, [1.0, 2.5]) for k, seed in twice]
    first = (tmp_path / "table.csv").read_text().splitlines()[0]
    assert first == f"# python -m tools.repeat {' '.join(arguments)}"


def test_a_row_is_what_the_training_gives(plan):
    digits = load_dataset()
    experiment = repeat.expand(plan)["k=4, fixed", 3]
    row = repeat.train_and_measure(experiment, digits, [1, 2])
    training = repeat.build(experiment, digits)
    training.fit()
    model = training.model
    assert row["test"] == row["test_alpha_1"] == pytest.approx(model.error(digits.x_test), rel=1e-5)
    model.k = 8
    assert row["test_alpha_2"] == pytest.approx(model.error(digits.x_test), rel=1e-5)
    z, z_test = model.encode(digits.x_train), model.encode(digits.x_test)
    scale = np.where(z.std(axis=0) > 0, z.std(axis=0), 1)
    by_hand = LogisticRegression(C=0.1, max_iter=500).fit(z / scale, digits.y_train)
    expected = 1 - by_hand.score(z_test / scale, digits.y_test)
    assert row["probe_alpha_2"] == pytest.approx(expected, abs=0.005)
    assert row["dead"] <= 20
