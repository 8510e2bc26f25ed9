"""Lab 9's table, on digits and a small network: whose error is whose."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.decomposition import PCA

from ksae_lab.data.datasets import load_dataset
from ksae_lab.experiments import saved_models
from ksae_lab.experiments.networks import Network
from ksae_lab.experiments.settings import Experiment
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn.losses import mse
from tests.labs.imported import module

fashion = module("fashion")


@pytest.fixture(scope="module")
def digits():
    return load_dataset()


@pytest.fixture(scope="module")
def sweep(digits):
    """Digits in place of clothes."""
    return SimpleNamespace(dataset=digits)


def test_a_networks_row(digits, sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(fashion, "IMAGES", 50)
    rng = np.random.default_rng(0)
    model = KSparseAutoencoder(784, 30, 4, rng=rng)
    model.init_from_data(digits.x_train, rng)
    saved_models.save_model(model, tmp_path / "model.json")
    row = fashion.of_network(Network(Experiment(), tmp_path / "model.json"), sweep)
    assert row["one_pass"] == pytest.approx(model.error(digits.x_test[:50]), rel=1e-5)
    assert row["training_one_pass"] == pytest.approx(model.error(digits.x_train[:50]), rel=1e-5)
    for part in ("", "training_"):
        assert row[f"{part}one_pass"] > row[f"{part}refit"] > row[f"{part}pursuit_3"]
        assert row[f"{part}omp"] < row[f"{part}refit"]


def test_rows_of_pca(digits, sweep):
    x = digits.x_test
    pca = PCA(7, svd_solver="full").fit(digits.x_train)
    first = fashion.of_pca(7, False, sweep)["one_pass"]
    assert first == pytest.approx(mse(pca.inverse_transform(pca.transform(x)), x), rel=1e-3)
    everything = fashion.of_pca(100, False, sweep)
    assert everything == fashion.of_pca(100, True, sweep)
    assert fashion.of_pca(7, True, sweep)["one_pass"] < first
