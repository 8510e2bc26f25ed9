"""Gabor functions are found again where they were made, and noise is none."""

import numpy as np
import pytest

from ksae_lab.evaluation.gabor import fit


def made(x0, y0, orientation, frequency, along, across, phase, side=12):
    """A Gabor function drawn from its definition, with rows that count downwards."""
    y, x = np.mgrid[:side, :side].astype(float)
    turned = orientation - np.pi / 2  # the direction in which the grating changes
    c, s = np.cos(turned), -np.sin(turned)
    u, v = c * (x - x0) + s * (y - y0), -s * (x - x0) + c * (y - y0)
    bell = np.exp(-(u**2) / (2 * along**2) - v**2 / (2 * across**2))
    return bell * np.cos(2 * np.pi * frequency * u + phase)


@pytest.mark.parametrize("seed", range(8))
def test_a_gabor_function_is_found_again(seed):
    rng = np.random.default_rng(seed)
    orientation, frequency = rng.uniform(0, np.pi), rng.uniform(0.12, 0.3)
    centre, phase = rng.uniform(4, 7, size=2), rng.uniform(0, 2 * np.pi)
    along, across = rng.uniform(1.5, 2.5, size=2)
    atom = made(*centre, orientation, frequency, along, across, phase)
    found = fit(-3 * atom)
    assert found.r2 > 0.99
    apart = abs(found.orientation - orientation)
    assert min(apart, np.pi - apart) < 0.05
    assert found.frequency == pytest.approx(frequency, abs=0.02)
    assert (found.x, found.y) == pytest.approx(tuple(centre), abs=0.3)


def test_horizontal_stripes_have_orientation_zero():
    rows = np.cos(2 * np.pi * np.arange(12) / 6)[:, None] * np.ones((12, 12))
    orientation = fit(rows).orientation
    assert min(orientation, np.pi - orientation) < 0.05
    assert fit(rows.T).orientation == pytest.approx(np.pi / 2, abs=0.05)


def test_bandwidth_is_that_of_the_spectrum_at_half_its_height():
    found = fit(made(5.5, 5.5, 1.0, 0.2, 2.5, 2.0, 0.0))
    f = np.linspace(0.001, 0.6, 6000)
    bell = np.exp(-2 * (np.pi * 2.5 * (f - 0.2)) ** 2)
    inside = f[bell >= 0.5]
    assert found.bandwidth == pytest.approx(np.log2(inside[-1] / inside[0]), abs=0.1)


def test_noise_is_no_gabor_function():
    rng = np.random.default_rng(0)
    shares = [fit(rng.normal(size=(12, 12))).r2 for _ in range(10)]
    assert max(shares) < 0.5
    with pytest.raises(ValueError, match="zero"):
        fit(np.zeros((12, 12)))
    with pytest.raises(ValueError, match=r"\(12, 11\)"):
        fit(np.ones((12, 11)))
