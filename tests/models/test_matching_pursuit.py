"""The matching-pursuit autoencoder: against the pursuit written out, and TensorFlow's gradients."""

import numpy as np
import pytest

from ksae_lab import MatchingPursuitAutoencoder, nonnegative_omp

D, N, K = 12, 7, 4


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    model = MatchingPursuitAutoencoder(D, N, K, rng=rng, dtype=np.float64)
    model.b[:] = rng.normal(size=D)
    return model


def images(seed=1):
    return np.random.default_rng(seed).normal(size=(6, D))


def test_a_code_is_the_pursuit_image_by_image(model):
    for image, code in zip(images(), model.encode(images()), strict=True):
        rest, expected = image - model.b, np.zeros(N)
        for _ in range(K):
            atom = np.abs(model.W @ rest).argmax()
            expected[atom] += model.W[atom] @ rest
            rest = rest - (model.W[atom] @ rest) * model.W[atom]
        np.testing.assert_allclose(code, expected, atol=1e-12)


def test_orthogonal_atoms_need_each_one_look(model):
    model.W[:] = np.linalg.qr(np.random.default_rng(0).normal(size=(D, N)))[0].T
    x = model.b + np.abs(np.random.default_rng(2).normal(size=(5, N))) @ model.W
    z = model.encode(x)
    np.testing.assert_allclose(z, nonnegative_omp(x - model.b, model.W, K), atol=1e-10)


def test_gradients_are_tensorflows(model):
    import tensorflow as tf

    x, clean = images(), images(2)
    W, b = tf.Variable(model.W), tf.Variable(model.b)
    with tf.GradientTape() as tape:
        rest = x - b
        for _ in range(K):
            atoms = tf.gather(W, tf.argmax(tf.abs(rest @ tf.transpose(W)), axis=1))
            rest -= tf.reduce_sum(atoms * rest, axis=1, keepdims=True) * atoms
        loss = tf.reduce_mean((x - rest - clean) ** 2)
    expected = tape.gradient(loss, [W, b])
    found, gradients = model.loss_and_gradients(x, clean)
    assert found == pytest.approx(float(loss), rel=1e-12)
    for name, gradient in zip(("W", "b"), expected, strict=True):
        np.testing.assert_allclose(gradients[name], tf.convert_to_tensor(gradient), atol=1e-13)


def test_what_cannot_work_is_refused(model):
    with pytest.raises(ValueError, match="k is 8"):
        MatchingPursuitAutoencoder(D, N, 8, rng=0)
    with pytest.raises(ValueError, match="images"):
        model.init_from_data(images(), 0)
