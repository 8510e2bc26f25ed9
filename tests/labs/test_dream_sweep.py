"""Lab 5's tables: how much laterals resemble what units overlap in, and what they are good for."""

import numpy as np
import pytest

from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.training.gradcheck import check_gradients
from tests.labs.imported import module
from tests.models.test_sparse_dream import dream

equal = module("dream_sweep", "equal")
laterals = module("dream_sweep", "laterals")


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


def test_what_is_removed_or_shuffled_is_a_copys_and_leaves_the_diagonal():
    model, _ = dream(1)
    before, off = model.S.copy(), ~np.eye(len(model.S), dtype=bool)
    without, mixed = laterals.removed(model), laterals.shuffled(model)
    np.testing.assert_array_equal(model.S, before)
    np.testing.assert_array_equal(without.S, np.diag(np.diag(before)))
    np.testing.assert_array_equal(np.diag(mixed.S), np.diag(before))
    np.testing.assert_array_equal(np.sort(mixed.S[off]), np.sort(before[off]))
    assert (mixed.S[off] != before[off]).mean() > 0.8


def test_calculated_laterals_begin_closest_to_those_of_the_dream_and_have_right_gradients():
    model, x = dream(1)
    like = laterals.Calculated.of(model)
    distance = np.linalg.norm(like.S - model.S)
    for step in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)):
        like.scales += step
        like.calculate()
        assert np.linalg.norm(like.S - model.S) > distance
        like.scales -= step
    assert set(like.parameters) == {"scales", "b"}
    assert check_gradients(like, x).relative_error < 1e-6
    like.scales[:] = 0.8, 0
    like.calculate()
    np.testing.assert_array_equal(like.S, 0.8 * np.eye(len(like.S)))


def test_what_is_held_stays_while_the_rest_lowers_the_loss():
    model, x = dream(1)
    W, S, b, loss = model.W.copy(), model.S.copy(), model.b.copy(), model.loss(x)
    laterals.learned_on(model, x, ("W", "S"), 0.001)
    assert model.loss(x) < loss
    np.testing.assert_array_equal(model.W, W)
    np.testing.assert_array_equal(model.S, S)
    assert (model.b != b).any()


def test_a_unit_that_is_silenced_tells_or_draws_nothing():
    model, x = dream(1)
    S, before = model.S.copy(), model.error(x)
    rises = laterals.silenced(model, x)
    np.testing.assert_array_equal(model.S, S)
    h = np.maximum(x @ model.W.T, 0)
    for unit in range(len(S)):
        others = np.arange(len(S)) != unit
        u = h @ S.T + model.b
        a = np.maximum(u, 0) * others
        assert rises["draws"][unit] == pytest.approx(((a @ model.W - x) ** 2).mean() / before - 1)
        u[:, others] -= np.outer(h[:, unit], S[others, unit])
        told = ((np.maximum(u, 0) @ model.W - x) ** 2).mean()
        assert rises["tells"][unit] == pytest.approx(told / before - 1)


def test_what_a_unit_tells_is_the_length_of_its_column_beside_the_diagonal():
    S = np.array([[9.0, 3.0, 0.0], [1.0, 9.0, 0.0], [2.0, 4.0, 9.0]])
    np.testing.assert_allclose(laterals.told(S), [np.sqrt(5), 5, 0])


def test_a_gain_is_what_least_squares_on_the_chosen_units_takes_away():
    model, x = dream(1)
    network = KSparseAutoencoder(x.shape[1], 6, 2, rng=0, dtype=float)
    network.b_dec[:] = x.mean(axis=0)
    for coder, atoms, target in (
        (model, model.W, x),
        (network, network.W_dec, x - network.b_dec),
    ):
        left = 0
        for code, image in zip(coder.encode(x), target, strict=True):
            drawn = atoms[code != 0]
            values = np.linalg.lstsq(drawn.T, image, rcond=None)[0]
            left += ((values @ drawn - image) ** 2).mean() / len(x)
        expected = 1 - left / coder.error(x)
        assert equal.gain(coder, x) == pytest.approx(expected)
        assert 0 < expected < 1
