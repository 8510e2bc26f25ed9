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


def test_colours_become_grey_and_grey_stays():
    colours = photographs.photograph("astronaut")
    assert colours.shape == (512, 512, 3) and 0 <= colours.min() < 0.1 < 0.9 < colours.max() <= 1
    grey = photographs.grey(colours)
    assert (colours.min(axis=2) - 1e-9 <= grey).all() and (grey <= colours.max(axis=2) + 1e-9).all()
    np.testing.assert_array_equal(photographs.grey(grey), grey)


def test_a_file_that_has_changed_is_no_data(monkeypatch):
    files = photographs.SHA256["skimage.data"]
    monkeypatch.setitem(files, "camera.png", "0" * 64)
    with pytest.raises(ValueError, match=r"camera\.png in skimage.data is not the photograph"):
        photographs.photograph("camera")


def test_patches_lie_in_their_image():
    image = np.arange(400.0).reshape(20, 20)
    x = photographs.patches([image, -image], 10, 0, side=4)
    assert x.shape == (10, 16)
    np.testing.assert_allclose(x.mean(axis=1), 0, atol=1e-12)
    step = np.diff(x.reshape(-1, 4, 4), axis=2)  # the image rises by one to the right
    assert (step[:5] > 0).all() and (step[5:] < 0).all()
    ramp = (20 * np.arange(4)[:, None] + np.arange(4)).ravel()
    of_variance = ramp.var() / (ramp.var() + photographs.FLOOR)
    np.testing.assert_allclose(x.var(axis=1), of_variance)
    again = photographs.patches([image, -image], 10, 0, side=4)
    np.testing.assert_array_equal(again, x)
    colours = photographs.patches([np.zeros((20, 20, 3))], 3, 0, side=4)
    assert colours.shape == (3, 48) and not colours.any()
    with pytest.raises(ValueError, match="patch should be less than"):
        photographs.patches([image], 2, 0, side=30)
    with pytest.raises(ValueError, match="count"):
        photographs.patches([image, image], 1, 0, side=4)


def test_the_data_set_is_tested_on_other_photographs():
    data = load_dataset("photographs")
    assert data.x_train.shape == (40_000, 144) and data.image == (12, 12)
    assert len(data.x_val) == len(data.x_test) == 10_000
    held_out = photographs.whitened(photographs.grey(photographs.photograph("china")))
    windows = np.lib.stride_tricks.sliding_window_view(held_out, (12, 12)).reshape(-1, 144)
    windows = windows - windows.mean(axis=1, keepdims=True)
    windows = windows / np.sqrt(windows.var(axis=1, keepdims=True) + photographs.FLOOR)
    nearest = np.abs(windows - data.x_test[0]).max(axis=1).min()
    assert nearest < 1e-5
    with pytest.raises(ValueError, match="no photograph 'dog'"):
        photographs.photograph("dog")
