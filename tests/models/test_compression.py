"""Smaller networks: closed forms, what must never grow, and what must stay as it was."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ksae_lab.models.compression import prune, quantise_weights
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.nn.auxiliary_losses import DeCov

D, N, K = 7, 5, 2


def network(tied=False, dtype=np.float64, seed=0):
    """A network with different matrices, unless they are tied, and biases that are not zero."""
    rng = np.random.default_rng(seed)
    model = KSparseAutoencoder(D, N, K, tied=tied, rng=rng, dtype=dtype)
    model.W_dec[:] = rng.normal(size=(N, D))
    if not tied:
        model.W_enc[:] = rng.normal(size=(D, N))
    model.b_enc[:], model.b_dec[:] = rng.normal(size=N), rng.normal(size=D)
    return model


def with_decoder(W):
    model = KSparseAutoencoder(W.shape[1], W.shape[0], 1, rng=np.random.default_rng(0), dtype=float)
    model.W_dec[:], model.W_enc[:] = W, W.T
    return model


SIX = np.array([[3.0, -1.0, 0.5], [-2.0, 0.25, 4.0]])


def test_the_smallest_weights_go_first_whatever_their_sign():
    small = prune(with_decoder(SIX), 0.5)
    np.testing.assert_array_equal(small.W_dec, [[3, 0, 0], [-2, 0, 4]])
    np.testing.assert_array_equal(small.W_enc, small.W_dec.T)
    np.testing.assert_array_equal(prune(with_decoder(SIX), 0.55).W_dec, small.W_dec)
    np.testing.assert_array_equal(prune(with_decoder(SIX), 5 / 6).W_dec, [[0, 0, 0], [0, 0, 4]])


def test_each_matrix_loses_its_own_share():
    model = network()
    model.W_enc[:] *= 100
    small = prune(model, 0.4)
    assert np.count_nonzero(small.W_enc) == np.count_nonzero(small.W_dec) == 21


def test_levels_are_multiples_of_each_units_own_step():
    coarse = quantise_weights(with_decoder(np.array([[3.0, -1.0, 0.6], [-0.2, 0.04, 0.7]])), 3)
    # Three levels on each side of zero: steps of 1 and of 0.7 / 3.
    expected = [[3, -1, 1], [-0.7 / 3, 0, 0.7]]
    np.testing.assert_allclose(coarse.W_dec, expected, atol=1e-12)
    np.testing.assert_allclose(coarse.W_enc, np.transpose(expected), atol=1e-12)


# A weight below 2e-308 has no half step that float64 could write.
WEIGHTS = st.floats(-10, 10, allow_subnormal=False)


@given(arrays(np.float64, (4, 6), elements=WEIGHTS), st.integers(2, 16), st.floats(0, 1))
def test_what_holds_for_any_weights(W, bits, share):
    model = with_decoder(W)
    coarse, small = quantise_weights(model, bits).W_dec, prune(model, share).W_dec
    step = np.abs(W).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    assert (np.abs(coarse - W) <= step / 2 * (1 + 1e-6)).all()
    assert all(len(np.unique(row)) <= 2**bits - 1 for row in coarse)
    np.testing.assert_array_equal(quantise_weights(with_decoder(-W), bits).W_dec, -coarse)
    kept = small != 0
    np.testing.assert_array_equal(small[kept], W[kept])
    assert np.count_nonzero(small) <= 24 - round(share * 24)
    assert np.abs(W[~kept]).max(initial=0) <= np.abs(W[kept]).min(initial=np.inf)


def test_who_was_pruned_stays_pruned():
    model, gone = network(), np.zeros((N, D), bool)
    for share in np.linspace(0, 1, 15):
        now = prune(model, share).W_dec == 0
        assert (now >= gone).all() and now.sum() == round(share * now.size)
        gone = now


def test_the_weights_are_further_off_with_every_bit_that_goes():
    model = network()
    off = [np.abs(quantise_weights(model, bits).W_dec - model.W_dec).max() for bits in range(2, 17)]
    assert (np.diff(off) < 0).all()


def test_sixteen_bits_and_a_share_of_nothing_change_next_to_nothing():
    model, x = network(dtype=np.float32), np.random.default_rng(1).uniform(size=(50, D))
    x = x.astype(np.float32)
    np.testing.assert_allclose(
        quantise_weights(model, 16).reconstruct(x), model.reconstruct(x), atol=2e-3
    )
    np.testing.assert_array_equal(prune(model, 0).reconstruct(x), model.reconstruct(x))
    assert not prune(model, 1).W_enc.any()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("change", [lambda m: prune(m, 0.5), lambda m: quantise_weights(m, 2)])
def test_the_original_is_as_before_and_shares_nothing(change, tied):
    model = network(tied, np.float32)
    model.auxiliary_losses.append(DeCov(1.0))
    before = {name: w.copy() for name, w in model.parameters.items()}
    other = change(model)
    assert (other.k, other.selector.by, other.tied) == (K, "value", tied)
    for name, w in other.parameters.items():
        assert w.dtype == np.float32
        w += 1
        np.testing.assert_array_equal(model.parameters[name], before[name])
    other.auxiliary_losses.clear()
    assert len(model.auxiliary_losses) == 1


def test_biases_stay():
    model = network()
    for other in (prune(model, 1), quantise_weights(model, 2)):
        np.testing.assert_array_equal(other.b_enc, model.b_enc)
        np.testing.assert_array_equal(other.b_dec, model.b_dec)


def test_tied_weights_stay_tied():
    other = quantise_weights(prune(network(tied=True), 0.5), 4)
    assert np.shares_memory(other.W_enc, other.W_dec)
    assert np.count_nonzero(other.W_dec) <= 18


def test_a_unit_without_weights_stays_without():
    W = np.vstack([np.zeros(D), np.ones(D)])
    np.testing.assert_array_equal(quantise_weights(with_decoder(W), 2).W_dec, W)


def test_it_says_what_it_takes():
    model = network()
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="give a number from 0 to 1"):
            prune(model, share)
    for bits in (1, 17):
        with pytest.raises(ValueError, match="give an integer from 2 to 16"):
            quantise_weights(model, bits)
    for bits in (8.0, True):
        with pytest.raises(TypeError, match="not an integer"):
            quantise_weights(model, bits)
    dream = SparseDream(D, N, rng=np.random.default_rng(0), init="as_found")
    for change in (lambda: prune(dream, 0.1), lambda: quantise_weights(dream)):
        with pytest.raises(TypeError, match="A SparseDream is given"):
            change()
