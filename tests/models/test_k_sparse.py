"""The autoencoder's gradients against finite differences and TensorFlow, and what it promises."""

import numpy as np
import pytest

from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.metrics import active_units
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.nn.auxiliary_losses import AuxK, DeCov
from ksae_lab.nn.selectors import Relaxation, TopK
from ksae_lab.training.gradcheck import check_gradients
from ksae_lab.training.optimizers import Adam

D, N, K = 7, 9, 3


class Monitor:
    """Says that these units are dead, whatever happens."""

    def __init__(self, *dead):
        self.dead = np.isin(np.arange(N), dead)


def autoencoder(seed=0, k=K, **options):
    rng = np.random.default_rng(seed)
    model = KSparseAutoencoder(D, N, k, **{"dtype": np.float64, "rng": rng, **options})
    for w in model.parameters.values():
        w += 0.3 * rng.normal(size=w.shape)
    return model, rng.normal(size=(5, D))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("by", ["value", "magnitude"])
@pytest.mark.parametrize("activation", ["relu", "linear", "gelu", "sigmoid"])
@pytest.mark.parametrize("seed", range(3))
def test_gradients_agree_with_central_differences(tied, by, activation, seed):
    model, x = autoencoder(seed, TopK(K, by), tied=tied, activation=activation)
    found = check_gradients(model, x)
    assert found.checked > 0.8 * sum(w.size for w in model.parameters.values())
    assert found.relative_error < 1e-7


