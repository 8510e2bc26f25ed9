"""Schedules: where they start, where they end, and that k goes down."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksae_lab.training.schedules import geometric, k_curriculum, linear

share = st.floats(0, 1)


@given(st.floats(-9, 9), st.floats(-9, 9), share, share, share)
def test_linear_agrees_with_numpys_interpolation(start, end, a, b, progress):
    begin, finish = min(a, b), max(a, b)
    if finish - begin < 1e-3:
        return
    expected = np.interp(progress, [begin, finish], [start, end])
    assert linear(start, end, begin=begin, finish=finish)(progress) == pytest.approx(expected)


@given(st.integers(1, 100), st.integers(0, 100), share, share)
def test_the_curriculum_goes_down_and_stays(k, more, p, q):
    schedule = k_curriculum(k + more, k)
    early, late = schedule(min(p, q)), schedule(max(p, q))
    assert isinstance(early, int) and k <= late <= early <= k + more
    assert schedule(0) == k + more and schedule(0.5) == schedule(1) == k


def test_the_curriculum_refuses_to_go_up():
    with pytest.raises(ValueError, match="go up from 15 to 25"):
        k_curriculum(15, 25)


@pytest.mark.parametrize(("begin", "finish"), [(0.5, 0.5), (0.6, 0.5), (-0.1, 1), (0, 1.1)])
def test_a_line_needs_a_beginning_before_its_end(begin, finish):
    with pytest.raises(ValueError, match="begin < finish"):
        linear(1, 0, begin=begin, finish=finish)


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), share)
def test_geometric_is_a_line_of_logarithms(start, end, progress):
    line = linear(np.log(start), np.log(end))(progress)
    assert np.log(geometric(start, end)(progress)) == pytest.approx(line, abs=1e-9)


def test_geometric_needs_something_above_zero():
    with pytest.raises(ValueError, match="above 0"):
        geometric(1.0, 0.0)
