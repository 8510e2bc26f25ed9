"""Data whose answer is known: the answer is true, and supports are as likely as is said."""

import numpy as np
import pytest

from ksae_lab.data import ground_truth


@pytest.fixture(scope="module")
def W():
    return ground_truth.dictionary(10, 6, 0)


def test_samples_are_sums_of_k_atoms(W):
    truth = ground_truth.samples(W, 500, 3, 1)
    np.testing.assert_allclose(np.linalg.norm(W, axis=1), 1)
    np.testing.assert_allclose(truth.x, truth.z @ W)
    assert (np.count_nonzero(truth.z, axis=1) == 3).all()
    values = truth.z[truth.z != 0]
    assert 0.5 <= values.min() < 0.51 and 1.49 < values.max() <= 1.5
    assert (ground_truth.samples(W, 500, 3, 1).x == truth.x).all()


def test_units_are_independent_unless_said_otherwise(W):
    active = ground_truth.samples(W, 20_000, 3, 0).z != 0
    np.testing.assert_allclose(active.mean(axis=0), 0.3, atol=0.02)
    given = active[active[:, 0]].mean(axis=0)
    np.testing.assert_allclose(given[1:], 2 / 9, atol=0.03)  # two more of nine


def test_partners_come_together_and_children_never_alone(W):
    pairs = ground_truth.samples(W, 20_000, 2, 0, together=0.7).z != 0
    # The second is the partner with 0.7, or else one of nine, which may be the partner, too.
    both = pairs[:, 0::2] & pairs[:, 1::2]
    assert both.any(axis=1).mean() == pytest.approx(0.7 + 0.3 / 9, abs=0.02)
    nested = ground_truth.samples(W, 20_000, 3, 0, together=0.5, nested=True).z != 0
    assert (nested[:, 0::2] >= nested[:, 1::2]).all()
    assert nested[:, 1::2].any() and (nested.sum(axis=1) == 3).all()
    alone = ground_truth.samples(W, 2000, 3, 0, nested=True).z != 0
    assert not alone[:, 1::2].any()


def test_noise_has_its_size(W):
    truth = ground_truth.samples(W, 5000, 3, 0, noise=0.2)
    assert (truth.x - truth.z @ W).std() == pytest.approx(0.2, rel=0.02)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"k": 11}, "k is 11; give an integer from 1 to 10"),
        ({"k": 6, "nested": True}, "k is 6; give an integer from 1 to 5"),
        ({"k": 2, "together": 1.5}, "together is 1.5"),
        ({"k": 2, "noise": -1.0}, "noise is -1"),
        ({"k": 0}, "k is 0"),
    ],
)
def test_what_cannot_be_is_refused(W, how, message):
    with pytest.raises(ValueError, match=message):
        ground_truth.samples(W, 5, rng=0, **how)


def test_pairs_need_an_even_number():
    with pytest.raises(ValueError, match="3 units; give an even number"):
        ground_truth.samples(np.eye(3), 5, 1, 0, together=0.5)
