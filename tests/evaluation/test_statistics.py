"""Intervals and families of p-values, against SciPy and against the rule as Holm wrote it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_ind, ttest_rel

from ksae_lab.evaluation.statistics import above_zero, difference, holm, interval_half_width


def test_interval_is_students():
    samples = np.random.default_rng(0).normal(size=5)
    interval = ttest_1samp(samples, 0).confidence_interval(0.95)
    expected = (interval.high - interval.low) / 2
    assert interval_half_width(samples) == pytest.approx(expected)


def rejected(p, level):
    """Holm's rule as he wrote it: from the smallest on, until the first that is too large."""
    order, found = np.argsort(p, kind="stable"), set()
    for rank, which in enumerate(order):
        if p[which] > level / (len(p) - rank):
            break
        found.add(int(which))
    return found


@given(
    st.lists(st.sampled_from([0, 0.001, 0.004, 0.01, 0.02, 0.03, 0.3, 1]), min_size=1, max_size=8),
    st.sampled_from([0.0075, 0.033, 0.052, 0.11]),
)
def test_holm_rejects_what_the_rule_rejects(p, level):
    adjusted = holm(p)
    assert set(np.flatnonzero(adjusted <= level)) == rejected(p, level)
    assert (adjusted >= p).all() and (adjusted <= 1).all()


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.03, 0.01, 0.02, 0.9]), [0.06, 0.04, 0.06, 0.9])


def agrees(found, test):
    interval = test.confidence_interval(0.95)
    assert found.p == pytest.approx(test.pvalue, rel=1e-6)
    assert found.half_width == pytest.approx((interval.high - interval.low) / 2)


def test_one_seed_a_side_is_the_paired_test_over_images():
    a, b = np.random.default_rng(0).normal(size=(2, 50))
    agrees(difference(a[None], b[None]), ttest_rel(a, b))


def test_equal_images_leave_welchs_test_over_seeds():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 1)), rng.normal(size=(3, 1))
    of_images = rng.normal(size=40)  # the same for both sides: paired, it goes
    found = difference(a + of_images, b + of_images)
    agrees(found, ttest_ind(a[:, 0], b[:, 0], equal_var=False))
    assert found.mean == pytest.approx(a.mean() - b.mean())


def test_a_side_without_seeds_adds_no_chance():
    a = np.random.default_rng(0).normal(size=(5, 1)) + np.zeros((1, 40))
    agrees(difference(a, np.zeros((1, 40))), ttest_1samp(a[:, 0], 0))


@pytest.mark.parametrize(("seeds", "images", "rest"), [(0.3, 1.0, 2.0), (1.0, 0.0, 1.0)])
def test_the_interval_holds_what_it_says_when_seeds_and_images_are_drawn(seeds, images, rest):
    rng = np.random.default_rng(0)
    holds = []
    for _ in range(1500):
        sides = [
            0.3 * rng.normal(size=(1, 30)) * images
            + seeds * rng.normal(size=(count, 1))
            + rest * rng.normal(size=(count, 30))
            for count in (5, 4)
        ]
        found = difference(*sides)
        holds.append(abs(found.mean) <= found.half_width)
    assert 0.93 < np.mean(holds) < 0.98


def test_values_above_zero_are_held_against_a_side_without_chance():
    values = 0.3 + np.random.default_rng(0).normal(size=(3, 50))
    assert above_zero(values) == difference(values, np.zeros((2, 50)))
    agrees(above_zero(values[:1]), ttest_1samp(values[0], 0))
    with pytest.raises(ValueError, match=r"\(50,\); expected \(seeds, images\)"):
        above_zero(values[0])


def test_sides_that_say_the_same_do_not_differ():
    found = difference(np.ones((2, 4)), np.ones((3, 4)))
    assert (found.mean, found.half_width, found.p) == (0, 0, 1)
    assert difference(np.ones((2, 4)), np.zeros((3, 4))).p == 0


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones(4), np.ones((1, 4)), r"\(4,\) and \(1, 4\)"),
        (np.ones((2, 4)), np.ones((2, 5)), "the same images"),
        (np.ones((0, 4)), np.ones((2, 4)), "the same images"),
        (np.ones((2, 1)), np.ones((2, 1)), "two or more"),
    ],
)
def test_a_difference_of_what_does_not_fit_is_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        difference(a, b)
