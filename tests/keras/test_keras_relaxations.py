"""Soft selections in Keras against those in NumPy: weights, slopes, and noise on average."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from ksae_lab.keras import KSparseAutoencoder, Relaxation, relaxations
from ksae_lab.nn import relaxations as in_numpy

EXACT = ["shift_sigmoid", "straight_through", "capped_simplex", "sparsemax", "entmax15"]


def example(seed=0, rows=7, n=9):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, n)), rng.normal(size=(rows, n))


def weights_and_slopes(kind, h, dp, **options):
    variable = tf.Variable(h)
    with tf.GradientTape() as tape:
        p = relaxations.RELAXATIONS[kind](variable, **options)
    return ops.convert_to_numpy(p), ops.convert_to_numpy(tape.gradient(p, variable, dp))


def test_there_are_the_same_ones():
    assert list(relaxations.RELAXATIONS) == list(in_numpy.RELAXATIONS)


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("k", [1, 3, 8])
@pytest.mark.parametrize("temperature", [0.05, 0.7, 3.0])
def test_weights_and_slopes_are_those_of_numpy(kind, k, temperature):
    h, dp = example(seed=k)
    p, backward = in_numpy.RELAXATIONS[kind](h, k, temperature=temperature)
    theirs, slopes = weights_and_slopes(kind, h, dp, k=k, temperature=temperature)
    np.testing.assert_allclose(theirs, p, rtol=0, atol=1e-9)
    np.testing.assert_allclose(slopes, backward(dp), rtol=0, atol=1e-8)


def test_perturbed_has_the_slope_of_a_covariance(monkeypatch):
    h, dp = example()
    Z = np.random.default_rng(1).normal(size=(6, *h.shape))
    monkeypatch.setattr(
        relaxations.keras.random, "normal", lambda *_, **__: ops.convert_to_tensor(Z)
    )

    class SameNoise(np.random.Generator):
        def standard_normal(self, shape):
            assert shape == Z.shape
            return Z

    p, backward = in_numpy.perturbed(
        h, 3, temperature=0.5, samples=6, rng=SameNoise(np.random.PCG64())
    )
    options = {"k": 3, "temperature": 0.5, "samples": 6, "seed": 0}
    theirs, slopes = weights_and_slopes("perturbed", h, dp, **options)
    np.testing.assert_allclose(theirs, p, rtol=0, atol=1e-12)
    np.testing.assert_allclose(slopes, backward(dp), rtol=0, atol=1e-10)


def test_gumbel_subset_is_that_of_numpy(monkeypatch):
    h, dp = example()
    uniform = np.random.default_rng(1).uniform(0.01, 0.99, size=h.shape)
    tensor = ops.convert_to_tensor(uniform)
    monkeypatch.setattr(relaxations.keras.random, "uniform", lambda *_, **__: tensor)

    class SameNoise(np.random.Generator):
        def gumbel(self, size):
            assert size == h.shape
            return -np.log(-np.log(uniform))

    p, backward = in_numpy.gumbel_subset(h, 3, temperature=0.5, rng=SameNoise(np.random.PCG64()))
    theirs, slopes = weights_and_slopes("gumbel_subset", h, dp, k=3, temperature=0.5, seed=0)
    np.testing.assert_allclose(theirs, p, rtol=0, atol=1e-9)
    np.testing.assert_allclose(slopes, backward(dp), rtol=0, atol=1e-8)


def test_seeds_differ_and_are_kept():
    x = np.random.default_rng(0).uniform(size=(8, 9)).astype(np.float32)
    drawn = {}
    for seed in (1, 2):
        selector = Relaxation("perturbed", 3, 0.5, seed=seed)
        model = KSparseAutoencoder(9, 8, selector)
        assert model.get_config()["k"]["config"]["seed"] == seed
        h = ops.convert_to_tensor(x @ np.eye(9, 8, dtype=np.float32))
        drawn[seed] = ops.convert_to_numpy(model.selector.weights_of(h))
    assert (drawn[1] != drawn[2]).any()


@pytest.mark.parametrize("kind", relaxations.RELAXATIONS)
def test_half_precision_has_slopes_even_where_a_row_is_saturated(kind):
    h = np.array([[10, 10, 10, 0, 0, 0], [0.5, 0.1, 0.4, -0.3, 0.2, 0.0]], np.float16)
    h = np.tile(h, (500, 1))  # of so many draws in half precision one would be zero
    options = {"perturbed": {"samples": 4, "seed": 0}, "gumbel_subset": {"seed": 0}}.get(kind, {})
    p, slopes = weights_and_slopes(kind, h, np.ones_like(h), k=3, temperature=0.5, **options)
    assert np.isfinite(p).all() and np.isfinite(slopes).all()


@pytest.mark.parametrize("settings", [(8, 0.5), (0, 0.5), (3, 0.0), (3, -1.0)])
@pytest.mark.parametrize("kind", ["shift_sigmoid", "sparsemax", "gumbel_subset"])
def test_what_numpy_refuses_is_refused(kind, settings):
    with pytest.raises(ValueError):
        KSparseAutoencoder(9, 8, Relaxation(kind, *settings))


@pytest.mark.parametrize("kind", relaxations.RELAXATIONS)
def test_a_model_trains_with_it_and_is_exact_afterwards(kind):
    x = np.random.default_rng(0).uniform(size=(40, 9)).astype(np.float32)
    model = KSparseAutoencoder(9, 8, Relaxation(kind, 3, 0.5))
    model.compile("adam", loss="mse")
    loss = model.fit(x, x, epochs=5, batch_size=8, verbose=0).history["loss"]
    assert loss[-1] < loss[0]
    assert (np.count_nonzero(model.encode(x), axis=1) <= 3).all()
    model.selector.temperature = 0.25
    twin = model.to_numpy()
    assert repr(twin.selector) == f"Relaxation(kind={kind!r}, k=3, temperature=0.25, samples=10)"
    np.testing.assert_allclose(model.encode(x), twin.encode(x), atol=1e-6)
