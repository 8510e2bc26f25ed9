"""K-SVD: it finds atoms that data were made of, and one atom's round is a singular vector."""

from itertools import islice

import numpy as np
import pytest
from sklearn.linear_model import orthogonal_mp_gram

from ksae_lab.inference.ksvd import ksvd
from ksae_lab.nn.rows import unit_rows
from ksae_lab.nn.topk import top_k_mask


def error(x, W, b, k):
    codes = orthogonal_mp_gram(W @ W.T, W @ (x - b).T, n_nonzero_coefs=k).T
    return ((x - b - codes @ W) ** 2).mean()


def made_of(atoms, k, samples=600, seed=0):
    rng = np.random.default_rng(seed)
    active = top_k_mask(rng.random((samples, len(atoms))), k)
    return np.where(active, rng.normal(size=active.shape), 0) @ atoms


def test_it_finds_the_atoms_that_data_were_made_of():
    rng = np.random.default_rng(1)
    truth = unit_rows(rng.normal(size=(12, 20)))
    mean = rng.normal(size=20)
    x = made_of(truth, 2) + mean
    start = rng.normal(size=(12, 20))
    *_, (W, b) = islice(ksvd(x, start, x.mean(axis=0), 2), 60)
    best = np.abs(W @ truth.T).max(axis=0)
    assert (best > 0.99).mean() > 0.8
    np.testing.assert_allclose(np.linalg.norm(W, axis=1), 1)
    assert error(x, W, b, 2) < 0.1 * error(x, unit_rows(start), mean, 2)


def test_one_atom_comes_to_the_first_principal_direction():
    x = np.random.default_rng(0).normal(size=(200, 6)) * [3, 1, 1, 1, 1, 1]
    *_, (W, b) = islice(ksvd(x, np.ones((1, 6)), x.mean(axis=0), 1), 60)
    first = np.linalg.svd(x - x.mean(axis=0))[2][0]
    assert abs(first @ W[0]) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(b, x.mean(axis=0), atol=1e-9)


def test_unused_atoms_start_again_and_what_was_given_is_left_alone():
    x = made_of(np.eye(5)[:3], 1)
    start = np.vstack([np.eye(5)[:2], np.eye(5)[4]])  # nothing looks like the last
    kept = start.copy()
    W, _ = next(ksvd(x, start, np.zeros(5), 1))
    np.testing.assert_array_equal(start, kept)
    assert np.abs(W[2]).argmax() != 4


def test_what_does_not_fit_is_refused():
    x = np.zeros((3, 4))
    with pytest.raises(ValueError, match="k is 3"):
        next(ksvd(x, np.eye(4)[:2], np.zeros(4), 3))
    with pytest.raises(ValueError, match=r"expected \(batch, d\)"):
        next(ksvd(x, np.eye(4)[:2], np.zeros(5), 1))
