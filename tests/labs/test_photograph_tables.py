"""Chapter 19's tables: what learns from patches, and what cleans a photograph."""

import numpy as np
import pytest
import scipy.optimize

from ksae_lab.nn.rows import unit_rows
from tests.labs.imported import module

filters = module("photographs", "filters")
denoising = module("photographs", "denoising")


def test_codes_of_sparse_coding_are_where_the_cost_is_lowest():
    rng = np.random.default_rng(0)
    W, x, penalty = unit_rows(rng.normal(size=(6, 8))), rng.normal(size=(1, 8)), 0.05

    def cost(a):
        return np.sum((x - a @ W) ** 2) / 2 + penalty * np.sum(np.log(1 + a**2))

    found = filters.inferred(x, W, penalty)[0]
    best = scipy.optimize.minimize(cost, found, tol=1e-12)
    assert cost(found) == pytest.approx(best.fun, rel=1e-3)
    assert cost(found) < cost(np.zeros(6)) and cost(found) < cost(np.linalg.pinv(W.T) @ x[0])


def test_scrambling_keeps_the_power_of_each_frequency():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(16, 20)).cumsum(axis=1)
    scrambled = filters.scrambled(image, rng)
    power = [np.abs(np.fft.fft2(each)) for each in (image, scrambled)]
    np.testing.assert_allclose(*power, atol=1e-9)
    assert abs(np.corrcoef(image.ravel() - image.mean(), scrambled.ravel())[0, 1]) < 0.9


def test_orientations_point_one_way_or_every_way():
    assert filters.one_way(np.full(5, 0.3)) == pytest.approx(1)
    assert filters.one_way(np.array([0.01, np.pi - 0.01])) == pytest.approx(1, abs=1e-3)
    assert filters.one_way(np.arange(8) * np.pi / 8) == pytest.approx(0, abs=1e-9)


def test_windows_overlap_to_the_picture_they_are_of(monkeypatch):
    image = np.random.default_rng(0).random((20, 17))
    x, mean = denoising.windows(image)
    assert x.shape == (9 * 6, 144) and mean.shape == (9 * 6, 1)
    np.testing.assert_allclose(x.mean(axis=1), 0, atol=1e-6)

    class Copy:
        reconstruct = staticmethod(lambda x: x)

    monkeypatch.setattr(denoising, "denoiser", lambda *_: Copy)
    made = denoising.by_network(image, 0.1, False, 1)
    np.testing.assert_allclose(made, image, atol=1e-6)
    some, _ = denoising.windows(image, 5)
    assert len(some) == 5


@pytest.mark.parametrize("way", ["wavelets", "non-local means"])
def test_rivals_take_noise_away(way):
    clean, noisy = (of[:64, :64] for of in denoising.pictures("camera", 0.1))
    make, settings = denoising.WAYS[way]
    error = min(np.mean((make(noisy, 0.1, *setting) - clean) ** 2) for setting in settings[:2])
    assert error < 0.6 * np.mean((noisy - clean) ** 2)
