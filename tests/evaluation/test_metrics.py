"""Losses and metrics against closed forms."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy
from skimage.metrics import peak_signal_noise_ratio
from sklearn.metrics import mean_squared_error, r2_score

from ksae_lab.evaluation.metrics import (
    active_units,
    dead_units,
    feature_density,
    fvu,
    peak_memory,
    psnr,
    selection_counts,
    selection_entropy,
    squared_errors,
    ssim,
)
from ksae_lab.nn.losses import mse, mse_gradient


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
        with pytest.raises(ValueError, match=r"\(2, 3\), the targets \(3,\)"):
            function(np.zeros((2, 3)), np.zeros(3))


def test_psnr():
    assert psnr(0.01) == pytest.approx(20)
    assert psnr(1) == 0
    assert psnr(0) == np.inf
    assert type(psnr(np.float32(0.01))) is float
    for wrong in (-0.1, np.array([0.2, -0.1])):
        with pytest.raises(ValueError, match=r"mse is -0\.1; .* cannot be negative"):
            psnr(wrong)


def test_psnr_of_each_image_is_scikit_images():
    x, x_hat = np.random.default_rng(0).uniform(size=(2, 4, 49))
    x_hat[2] = x[2]
    errors = squared_errors(x, x_hat)
    with np.errstate(divide="ignore"):
        theirs = [
            peak_signal_noise_ratio(a, b, data_range=1) for a, b in zip(x, x_hat, strict=True)
        ]
    np.testing.assert_allclose(psnr(errors), theirs)
    assert psnr(errors)[2] == np.inf
    assert np.mean(errors) == pytest.approx(mse(x_hat, x))


def test_fvu_is_one_minus_r2():
    rng = np.random.default_rng(0)
    x = rng.normal(3, [1, 2, 0.1, 5], size=(30, 4))
    x_hat = x + rng.normal(size=x.shape)
    theirs = 1 - r2_score(x, x_hat, multioutput="variance_weighted")
    assert fvu(x, x_hat) == pytest.approx(theirs, rel=1e-12)
    # as float32 the images themselves are others, by a ten-millionth
    assert fvu(*np.float32([x, x_hat])) == pytest.approx(theirs, rel=1e-6)


def test_fvu_of_nothing_explained_is_one():
    x = np.random.default_rng(0).uniform(size=(8, 5))
    assert fvu(x, np.broadcast_to(x.mean(axis=0), x.shape)) == pytest.approx(1)
    assert fvu(x, x) == 0
    assert type(fvu(x, x)) is float


@pytest.mark.parametrize("images", [np.full((3, 4), 0.1), np.zeros((0, 4)), np.ones((1, 4))])
def test_fvu_wants_images_that_differ(images):
    with pytest.raises(ValueError, match="No two images differ"):
        fvu(images, images)


@pytest.mark.parametrize("function", [squared_errors, fvu])
def test_errors_compare_like_with_like(function):
    with pytest.raises(ValueError, match=r"shape \(2, 3\), the reconstructions \(3,\)"):
        function(np.zeros((2, 3)), np.zeros(3))


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


def test_feature_density_is_a_share_of_images():
    z = np.array([[0.0, 2.0, -1.0], [0.0, 3.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    np.testing.assert_array_equal(feature_density(z), [0, 1, 0.25])


def test_selection_entropy_of_known_habits():
    assert selection_entropy(np.eye(8)) == pytest.approx(3)
    assert selection_entropy(np.array([[0.0, 5.0], [0.0, 2.0]])) == 0
    assert str(selection_entropy(np.array([[7.0]]))) == "0.0"
    # one unit for every image, two for half of them each: 1/2, 1/4, 1/4
    z = np.array([[1.0, 3.0, 0.0], [1.0, 0.0, 2.0]])
    assert selection_entropy(z) == pytest.approx(1.5)
    with pytest.raises(ValueError, match="No unit is active"):
        selection_entropy(np.zeros((3, 2)))


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(2, 12))
def test_selection_entropy_is_scipys_and_knows_no_names(seed, k, n):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(7, n)) * (rng.uniform(size=(7, n)) < k / 10)
    z[0, 0] = 1
    found = selection_entropy(z)
    assert found == pytest.approx(entropy((z != 0).sum(axis=0), base=2), abs=1e-12)
    assert 0 <= found <= np.log2(n) + 1e-12
    assert selection_entropy(z[:, rng.permutation(n)]) == pytest.approx(found, abs=1e-12)
    assert selection_entropy(3 * z[rng.permutation(7)]) == pytest.approx(found, abs=1e-12)


def test_peak_memory_is_what_a_call_holds_at_its_highest():
    def two_after_another():
        np.ones(1_000_000, np.uint8)
        np.ones(3_000_000, np.uint8)

    assert peak_memory(two_after_another) == pytest.approx(3e6, rel=0.01)


@pytest.mark.parametrize("watched", [False, True])
def test_peak_memory_leaves_out_what_was_before_and_the_watch_as_it_was(watched):
    if watched:
        tracemalloc.start()
    try:
        np.ones(9_000_000, np.uint8)  # an earlier peak
        kept = np.ones(5_000_000, np.uint8)  # and what stays
        assert peak_memory(lambda: np.ones(1_000_000, np.uint8)) == pytest.approx(1e6, rel=0.01)
        assert tracemalloc.is_tracing() == watched
        assert kept.all()
    finally:
        tracemalloc.stop()


def test_peak_memory_stops_watching_when_a_call_fails():
    with pytest.raises(ZeroDivisionError):
        peak_memory(lambda: 1 / 0)
    assert not tracemalloc.is_tracing()
