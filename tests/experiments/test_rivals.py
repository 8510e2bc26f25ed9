"""The rivals of a k-sparse network: against scikit-learn's own coder, and against their rules."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from sklearn.decomposition import PCA, MiniBatchDictionaryLearning, SparseCoder

from ksae_lab.data import ground_truth
from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.recovery import match
from ksae_lab.experiments import rival_atoms, rival_networks
from ksae_lab.experiments.rival_atoms import Atoms, by_omp, heap


@pytest.fixture(scope="module")
def digits():
    whole = load_dataset()
    return replace(
        whole, x_train=whole.x_train[:300], x_val=whole.x_val[:30], x_test=whole.x_test[:40]
    )


def test_a_dictionary_is_scikit_learns_with_its_early_stop_off(digits):
    x = heap(digits, 3, False)
    atoms = rival_atoms.dictionary(x, 15, 1, 2, 3)
    learner = MiniBatchDictionaryLearning(
        15, alpha=1, batch_size=256, max_iter=2, tol=0, max_no_improvement=None, random_state=3
    )
    expected_atoms = learner.fit(x - x.mean(axis=0)).components_  # by LARS
    assert learner.n_steps_ == 2 * np.ceil(len(x) / 256)
    coder = SparseCoder(expected_atoms, transform_algorithm="omp", transform_n_nonzero_coefs=4)
    drawn = atoms.mean + coder.transform(digits.x_test - atoms.mean) @ expected_atoms
    expected = ((drawn - digits.x_test) ** 2).mean()
    found = ((by_omp(atoms, 4)(digits.x_test) - digits.x_test) ** 2).mean()
    assert found == pytest.approx(expected, rel=0.02)
    assert (rival_atoms.dictionary(x, 15, 1, 3, 3).W != atoms.W).any()


def test_a_dictionary_that_begins_at_what_made_the_samples_stays_there():
    """From the principal axes one pass does not lead there."""
    rng = np.random.default_rng(0)
    W = rng.normal(size=(12, 8))
    W /= np.linalg.norm(W, axis=1, keepdims=True)
    x = ground_truth.samples(W, 600, 2, rng).x
    begun, axes = (rival_atoms.dictionary(x, 12, 0.05, 1, 0, start) for start in (W, None))
    near = [np.abs(match(atoms.W, W).cosines) for atoms in (begun, axes)]
    assert near[0].min() > 0.97 > near[1].mean()


def test_what_moves_is_another_heap(digits):
    still, moved = heap(digits, 0, False), heap(digits, 0, True)
    np.testing.assert_array_equal(still, np.tile(digits.x_train, (4, 1)))
    share = (still != moved).any(axis=1).mean()
    assert share == pytest.approx(0.5, abs=0.05)
    assert (heap(digits, 1, True) != moved).any()
    np.testing.assert_array_equal(heap(digits, 0, False, copies=1), digits.x_train)


@pytest.mark.parametrize("own", [False, True])
def test_pca_is_scikit_learns_or_has_the_best_k_of_its_axes(digits, own):
    x = digits.x_test.astype(float)
    drawn = rival_atoms.pca(digits.x_train.astype(float), 15, 4, own=own)(digits.x_test)
    few = PCA(4, svd_solver="full").fit(digits.x_train.astype(float))
    first = few.inverse_transform(few.transform(x))
    if not own:
        np.testing.assert_allclose(drawn, first, atol=1e-5)
    else:
        better = ((drawn - x) ** 2).sum(axis=1) <= ((first - x) ** 2).sum(axis=1) + 1e-6
        assert better.all()


def test_pursuit_takes_away_or_may_not(digits):
    # Of an image below the mean at one pixel, and of atoms that are single pixels.
    atoms = Atoms(np.eye(4), np.full(4, 0.5))
    x = np.array([[0.1, 0.6, 0.5, 0.5]])
    np.testing.assert_allclose(by_omp(atoms, 1)(x), [[0.1, 0.5, 0.5, 0.5]])
    np.testing.assert_allclose(by_omp(atoms, 1, signed=False)(x), [[0.5, 0.6, 0.5, 0.5]])


def test_atoms_that_are_images_are_those_of_the_training_set(digits):
    x = digits.x_train.astype(float)
    W, mean = rival_atoms.raw(digits.x_train, 10, 0)
    np.testing.assert_allclose(mean, x.mean(axis=0))
    closest = np.abs((x - mean) @ W.T / np.linalg.norm(x - mean, axis=1)[:, None]).max(axis=0)
    np.testing.assert_allclose(closest, 1)
    assert len(np.unique(W, axis=0)) == 10


def test_factors_have_length_one_and_take_nothing_away(digits):
    W, mean = rival_atoms.factors(digits.x_train.astype(float), 5, 20, 0)
    np.testing.assert_allclose(np.linalg.norm(W, axis=1), 1)
    assert (W >= 0).all() and not mean.any()


def test_k_svd_learns(digits):
    x = digits.x_train.astype(float)

    def error(atoms):
        return ((by_omp(atoms, 3)(digits.x_test) - digits.x_test) ** 2).mean()

    one, four = (error(rival_atoms.k_svd(x, 15, 3, rounds, 0)) for rounds in (1, 4))
    assert four < one < error(rival_atoms.raw(x, 15, 0))


@pytest.mark.parametrize(
    ("make", "setting"),
    [(rival_networks.matching, 4), (rival_networks.recipe, 4), (rival_networks.priced, 0.3)],
)
def test_a_network_rival_learns_and_is_the_same_again(digits, make, setting):
    def error(epochs, seed=0):
        steps = rival_networks.Steps(0.004, epochs, 64, seed)
        return make(digits, 15, setting, steps).error(digits.x_test)

    assert error(12) < 0.9 * error(1)
    assert error(1) == error(1) != error(1, seed=1)


def test_a_higher_price_leaves_fewer_units_active(digits):
    steps = rival_networks.Steps(0.004, 10, 64, 0)
    dear, cheap = (
        rival_networks.priced(digits, 15, price, steps).encode(digits.x_test)
        for price in (3.0, 0.1)
    )
    assert 0 < np.count_nonzero(dear) < np.count_nonzero(cheap)


def test_between_two_networks_lies_the_share_of_the_way_and_only_what_is_needed_is_trained():
    weights, active, called = (1, 2, 3, 4), (160.0, 40.0, 10.0, 2.5), set()

    def network(i):
        called.add(i)
        errors = np.array([0.0, 1.0]) + weights[i]
        return {part: (active[i], errors) for part in ("validation", "test")}

    networks = [partial(network, i) for i in range(4)]
    for k, weight in {20: 2.5, 10: 3, 5: 3.5, 1.25: 4.5}.items():
        called.clear()
        found = rival_networks.at_count(networks, k)
        for part in ("validation", "test"):
            np.testing.assert_allclose(found[part], np.array([0.0, 1.0]) + weight)
        assert 0 not in called
