"""Losses and metrics against closed forms."""

import numpy as np
import pytest
from sklearn.metrics import mean_squared_error

from ksae_lab.losses import mse, mse_gradient
from ksae_lab.metrics import active_units, dead_units, psnr, selection_counts, ssim


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


def ssim_of_wang(x, y):
    """The published formula, its window moved over one pair of images by hand."""
    offset = np.arange(11) - 5
    window = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = 0.01**2, 0.03**2
    found = []
    for i, j in np.ndindex(x.shape[0] - 10, x.shape[1] - 10):
        a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
        mean_a, mean_b = (window * a).sum(), (window * b).sum()
        var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
        covariance = (window * (a - mean_a) * (b - mean_b)).sum()
        luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        found.append(luminance * (2 * covariance + c2) / (var_a + var_b + c2))
    return np.mean(found)


def test_ssim_is_the_published_formula():
    x, y = np.random.default_rng(0).uniform(size=(2, 3, 15 * 15))
    y = 0.7 * x + 0.3 * y
    pairs = zip(x.reshape(3, 15, 15), y.reshape(3, 15, 15), strict=True)
    np.testing.assert_allclose(ssim(x, y), [ssim_of_wang(a, b) for a, b in pairs], rtol=1e-10)
    np.testing.assert_allclose(ssim(x, x), 1)
    assert ssim(x[:0], y[:0]).shape == (0,)


def test_ssim_of_flat_images_is_known():
    x, y = np.full((1, 784), 0.2), np.full((1, 784), 0.6)
    assert ssim(x, y) == pytest.approx((2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4))


@pytest.mark.parametrize(
    "shapes", [[(2, 784), (1, 784)], [(2, 100)] * 2, [(2, 785)] * 2, [(9,)] * 2]
)
def test_ssim_says_which_images_it_takes(shapes):
    with pytest.raises(
        ValueError, match=r"expected \(batch, d\) for both, with d the square of 11"
    ):
        ssim(*map(np.zeros, shapes))


def test_units_are_counted():
    z = np.array([[0.0, 2.0, -1.0, 0.0], [0.0, 3.0, 0.0, 0.0]])
    np.testing.assert_array_equal(active_units(z), [2, 1])
    np.testing.assert_array_equal(selection_counts(z), [0, 2, 1, 0])
    assert dead_units(z) == 2
