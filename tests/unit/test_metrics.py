"""Losses and metrics against closed forms."""

import numpy as np
import pytest
from sklearn.metrics import mean_squared_error

from ksae_lab.losses import mse, mse_gradient
from ksae_lab.metrics import active_units, dead_units, psnr, selection_counts


def test_mse_is_scikit_learns():
    x, y = np.random.default_rng(0).uniform(size=(2, 5, 7))
    assert mse(x, y) == pytest.approx(mean_squared_error(y, x), rel=1e-12)


def test_mse_gradient_is_its_slope():
    x_hat, x = np.random.default_rng(0).uniform(size=(2, 3, 4))
    gradient = mse_gradient(x_hat, x)
    for i in np.ndindex(x.shape):
        nudge = np.zeros_like(x)
        nudge[i] = 1e-6
        slope = (mse(x_hat + nudge, x) - mse(x_hat - nudge, x)) / 2e-6
        assert gradient[i] == pytest.approx(slope, rel=1e-6)


def test_mse_is_a_plain_number_and_compares_like_with_like():
    assert type(mse(np.zeros((2, 3)), np.ones((2, 3)))) is float
    for function in (mse, mse_gradient):
        with pytest.raises(ValueError, match=r"\(2, 3\), the target \(3,\)"):
            function(np.zeros((2, 3)), np.zeros(3))


def test_psnr():
    assert psnr(0.01) == pytest.approx(20)
    assert psnr(1) == 0
    assert psnr(0) == np.inf
    with pytest.raises(ValueError, match="negative"):
        psnr(-0.1)


def test_units_are_counted():
    z = np.array([[0.0, 2.0, -1.0, 0.0], [0.0, 3.0, 0.0, 0.0]])
    np.testing.assert_array_equal(active_units(z), [2, 1])
    np.testing.assert_array_equal(selection_counts(z), [0, 2, 1, 0])
    assert dead_units(z) == 2
