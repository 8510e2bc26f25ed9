"""Images moved by a pixel: against SciPy's shift, and what is drawn."""

import numpy as np
import pytest
from scipy.ndimage import shift

from ksae_lab.data.shifts import BY, places_after, shifted


@pytest.mark.parametrize("image", [(5, 4), (3, 4, 3)])
def test_every_direction_is_scipys_shift(image):
    x = np.random.default_rng(0).normal(size=image)
    for (dy, dx), places in zip(BY, places_after(image), strict=True):
        by = (dy, dx, 0)[: len(image)]
        np.testing.assert_array_equal(
            x.ravel()[places], shift(x, by, order=0, mode="nearest").ravel()
        )


def test_so_many_move_each_to_one_of_eight_places():
    images = np.random.default_rng(0).normal(size=(1, 5 * 4)).astype(np.float32)
    x = np.repeat(images, 8000, axis=0)
    kept = x.copy()
    moved = shifted(x, (5, 4), 0.4, 1)
    np.testing.assert_array_equal(x, kept)
    assert moved.dtype == x.dtype
    kinds, counts = np.unique(moved, axis=0, return_counts=True)
    assert len(kinds) == 9
    stayed = (kinds == images).all(axis=1)
    assert counts[stayed] == pytest.approx(0.6 * 8000, rel=0.05)
    np.testing.assert_allclose(counts[~stayed], 0.4 * 1000, rtol=0.2)


def test_none_and_all():
    x = np.random.default_rng(0).normal(size=(50, 20))
    np.testing.assert_array_equal(shifted(x, (5, 4), 0), x)
    assert (shifted(x, (5, 4), 1, 0) != x).any(axis=1).all()


@pytest.mark.parametrize(
    ("image", "share", "message"),
    [
        ((20,), 0.5, "give .height, width."),
        ((5, 5), 0.5, "20"),
        ((5, 4), 1.5, "share is 1.5"),
    ],
)
def test_what_does_not_fit_is_refused(image, share, message):
    with pytest.raises(ValueError, match=message):
        shifted(np.zeros((2, 20)), image, share)
