"""Lab 5's tables: how much laterals resemble what units overlap in."""

import numpy as np
import pytest

from tests.labs.imported import module
from tests.models.test_sparse_dream import dream


def test_agreement_is_one_where_units_inhibit_their_likes_and_turns_with_the_sign():
    agreement = module("dream_sweep").agreement_with_overlaps
    model, _ = dream(1)
    np.fill_diagonal(model.S, 1)
    off = ~np.eye(len(model.S), dtype=bool)
    overlaps = model.W @ model.W.T
    expected = np.corrcoef(model.S[off], -overlaps[off])[0, 1]
    assert agreement(model, None, None) == {"overlap": pytest.approx(expected)}
    model.S[off] = -3 * overlaps[off] + 2
    assert agreement(model, None, None) == {"overlap": pytest.approx(1)}
    model.S[off] *= -1
    assert agreement(model, None, None) == {"overlap": pytest.approx(-1)}
