"""The area under the ROC curve, for many units at once, against scikit-learn's for one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ksae_lab.evaluation.separation import area_under_curve


@given(st.integers(0, 1000), st.integers(1, 9))
def test_it_is_scikit_learns_for_each_unit(seed, levels):
    rng = np.random.default_rng(seed)
    scores = rng.integers(levels, size=(30, 4)) - 2.0  # with ties, as codes have them
    of_kind = rng.permutation(30) < rng.integers(1, 29)
    expected = [roc_auc_score(of_kind, column) for column in scores.T]
    np.testing.assert_allclose(area_under_curve(scores, of_kind), expected)


def test_other_shapes_and_single_kinds_are_refused():
    with pytest.raises(ValueError, match=r"\(5, 2\) and of_kind \(4,\)"):
        area_under_curve(np.ones((5, 2)), np.ones(4))
    with pytest.raises(ValueError, match="5 samples are of the kind and 0 are not"):
        area_under_curve(np.ones((5, 2)), np.ones(5))
