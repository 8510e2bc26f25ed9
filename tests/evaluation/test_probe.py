"""The linear probe against scikit-learn by hand."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from ksae_lab.evaluation.probe import STRENGTHS, best_probe, error, fitted, mistakes


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
    probe = fitted(train, found.C)
    assert found.test == error(probe, test)
    np.testing.assert_array_equal(found.wrong, mistakes(probe, test))
    np.testing.assert_array_equal(found.wrong, probe.predict(test[0]) != test[1])
    # Whatever the test labels are, the choice is the same.
    assert best_probe(train, validation, (test[0], 1 - test[1]))[:2] == found[:2]


def test_scales_are_chosen_too(codes):
    deaf = np.array([1e9] * 8)
    assert best_probe(*codes, scales=[deaf, None])[:3] == best_probe(*codes)[:3]
    assert best_probe(*codes, scales=[deaf]).test > best_probe(*codes).test + 0.1


def test_without_labels_there_is_no_probe(codes):
    train, *_ = codes
    with pytest.raises(ValueError, match="no labels to learn from"):
        fitted((train[0], None), C=1)
    with pytest.raises(ValueError, match="no labels to compare with"):
        error(fitted(train, C=1), (train[0], None))
