"""The prices of activity: their slopes, and what makes each different."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksae_lab.nn import penalties

EACH = pytest.mark.parametrize("penalty", penalties.PENALTIES.values(), ids=lambda p: p.name)


@EACH
@given(a=st.floats(0.001, 20))
def test_slopes_agree_with_central_differences(penalty, a):
    slope = (penalty(np.array(a + 1e-6)) - penalty(np.array(a - 1e-6))) / 2e-6
    assert penalty.derivative(np.array(a)) == pytest.approx(slope, abs=1e-8)


@EACH
def test_silence_is_free_and_more_never_costs_less(penalty):
    a = np.linspace(0, 30, 301).reshape(7, 43)
    price = penalty(a)
    assert price.shape == a.shape and price[0, 0] == 0
    assert (np.diff(price.ravel()) >= 0).all()


def test_a_large_activity_costs_as_the_formulas_say():
    a = np.array(9.0)
    assert penalties.get("tanh")(a) == pytest.approx(1, abs=1e-7)
    assert penalties.get("l1")(a) == 9
    assert penalties.get("log")(a) == pytest.approx(np.log(82))


def test_an_unknown_penalty_is_refused_with_the_names_of_the_known():
    with pytest.raises(ValueError, match="no penalty 'l2'; expected one of tanh, l1, log"):
        penalties.get("l2")
