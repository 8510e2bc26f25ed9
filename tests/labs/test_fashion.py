"""Lab 9's tool, on digits and a small network: whose error is whose."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from ksae_lab.data.datasets import load_dataset
from ksae_lab.experiments import saved_models
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn.losses import mse
from tools import fashion


@pytest.fixture(scope="module")
def digits():
    return load_dataset()


def test_a_networks_row(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(fashion, "IMAGES", 50)
    rng = np.random.default_rng(0)
    model = KSparseAutoencoder(784, 30, 4, rng=rng)
    model.init_from_data(digits.x_train, rng)
    saved_models.save_model(model, tmp_path / "model.json")
    row = fashion.network(tmp_path / "model.json", digits)
    assert row["one_pass"] == pytest.approx(model.error(digits.x_test[:50]), rel=1e-5)
    assert row["training_one_pass"] == pytest.approx(model.error(digits.x_train[:50]), rel=1e-5)
    for part in ("", "training_"):
        assert row[f"{part}one_pass"] > row[f"{part}refit"] > row[f"{part}pursuit_3"]
        assert row[f"{part}omp"] < row[f"{part}refit"]


def test_rows_of_pca(digits):
    x = digits.x_test
    pca = PCA(7, svd_solver="full").fit(digits.x_train)
    first = fashion.axes(7, False, digits)["one_pass"]
    assert first == pytest.approx(mse(pca.inverse_transform(pca.transform(x)), x), rel=1e-3)
    everything = fashion.axes(100, False, digits)
    assert everything == fashion.axes(100, True, digits)
    assert fashion.axes(7, True, digits)["one_pass"] < first
