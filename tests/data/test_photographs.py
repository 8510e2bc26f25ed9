"""Patches of photographs: whitened, centred, and tested on photographs that were not learned."""

import numpy as np
import pytest

from ksae_lab.data import photographs
from ksae_lab.data.datasets import load_dataset


def falling(side, rng):
    """An image whose amplitudes fall as 1/f, as those of photographs do."""
    f = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side))
    f[0, 0] = 1
    return np.fft.ifft2(np.fft.fft2(rng.normal(size=(side, side))) / f).real


def test_whitening_makes_frequencies_equal():
    image = photographs.whitened(falling(128, np.random.default_rng(0)), cutoff=10.0)
    power = np.abs(np.fft.fft2(image)) ** 2
    f = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128))
    rings = [power[(low <= f) & (f < low + 0.1)].mean() for low in (0.05, 0.15, 0.25, 0.35)]
    assert max(rings) / min(rings) < 1.2
    assert image.mean() == pytest.approx(0, abs=1e-9) and image.std() == pytest.approx(1)
    cut = photographs.whitened(falling(128, np.random.default_rng(0)))
    assert (np.abs(np.fft.fft2(cut)) ** 2)[f > 0.6].max() < 1e-2 * power.max()


def test_grey_is_that_of_the_eye():
    colours = np.zeros((1, 3, 3), np.uint8)
    colours[0, range(3), range(3)] = 255
    np.testing.assert_allclose(photographs.grey(colours), [[0.2126, 0.7152, 0.0722]])
    np.testing.assert_allclose(photographs.grey(np.full((2, 2), 51, np.uint8)), 0.2)
    with pytest.raises(ValueError, match=r"\(2, 2, 2\)"):
        photographs.grey(np.zeros((2, 2, 2), np.uint8))


def test_patches_lie_in_their_image():
    image = np.arange(400.0).reshape(20, 20)
    x = photographs.patches([image, -image], 10, 0, side=4)
    assert x.shape == (10, 16)
    np.testing.assert_allclose(x.mean(axis=1), 0, atol=1e-12)
    step = np.diff(x.reshape(-1, 4, 4), axis=2)  # the image rises by one to the right
    assert (step[:5] > 0).all() and (step[5:] < 0).all()
    scale = np.sqrt(np.arange(16).reshape(4, 4).var() + 0)  # of the shape, not the values
    assert scale > 0 and (x.std(axis=1) < 1).all()
    with pytest.raises(ValueError, match="no patch of 30 x 30"):
        photographs.patches([image], 2, 0, side=30)


def test_the_data_set_is_tested_on_other_photographs():
    data = load_dataset("photographs")
    assert data.x_train.shape == (40_000, 144) and data.image == (12, 12)
    assert len(data.x_val) == len(data.x_test) == 10_000
    held_out = [photographs.whitened(of) for of in photographs.photographs(photographs.HELD_OUT)]
    windows = np.lib.stride_tricks.sliding_window_view(held_out[0], (12, 12)).reshape(-1, 144)
    windows = windows - windows.mean(axis=1, keepdims=True)
    windows = windows / np.sqrt(windows.var(axis=1, keepdims=True) + photographs.FLOOR)
    nearest = np.abs(windows[::1] - data.x_test[0]).max(axis=1).min()
    assert nearest < 1e-5
    with pytest.raises(ValueError, match="no photograph 'dog'"):
        photographs.photographs(("dog",))
