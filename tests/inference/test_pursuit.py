"""Pursuit: against NumPy's least squares, every support by hand, and an orthonormal dictionary."""

from itertools import combinations, islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls
from sklearn.linear_model import orthogonal_mp_gram

from ksae_lab.inference.pursuit import nonnegative_omp, pursuit, refit
from ksae_lab.nn.topk import top_k_mask


def problem(seed, n=9, d=6, batch=5):
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(n, d))
    return rng.normal(size=(batch, d)), W / np.linalg.norm(W, axis=1, keepdims=True), rng


def errors(x, a, W):
    return ((x - a @ W) ** 2).sum(axis=1)


@given(seed=st.integers(0, 10_000))
def test_refit_is_least_squares_image_by_image(seed):
    x, W, rng = problem(seed)
    chosen = rng.random((5, 9)) < rng.random((5, 1)) * 0.6  # from none to six
    chosen[:, 6:] = False
    a = refit(x, W, chosen)
    for image, mask, code in zip(x, chosen, a, strict=True):
        expected = np.zeros(9)
        expected[mask] = np.linalg.lstsq(W[mask].T, image, rcond=None)[0]
        assert not code[~mask].any()
        # A ridge of 1e-10 moves a solution by at most its share of the smallest eigenvalue.
        smallest = np.linalg.eigvalsh(W[mask] @ W[mask].T).min(initial=1)
        allowed = 2e-10 / smallest * np.linalg.norm(expected) + 1e-12
        assert np.linalg.norm(code - expected) < allowed


@given(seed=st.integers(0, 10_000))
def test_nonnegative_refit_is_lawson_and_hansons_image_by_image(seed):
    x, W, rng = problem(seed)
    chosen = rng.random((5, 9)) < rng.random((5, 1)) * 0.6
    a = refit(x, W, chosen, nonnegative=True)
    for image, mask, code in zip(x, chosen, a, strict=True):
        expected = np.zeros(9)
        if mask.any():
            expected[mask] = nnls(W[mask].T, image)[0]
        np.testing.assert_allclose(((code - expected) @ W) ** 2, 0, atol=1e-8)
        assert (code >= 0).all() and not code[~mask].any()


def test_single_precision_atoms_lose_nothing_on_the_way():
    x, W, _ = problem(0)
    W[1] = W[0] + 1e-3 * W[1]  # so alike that the normal equations need all of float64
    x, W = x.astype(np.float32), W.astype(np.float32)
    chosen = np.ones((5, 1), bool) & (np.arange(9) < 3)
    exact = refit(x.astype(np.float64), W.astype(np.float64), chosen)
    found = refit(x, W, chosen)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, exact, rtol=1e-7)


def test_equal_atoms_share():
    x, W, _ = problem(0)
    W[1] = W[0]
    a = refit(x, W, np.arange(9) < 2 * np.ones((5, 1)))
    expected = x @ W[0] / 2
    np.testing.assert_allclose(a[:, :2], np.stack([expected, expected], axis=1), rtol=1e-5)


def test_no_unit_no_code():
    x, W, _ = problem(0)
    assert not refit(x, W, np.zeros((5, 9), bool)).any()
    assert refit(x[:0], W, np.zeros((0, 9), bool)).shape == (0, 9)


@given(seed=st.integers(0, 10_000), k=st.integers(1, 6))
def test_an_orthonormal_dictionary_needs_one_step(seed, k):
    x, _, rng = problem(seed)
    W = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    h = x @ W.T
    first, second = islice(pursuit(x, W, k), 2)
    np.testing.assert_allclose(first, h * top_k_mask(h, k, by="magnitude"), atol=1e-8)
    np.testing.assert_array_equal(second, first)


