"""Top-k against a full, stable sort, on random inputs and on inputs made of ties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ksae_lab.nn.topk import listed, top_k_mask


def sorted_reference(h, k, by):
    """The same selection by sorting everything: a stable sort keeps ties in order of index."""
    scores = h if by == "value" else np.abs(h)
    mask = np.zeros(h.shape, dtype=bool)
    for row in np.ndindex(h.shape[:-1]):
        order = sorted(range(h.shape[-1]), key=lambda i, row=row: -scores[row][i])
        mask[row][order[:k]] = True
    return mask


shapes = st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple)
# A handful of values, both zeros and both infinities among them: almost every row has ties.
few_values = st.sampled_from([-np.inf, -2.0, -1.0, -0.0, 0.0, 1.0, 2.0, np.inf])
any_float = st.floats(allow_nan=False, width=32)


@settings(max_examples=500)
@given(data=st.data(), by=st.sampled_from(["value", "magnitude"]), values=st.integers(0, 1))
def test_agrees_with_a_full_sort(data, by, values):
    h = data.draw(arrays(np.float64, shapes, elements=[few_values, any_float][values]))
    k = data.draw(st.integers(0, h.shape[-1]))
    mask = top_k_mask(h, k, by=by)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, sorted_reference(h, k, by))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64])
def test_keeps_exactly_k_of_wide_rows(dtype):
    h = np.random.default_rng(0).normal(0, 3, (50, 1000)).astype(dtype)  # integers: all ties
    for k in (0, 1, 10, 999, 1000):
        assert (top_k_mask(h, k).sum(axis=1) == k).all()


@pytest.mark.parametrize("n", [17, 100])
def test_agrees_with_a_full_sort_on_wide_rows(n):
    rng = np.random.default_rng(n)
    for h in (rng.normal(size=(200, n)), rng.integers(-2, 3, (200, n)).astype(float)):
        k = int(rng.integers(1, n))
        np.testing.assert_array_equal(top_k_mask(h, k), sorted_reference(h, k, "value"))


def test_takes_lists_and_small_integers():
    np.testing.assert_array_equal(top_k_mask([3, 1, 2], np.int64(2)), [1, 0, 1])
    # 1000 - 200 does not fit in the eight bits of this k.
    assert top_k_mask(np.arange(1000), np.uint8(200)).sum() == 200


@pytest.mark.parametrize("dtype", [np.int8, np.int64])
def test_the_lowest_integer_is_the_largest_in_magnitude(dtype):
    h = np.array([np.iinfo(dtype).max, np.iinfo(dtype).min, 0], dtype)
    np.testing.assert_array_equal(top_k_mask(h, 1, by="magnitude"), [0, 1, 0])


def test_leaves_its_input_alone():
    h = np.array([3.0, 1.0, 2.0])
    top_k_mask(h, 1, by="magnitude")
    np.testing.assert_array_equal(h, [3, 1, 2])


@pytest.mark.parametrize("share", [0, 0.1, 0.6])
def test_listed_units_are_those_of_the_mask_from_left_to_right(share):
    rng = np.random.default_rng(0)
    mask, h = rng.random((9, 7)) < share, rng.normal(size=(9, 7))
    idx, values = listed(mask, h)
    most = max(mask.sum(axis=1).max(), 1)
    for row, units, found, own in zip(mask, idx, values, h, strict=True):
        expected = [unit for unit in range(7) if row[unit]]
        rest = most - len(expected)
        assert units.tolist() == expected + [-1] * rest
        assert found.tolist() == [own[unit] for unit in expected] + [0] * rest


def test_ties_go_to_the_lowest_index():
    np.testing.assert_array_equal(top_k_mask(np.array([0.9, 0.8, 0.8, 0.1]), 2), [1, 1, 0, 0])


def test_magnitude_hears_a_loud_no():
    h = np.array([1.0, -3.0, 2.0])
    np.testing.assert_array_equal(top_k_mask(h, 1), [0, 0, 1])
    np.testing.assert_array_equal(top_k_mask(h, 1, by="magnitude"), [0, 1, 0])


@pytest.mark.parametrize(
    ("h", "k", "options", "error", "message"),
    [
        ([1.0, 2.0], 3, {}, ValueError, "k = 3, but a row has 2"),
        ([1.0, 2.0], -1, {}, ValueError, "from 0 to 2"),
        ([1.0, 2.0], 1.0, {}, TypeError, "1.0, not an integer"),
        ([1.0, 2.0], True, {}, TypeError, "not an integer"),
        ([1.0, np.nan], 1, {}, ValueError, "NaN"),
        (1.0, 1, {}, ValueError, "single number"),
        ([1j, 2j], 1, {}, TypeError, "complex128; give real numbers"),
        (["a", "b"], 1, {}, TypeError, "give real numbers"),
        ([1.0, 2.0], 1, {"by": "size"}, ValueError, "'value' or 'magnitude'"),
    ],
)
def test_says_what_is_wrong(h, k, options, error, message):
    with pytest.raises(error, match=message):
        top_k_mask(np.array(h), k, **options)
