"""What was found of a known dictionary: against a search through all pairings, and by hand."""

from itertools import permutations

import numpy as np
import pytest

from ksae_lab.evaluation.recovery import coherence, cosines_of, match, support


def test_the_pairing_is_the_best_of_all():
    rng = np.random.default_rng(0)
    W, sought = rng.normal(size=(5, 4)), rng.normal(size=(4, 4))
    cosines = np.abs(cosines_of(sought, W))
    best = max(permutations(range(5), 4), key=lambda units: cosines[range(4), list(units)].sum())
    found = match(W, sought)
    assert tuple(found.units) == best
    np.testing.assert_allclose(found.cosines, cosines[range(4), list(best)])


@pytest.mark.parametrize("seed", range(5))
def test_a_shuffled_dictionary_with_other_signs_and_lengths_is_found_whole(seed):
    rng = np.random.default_rng(seed)
    sought = rng.normal(size=(20, 8))
    order, z = rng.permutation(20), rng.random((6, 20))
    W = (rng.choice([-2.0, 0.5], size=20)[:, None] * sought)[order]
    found = match(W, sought)
    np.testing.assert_allclose(found.cosines, 1)
    np.testing.assert_array_equal(order[found.units], np.arange(20))
    np.testing.assert_array_equal(found.codes(z[:, order]), z)


def test_where_signs_count_an_opposite_atom_is_none():
    """The pairing is the best of all that count such a cosine as 0."""
    rng = np.random.default_rng(1)
    W, sought = rng.normal(size=(2, 5, 3))
    cosines = np.maximum(cosines_of(sought, W), 0)
    best = max(cosines[range(5), list(order)].sum() for order in permutations(range(5)))
    assert match(W, sought, either_way=False).cosines.sum() == pytest.approx(best)
    assert match(-W[:1], W[:1], either_way=False).cosines == 0


def test_too_few_atoms_leave_some_without_one():
    sought = np.eye(3)
    found = match(sought[[2]], sought)
    assert found.units.tolist() == [-1, -1, 0] and found.cosines.tolist() == [0, 0, 1]
    assert found.codes(np.array([[7.0]])).tolist() == [[0, 0, 7]]
    assert match(np.zeros((1, 3)), sought).cosines.max() == 0
    with pytest.raises(ValueError, match=r"\(2, 4\) and \(3, 3\)"):
        match(np.ones((2, 4)), sought)


def test_precision_and_recall_by_hand():
    sought = np.array([[1.0, 2, 0, 0], [0, 0, 3, 0]])
    found = support(np.array([[0.1, 0, 0, 5], [0, 0, -1, 0]]), sought)
    assert (found.precision, found.recall, found.f1) == (2 / 3, 2 / 3, pytest.approx(2 / 3))
    nothing = support(np.zeros((2, 4)), sought)
    assert (nothing.precision, nothing.recall, nothing.f1) == (0, 0, 0)
    assert support(np.ones((2, 4)), sought).recall == 1


def test_coherence_is_the_largest_cosine_of_two():
    assert coherence(np.eye(4)) == 0
    W = np.array([[1.0, 0], [0, 2], [-3, 3]])
    assert coherence(W) == pytest.approx(np.sqrt(0.5))
    with pytest.raises(ValueError, match="two or more"):
        coherence(W[:1])