@pytest.mark.parametrize("tied", [False, True])
def test_all_terms_together_agree_with_tensorflow(tied, tf):
    """TensorFlow differentiates the published formulas, stop_gradient and all, by itself."""
    model, x = autoencoder(4, tied=tied)
    dead, k_aux = np.array([1, 4, 6, 8]), 2
    model.auxiliary_losses = [AuxK(Monitor(*dead), k_aux), DeCov(0.7)]
    loss, gradients = model.loss_and_gradients(x)

    v = {name: tf.Variable(w) for name, w in model.parameters.items()}
    with tf.GradientTape() as tape:
        W_enc = tf.transpose(v["W_dec"]) if tied else v["W_enc"]
        h = (x - v["b_dec"]) @ W_enc + v["b_enc"]
        kth = tf.math.top_k(h, K).values[:, -1:]
        z = tf.nn.relu(tf.where(h >= kth, h, 0))
        x_hat = z @ v["W_dec"] + v["b_dec"]
        main = tf.reduce_mean((x_hat - x) ** 2)

        e = tf.stop_gradient(x - x_hat)
        h_dead = tf.gather(h, dead, axis=1)
        top = tf.math.top_k(h_dead, k_aux)
        z_aux = tf.scatter_nd(
            tf.stack([tf.repeat(tf.range(5), k_aux), tf.reshape(top.indices, [-1])], axis=1),
            tf.nn.relu(tf.reshape(top.values, [-1])),
            [5, len(dead)],
        )
        e_hat = z_aux @ tf.gather(v["W_dec"], dead)
        aux = tf.reduce_mean((e_hat - e) ** 2) / tf.reduce_mean((e - tf.reduce_mean(e, 0)) ** 2)

        centred = z - tf.reduce_mean(z, 0)
        C = tf.transpose(centred) @ centred / 5
        decov = 0.5 * (tf.reduce_sum(C**2) - tf.reduce_sum(tf.linalg.diag_part(C) ** 2))
        total = main + x.var(axis=0).mean() / 32 * aux + 0.7 * decov
    assert loss == pytest.approx(float(total), rel=1e-12)
    for name, gradient in tape.gradient(total, v).items():
        np.testing.assert_allclose(gradients[name], gradient, rtol=1e-10, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("name", ["shift_sigmoid", "sparsemax", "gumbel_subset"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_gradients_through_a_relaxation_agree_with_central_differences(name, activation):
    model, x = autoencoder(2, activation=activation)

    class SameNoise(Relaxation):
        def weights(self, h):
            self.rng = np.random.default_rng(0)
            return super().weights(h)

    model.selector = SameNoise(name, K, 0.7)
    model.masks = lambda x: []  # nothing jumps here
    found = check_gradients(model, x)
    assert found.skipped == 0 and found.relative_error < 1e-6
    assert model.loss(x) != pytest.approx(model.error(x)), "encode still selects exactly k"


def test_straight_through_differs_from_the_mask_only_in_what_losers_hear():
    model, x = autoencoder(2)
    loss, by_mask = model.loss_and_gradients(x)
    model.selector = Relaxation("straight_through", K, 0.7)
    same_loss, straight = model.loss_and_gradients(x)
    assert same_loss == loss
    np.testing.assert_array_equal(straight["W_dec"], by_mask["W_dec"])
    assert not np.allclose(straight["W_enc"], by_mask["W_enc"])


def test_codes_have_at_most_k_units_and_draw_what_reconstruct_draws():
    model, x = autoencoder(k=TopK(K, by="magnitude"), activation="linear")
    z = model.encode(x)
    assert (active_units(z) == K).all()
    by_hand = np.array([sum(z[i, j] * model.W_dec[j] for j in range(N)) for i in range(5)])
    np.testing.assert_allclose(model.reconstruct(x), by_hand + model.b_dec)
    assert model.error(x) == pytest.approx(np.mean((model.reconstruct(x) - x) ** 2))


def test_the_loss_has_the_terms_and_the_error_has_not():
    model, x = autoencoder()
    model.auxiliary_losses = [DeCov(2.0)]
    forward = model.forward_backward(x).forward
    assert model.loss(x) - model.error(x) == pytest.approx(DeCov(2.0)(forward)[0])
    assert model.loss(x) > model.error(x)


def test_tied_weights_are_one_matrix():
    model, x = autoencoder(tied=True)
    assert "W_enc" not in model.parameters
    model.W_dec[0] += 1
    np.testing.assert_array_equal(model.W_enc, model.W_dec.T)
    model.init_from_data(np.random.default_rng(0).normal(size=(20, D)), np.random.default_rng(1))
    model.fit(x, optimizer=Adam(), epochs=2, batch_size=2, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(model.W_enc, model.W_dec.T)


def test_starts_from_the_data():
    model, _ = autoencoder()
    x = np.random.default_rng(2).normal(size=(30, D)) + 5
    model.init_from_data(x, np.random.default_rng(0), noise=0)
    np.testing.assert_allclose(model.b_dec, x.mean(axis=0))
    directions = x - x.mean(axis=0)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    nearest = (model.W_dec @ directions.T).argmax(axis=1)
    np.testing.assert_allclose(model.W_dec, directions[nearest])
    assert len(set(nearest)) == N, "no image twice while there are enough"
    np.testing.assert_array_equal(model.W_enc, model.W_dec.T)


def test_as_many_images_as_units_are_taken_once_each():
    model, _ = autoencoder()
    x = np.random.default_rng(2).normal(size=(N, D))
    model.init_from_data(x, np.random.default_rng(0), noise=0)
    assert sorted((model.W_dec @ (x - x.mean(axis=0)).T).argmax(axis=1)) == list(range(N))


def test_units_that_start_at_the_same_image_are_no_duplicates():
    model, _ = autoencoder()
    x = np.random.default_rng(2).normal(size=(2, D))  # two images for nine units
    model.init_from_data(x, np.random.default_rng(0), noise=0.05)
    cosines = model.W_dec @ model.W_dec.T - np.eye(N)
    assert np.abs(cosines[np.triu_indices(N, 1)]).min() > 0.9
    assert cosines.max() < 1 - 1e-6


def test_rows_keep_length_one_in_training_if_they_are_to():
    x = np.random.default_rng(0).normal(size=(20, D))
    for unit_norm in (True, False):
        model, _ = autoencoder(unit_norm=unit_norm)
        how = {"epochs": 1, "batch_size": 5, "rng": np.random.default_rng(0)}
        model.fit(x, optimizer=Adam(0.1), **how)
        lengths = np.linalg.norm(model.W_dec, axis=1)
        assert np.allclose(lengths, 1) == unit_norm


def test_learns_digits():
    digits = load_dataset()
    rng = np.random.default_rng(0)
    model = KSparseAutoencoder(784, 30, 5, rng=rng)
    model.init_from_data(digits.x_train, rng)
    before = {name: w.copy() for name, w in model.parameters.items()}
    start = model.error(digits.x_val)
    history = model.fit(
        digits.x_train[:1000],
        optimizer=Adam(3e-3),
        epochs=5,
        batch_size=50,
        rng=rng,
        validation=(digits.x_val,),
    )
    assert history.validation[-1] == model.error(digits.x_val) < 0.7 * start
    assert all((w != before[name]).any() for name, w in model.parameters.items())
    assert all(w.dtype == np.float32 for w in model.parameters.values())


def test_tied_weights_stay_tied_whatever_is_assigned():
    model, _ = autoencoder(tied=True)
    model.W_dec = np.ones((N, D))
    np.testing.assert_array_equal(model.W_enc, np.ones((D, N)))
    with pytest.raises(AttributeError, match=r"W_enc is W_dec\.T; set W_dec"):
        model.W_enc = np.zeros((D, N))


@pytest.mark.parametrize("shape", [(D,), (2, D + 1), (2, 2, D)])
def test_refuses_other_shapes(shape):
    model, _ = autoencoder()
    with pytest.raises(ValueError, match=r"expected \(batch, 7\)"):
        model.encode(np.zeros(shape))


@pytest.mark.parametrize("wrong", [{"k": N + 1}, {"k": TopK(K, "size")}, {"activation": "relu6"}])
def test_refuses_what_cannot_work_at_once(wrong):
    how = {"n_pixels": D, "n_units": N, "k": K, "rng": np.random.default_rng(0), **wrong}
    with pytest.raises(ValueError):
        KSparseAutoencoder(**how)
