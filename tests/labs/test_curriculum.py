"""Lab 3's table: what codes of α k units are worth, by hand."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ksae_lab.data.datasets import load_dataset
from ksae_lab.experiments.build import build
from ksae_lab.experiments.probe_table import unpacked
from ksae_lab.experiments.settings import Experiment
from tests.labs.imported import module


def test_codes_of_more_units_are_measured_as_well():
    digits = load_dataset()
    settings = {"model": {"n_units": 20, "k": 4}, "training": {"epochs": 1, "batch_size": 500}}
    experiment = Experiment.model_validate({"seed": 3} | settings)
    training = build(experiment, digits)
    training.fit()
    model = training.model
    row = module("curriculum").with_alphas(model, experiment, digits)
    for alpha, k in ((1, 4), (1.5, 6), (2, 8), (3, 12)):
        model.k = k
        error = model.error(digits.x_test)
        assert row.pop(f"test_alpha_{alpha}") == pytest.approx(error, rel=1e-5)
        if alpha == 2:
            z, z_test = model.encode(digits.x_train), model.encode(digits.x_test)
    scale = np.where(z.std(axis=0) > 0, z.std(axis=0), 1)
    by_hand = LogisticRegression(C=0.1, max_iter=500).fit(z / scale, digits.y_train)
    expected = 1 - by_hand.score(z_test / scale, digits.y_test)
    assert row["probe_alpha_2"] == pytest.approx(expected, abs=0.005)
    for alpha in (1, 1.5, 2, 3):
        wrong = unpacked(row.pop(f"wrong_alpha_{alpha}"), len(digits.x_test))
        assert wrong.mean() == row.pop(f"probe_alpha_{alpha}")
    assert not row
