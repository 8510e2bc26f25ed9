"""Intervals and families of p-values, against SciPy and against the rule as Holm wrote it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from ksae_lab.evaluation.statistics import holm, interval_half_width


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
