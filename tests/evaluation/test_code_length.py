"""Bits against counting, Kraft's equality, Shannon's entropy and a real compressor."""

import itertools
import lzma
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import dlaplace, entropy, poisson

from ksae_lab.evaluation.code_length import (
    code_bits,
    index_bits,
    quantise,
    support_bits,
    value_bits,
)


def sparse_integers(seed, images, units=6):
    """Codes of units that differ in how often they speak, and in what they say."""
    rng = np.random.default_rng(seed)
    speaks = rng.uniform(size=(images, units)) < np.linspace(0.05, 0.6, units)
    return np.where(speaks, 1 + rng.poisson(np.arange(units), (images, units)), 0)


def test_index_bits_count_combinations():
    for n, k in [(100, 10), (100, 50), (784, 3), (7, 7), (7, 0)]:
        assert index_bits(n, k) == pytest.approx(math.log2(math.comb(n, k)), abs=1e-9)
    assert type(index_bits(100, 10)) is float
    k = np.array([[0, 1], [3, 4]])
    np.testing.assert_allclose(2 ** index_bits(4, k), [[1, 4], [4, 1]])


@pytest.mark.parametrize("k", [-1, 5, np.array([2, 5])])
def test_index_bits_want_a_k_that_exists(k):
    with pytest.raises(ValueError, match="choose k from 0 to 4"):
        index_bits(4, k)


def test_quantising_is_wrong_by_half_a_step_at_most():
    values = np.random.default_rng(0).uniform(-16, 16, size=(400, 50))
    for step in (0.1, 0.5, 3.2):
        q = quantise(values, step)
        assert q.dtype == np.int64
        assert q.shape == values.shape
        wrong = q * step - values
        assert np.abs(wrong).max() <= step / 2 * (1 + 1e-9)
        assert np.mean(wrong**2) == pytest.approx(step**2 / 12, rel=0.03)
    for step in (0, -1, np.nan):
        with pytest.raises(ValueError, match="above 0"):
            quantise(values, step)


def test_support_bits_by_hand():
    z_train = np.array([[0.0, 2.0], [0.0, -1.0], [0.5, 3.0]])
    # three codes and two halves: (1 + 1/2) / 4 and (3 + 1/2) / 4
    found = support_bits(np.array([[7.0, 0.0], [0.0, 1.0]]), z_train)
    p, q = 3 / 8, 7 / 8
    expected = [-np.log2(p * (1 - q)), -np.log2((1 - p) * q)]
    np.testing.assert_allclose(found, expected)


def test_support_bits_of_many_codes_are_the_entropy_of_their_units():
    z = sparse_integers(0, 50_000)
    p = (z != 0).mean(axis=0)
    expected = entropy([p, 1 - p], base=2).sum()
    assert support_bits(z, z).mean() == pytest.approx(expected, abs=1e-4)


def test_the_probabilities_of_all_supports_add_up_to_one():
    supports = np.array(list(itertools.product([0, 1], repeat=6)))
    assert (2 ** -support_bits(supports, sparse_integers(0, 9))).sum() == pytest.approx(1)


@pytest.mark.parametrize("seen", [[3, 3, 4, 9], [-5, 2, 2], [1, -1], [0, 0], [2], [40] * 100])
def test_the_probabilities_of_all_integers_add_up_to_one(seen):
    v = np.delete(np.arange(-3000, 3001), 3000)[:, None]
    bits = value_bits(v, np.array(seen)[:, None])
    assert (2**-bits).sum() == pytest.approx(1)
    assert bits.min() > 0


def test_values_cost_their_entropy_if_training_codes_tell_how_they_fall():
    rng = np.random.default_rng(0)
    train, test = (1 + rng.poisson(4, size=(40_000, 1)) for _ in range(2))
    expected = entropy(poisson(4).pmf(np.arange(60)), base=2)
    assert value_bits(test, train).mean() == pytest.approx(expected, abs=0.015)
    assert value_bits(test, train + 1).mean() > expected + 0.1  # wrong probabilities cost more


def test_a_few_training_codes_tell_where_values_fall_and_how_widely():
    falls = dlaplace(0.15, loc=40)
    test = falls.rvs(5000, random_state=0)[:, None]
    bits = [
        value_bits(test, falls.rvs(20, random_state=seed)[:, None]).mean() for seed in range(1, 9)
    ]
    shortest = falls.entropy() / np.log(2)
    assert shortest < np.mean(bits) < shortest + 0.4


def test_a_silent_unit_has_no_value():
    q_train = sparse_integers(0, 100)
    np.testing.assert_array_equal(value_bits(np.zeros((3, 6), int), q_train), 0)
    loud = np.array([[0, 0, 5, 0, 0, 0]])
    assert value_bits(loud, q_train)[0] == value_bits(loud[:, [2]], q_train[:, [2]])[0] > 0


def test_what_never_happened_costs_much_but_can_be_sent():
    q_train = sparse_integers(0, 100)
    q_train[:, 0] = 0
    usual, rare, absurd = (code_bits(np.full((1, 6), v), q_train)[0] for v in (1, -30, 10**6))
    assert usual < rare < absurd < np.inf


@given(st.integers(0, 10**6))
def test_an_image_costs_the_same_in_any_company_and_order(seed):
    rng = np.random.default_rng(seed)
    q_train, q = sparse_integers(seed, 30), sparse_integers(seed + 1, 5)
    bits = code_bits(q, q_train)
    np.testing.assert_allclose(bits, np.concatenate([code_bits(row[None], q_train) for row in q]))
    units, order = rng.permutation(6), rng.permutation(30)
    np.testing.assert_allclose(bits, code_bits(q[:, units], q_train[order][:, units]))
    np.testing.assert_allclose(bits, code_bits(-q, -q_train))


def test_both_parts_together_are_the_code():
    q, q_train = sparse_integers(0, 8), sparse_integers(1, 50)
    expected = support_bits(q, q_train) + value_bits(q, q_train)
    np.testing.assert_allclose(code_bits(q, q_train), expected)


def test_a_real_compressor_needs_more():
    q, q_train = sparse_integers(0, 5000), sparse_integers(1, 5000)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 0, "lp": 0, "pb": 0}]
    packed = 8 * len(lzma.compress(q.astype(np.int8).tobytes(), lzma.FORMAT_RAW, filters=filters))
    assert code_bits(q, q_train).sum() < packed < 2 * code_bits(q, q_train).sum()


@pytest.mark.parametrize("function", [support_bits, value_bits, code_bits])
@pytest.mark.parametrize("shapes", [[(2, 3), (2, 4)], [(2, 3), (0, 3)], [(3,), (2, 3)]])
def test_codes_and_training_codes_belong_together(function, shapes):
    with pytest.raises(ValueError, match=r"expected \(batch, n\) and \(samples, n\)"):
        function(*(np.zeros(shape, int) for shape in shapes))


@pytest.mark.parametrize("function", [value_bits, code_bits])
def test_values_are_quantised_before_they_are_counted(function):
    codes = np.ones((2, 3))
    for pair in [(codes, codes.astype(int)), (codes.astype(int), codes)]:
        with pytest.raises(TypeError, match="quantise first"):
            function(*pair)