@given(seed=st.integers(0, 10_000), k=st.integers(1, 4))
def test_never_worse_never_more_than_k_and_never_below_the_best(seed, k):
    x, W, _ = problem(seed)
    start = np.where(top_k_mask(x @ W.T, k), x @ W.T, 0)
    before = errors(x, start, W)
    best = np.min(
        [
            errors(x, refit(x, W, np.isin(np.arange(9), units) & np.ones((5, 1), bool)), W)
            for units in combinations(range(9), k)
        ],
        axis=0,
    )
    for a in islice(pursuit(x, W, k, start), 4):
        assert (np.count_nonzero(a, axis=1) <= k).all()
        now = errors(x, a, W)
        assert (now <= before + 1e-9).all()
        assert (now >= best - 1e-8).all()
        before = now


def test_a_start_that_is_far_too_large_is_left_at_the_first_step():
    x, W, _ = problem(0)
    start = 100 * np.where(top_k_mask(x @ W.T, 3), x @ W.T, 0)
    first = next(pursuit(x, W, 3, start))
    assert (errors(x, first, W) < errors(x, 0 * start, W)).all()
    assert (errors(x, 0 * start, W) < errors(x, start, W)).all()


def test_it_finds_what_was_put_in():
    rng = np.random.default_rng(0)
    W = rng.normal(size=(40, 20))
    W /= np.linalg.norm(W, axis=1, keepdims=True)
    truth = np.where(top_k_mask(rng.random((200, 40)), 4), rng.choice([-2.0, 2.0], (200, 40)), 0)
    *_, a = islice(pursuit(truth @ W, W, 4), 8)
    found = np.isclose(a, truth, atol=1e-6).all(axis=1)
    one_pass = refit(truth @ W, W, top_k_mask(truth @ W @ W.T, 4, by="magnitude"))
    at_once = np.isclose(one_pass, truth, atol=1e-6).all(axis=1)
    assert found.mean() > 1.5 * at_once.mean() > 0


def test_what_does_not_fit_is_refused():
    x, W, _ = problem(0)
    with pytest.raises(ValueError, match=r"expected \(5, 9\)"):
        refit(x, W, np.ones((5, 6), bool))
    with pytest.raises(ValueError, match=r"expected \(batch, d\) and \(n, d\)"):
        refit(x, W.T, np.ones((5, 6), bool))
    with pytest.raises(ValueError, match=r"expected \(batch, d\) and \(n, d\)"):
        next(pursuit(x, W.T, 2))
    with pytest.raises(ValueError, match="k"):
        next(pursuit(x, W, 10))


@given(seed=st.integers(0, 10_000), k=st.integers(1, 5))
def test_nonnegative_omp_is_the_greedy_rule_with_lawson_and_hansons_values(seed, k):
    x, W, _ = problem(seed)
    for image, code in zip(x, nonnegative_omp(x, W, k), strict=True):
        chosen, expected = [], np.zeros(9)
        for _ in range(k):
            left = W @ (image - expected @ W)
            left[chosen] = -1
            if left.max() <= 0:
                break
            chosen.append(int(left.argmax()))
            expected[chosen] = nnls(W[chosen].T, image)[0]
        np.testing.assert_allclose(code, expected, atol=1e-6)


def test_nonnegative_omp_is_scikit_learns_where_nothing_is_negative():
    rng = np.random.default_rng(0)
    W = rng.normal(size=(30, 40))
    W /= np.linalg.norm(W, axis=1, keepdims=True)
    x = np.abs(top_k_mask(rng.random((50, 30)), 3) * rng.uniform(1, 2, (50, 30))) @ W
    x += 0.1 * rng.normal(size=x.shape)
    signed = orthogonal_mp_gram(W @ W.T, W @ x.T, n_nonzero_coefs=3).T
    same = (signed >= 0).all(axis=1)
    assert same.mean() > 0.5
    np.testing.assert_allclose(nonnegative_omp(x, W, 3)[same], signed[same], atol=1e-8)


def test_nonnegative_omp_stops_where_no_atom_helps():
    W = np.array([[1.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0]])
    a = nonnegative_omp([[2.0, -1, 5]], W, 3)
    np.testing.assert_allclose(a, [[2, 0, 0]])
    with pytest.raises(ValueError, match="k is 4"):
        nonnegative_omp([[2.0, -1, 5]], W, 4)
