"""The linear probe against scikit-learn by hand, and the tool of chapter 15's first table."""

import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.special import softmax
from sklearn.decomposition import PCA, SparseCoder
from sklearn.linear_model import LogisticRegression

from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.probe import STRENGTHS, best_probe, error, fitted
from tests.labs.conftest import PLAN
from tools import probe as tool


@pytest.fixture(scope="module")
def codes():
    """Sparse codes of three classes, one unit a hundred times as loud as the others."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=600)
    z = np.maximum(rng.normal(size=(600, 8)) + np.eye(3, 8)[y] - 0.5, 0)
    z[:, 1] *= 100
    z[:, 7] = 0
    return [(z[part], y[part]) for part in (slice(300), slice(300, 450), slice(450, 600))]


@pytest.mark.parametrize("scale", [None, np.arange(1.0, 9.0)])
def test_a_probe_is_a_regression_on_scaled_codes(codes, scale):
    (z, y), _, (z_test, y_test) = codes
    divisor = np.append(z[:, :7].std(axis=0), 1) if scale is None else scale
    by_hand = LogisticRegression(C=0.1, tol=1e-10, max_iter=5000).fit(z / divisor, y)
    probe = fitted((z, y), C=0.1, scale=scale)
    np.testing.assert_allclose(
        probe.predict_proba(z_test), by_hand.predict_proba(z_test / divisor), atol=2e-3
    )
    assert error(probe, (z_test, y_test)) == np.mean(probe.predict(z_test) != y_test)


def test_a_probe_minimises_the_penalised_loss(codes):
    (z, y), *_ = codes
    probe = fitted((z, y), C=0.1)
    scale = np.append(z[:, :7].std(axis=0), 1)
    wrong = softmax(z @ probe.coef_.T + probe.intercept_, axis=1) - np.eye(3)[y]
    slope = 0.1 * (z / scale).T @ wrong + (probe.coef_ * scale).T
    assert np.abs(slope).max() < 0.02 * np.abs(0.1 * (z / scale).T @ wrong).max() + 1e-3


def test_sparse_codes_give_what_dense_ones_give(codes, monkeypatch):
    (z, y), *_ = codes
    dense = fitted((z, y), C=0.1)
    monkeypatch.setattr("ksae_lab.evaluation.probe.SPARSE", 2)
    np.testing.assert_allclose(fitted((z, y), C=0.1).coef_, dense.coef_, rtol=1e-6, atol=1e-9)


def test_the_best_is_best_in_validation_and_told_in_test(codes):
    train, validation, test = codes
    found = best_probe(*codes)
    errors = [error(fitted(train, C), validation) for C in STRENGTHS]
    assert found.validation == min(errors) < max(errors)
    assert STRENGTHS[errors.index(min(errors))] == found.C
    assert found.test == error(fitted(train, found.C), test)
    # Whatever the test labels are, the choice is the same.
    assert best_probe(train, validation, (test[0], 1 - test[1]))[:2] == found[:2]


def test_scales_are_chosen_too(codes):
    deaf = np.array([1e9] * 8)
    assert best_probe(*codes, scales=[deaf, None]) == best_probe(*codes)
    assert best_probe(*codes, scales=[deaf]).test > best_probe(*codes).test + 0.1


def test_without_labels_there_is_no_probe(codes):
    train, *_ = codes
    with pytest.raises(ValueError, match="no labels to learn from"):
        fitted((train[0], None), C=1)
    with pytest.raises(ValueError, match="no labels to compare with"):
        error(fitted(train, C=1), (train[0], None))


def test_the_table_holds_networks_and_rivals(ran, tmp_path, monkeypatch):
    table = tmp_path / "probe.csv"
    monkeypatch.setattr("ksae_lab.evaluation.probe.STRENGTHS", (0.001, 0.01))  # the quick ones
    monkeypatch.setattr(sys, "argv", ["probe", *map(str, (*ran, table))])
    tool.main()
    rows = pd.read_csv(table, comment="#").set_index(["variant", "seed"])
    networks = [("k-sparse, k=2, α=1", s) for s in (0, 3)] + [
        ("k-sparse, k=2, α=2", s) for s in (0, 3)
    ]
    networks += [("k-sparse, k=8, α=1", s) for s in (0, 3)]  # 16 units cannot speak: there are 12
    rivals = [("raw pixels", 0)] + [(f"PCA, k={k}", 0) for k in (2, 8, 12)]
    atoms = [(f"dictionary + OMP, k={k}", s) for s in (0, 3) for k in (2, 8)]
    assert sorted(rows.index) == sorted(networks + rivals + atoms)

    digits, stored = tool.stored(*ran)
    model = stored[2, 3].model()
    model.k = 4
    expected = best_probe(
        *(
            (model.encode(x), y)
            for x, y in (
                (digits.x_train, digits.y_train),
                (digits.x_val, digits.y_val),
                (digits.x_test, digits.y_test),
            )
        )
    )
    row = rows.loc["k-sparse, k=2, α=2", 3]
    assert (row.C, row.validation, row.test) == pytest.approx(expected)
    assert row.active == pytest.approx(np.count_nonzero(model.encode(digits.x_test)) / 1000)
    assert rows.loc["raw pixels", 0].active == pytest.approx((digits.x_test > 0).sum() / 1000)
    assert rows.loc["PCA, k=8", 0].active == 8
    assert rows.loc["dictionary + OMP, k=8", 3].active == pytest.approx(8, abs=0.01)
    assert not (rows.settings.groupby(level=0).nunique() == 0).any()


def test_rivals_code_the_digits_as_scikit_learn_does(monkeypatch):
    digits = load_dataset()
    seen = {}

    def look(encode, dataset):
        return {"z": encode(dataset.x_test)}

    monkeypatch.setattr(tool, "measure", look)
    rivals = tool.Rivals(digits)
    pca = PCA(5, svd_solver="full").fit(digits.x_train.astype(float))
    expected = pca.transform(digits.x_test)
    np.testing.assert_allclose(np.abs(rivals.pca(5)["z"]), np.abs(expected), atol=1e-6)
    atoms = rivals.atoms(10, 0)
    seen = rivals.omp(10, 3, 0)["z"]
    coder = SparseCoder(atoms, transform_algorithm="omp", transform_n_nonzero_coefs=3)
    expected = coder.transform(digits.x_test - digits.x_train.mean(axis=0, dtype=float))
    np.testing.assert_allclose(seen, expected, atol=1e-6)
    assert not np.allclose(rivals.atoms(10, 1), atoms)


def test_a_sweep_over_more_than_k_and_seeds_is_refused(tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump({"sweep": {"training.epochs": [1, 2]}}))
    with pytest.raises(ValueError, match="varies more than k and seed"):
        tool.stored(plan, tmp_path)


def test_a_missing_network_is_named(tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump(PLAN))
    _, networks = tool.stored(plan, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"model\.json"):
        networks[2, 0].model()
