"""SparseDream's gradients against finite differences and TensorFlow, its starts, its training."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksae_lab.data.datasets import load_dataset
from ksae_lab.evaluation.metrics import active_units
from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.nn.penalties import PENALTIES
from ksae_lab.training.gradcheck import check_gradients
from ksae_lab.training.optimizers import SGD, Adam

D, N = 6, 8
INACTIVE = ("none", "some silent", "some deaf", "all silent", "all deaf")


def dream(seed=0, batch=4, inactive="none", **options):
    """A small network with signs of all kinds, and images for it."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, (batch, D))
    model = SparseDream(D, N, **{"init": "as_found", "rng": rng, "dtype": np.float64} | options)
    model.W -= 0.3
    model.b += 0.2 * rng.normal(size=N)
    units = slice(None) if inactive.startswith("all") else slice(0, 3)
    if inactive.endswith("silent"):
        model.b[units] = -50  # a = 0 for every image, while h is heard by the others
    if inactive.endswith("deaf"):
        model.W[units] = -np.abs(model.W[units])  # h = 0 for every image, while b may speak
        model.b[units] = 0.4
    return model, x


def tensorflow_loss(tf, v, x, penalty, sparsity, norm_weight):
    price = {"tanh": tf.tanh, "l1": tf.abs, "log": lambda a: tf.math.log(1 + a**2)}[penalty]
    h = tf.nn.relu(tf.linalg.matvec(v["W"], x))
    a = tf.nn.relu(tf.linalg.matvec(v["S"], h) + v["b"])
    r = tf.linalg.matvec(v["W"], a, transpose_a=True)
    each = tf.reduce_sum((r - x) ** 2, axis=1) + sparsity * tf.reduce_sum(price(a), axis=1)
    spheres = (tf.reduce_sum(v["W"] ** 2, axis=1) - 1) ** 2
    return tf.reduce_mean(each) + norm_weight * tf.reduce_sum(spheres)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("inactive", INACTIVE)
def test_gradients_agree_with_central_differences(penalty, batch, inactive):
    model, x = dream(3, batch, inactive, penalty=penalty, sparsity=0.7, norm_weight=1.3)
    h, _, a = model.activities(x)
    silent, deaf = {"none": (0, 0), "some": (3, 3), "all": (N, N)}[inactive.split()[0]]
    if inactive.endswith("silent"):
        assert (~(a > 0).any(axis=0)).sum() >= silent
    if inactive.endswith("deaf"):
        assert (~(h > 0).any(axis=0)).sum() >= deaf
    assert (a > 0).any() == (inactive != "all silent")

    found = check_gradients(model, x)
    assert found.checked == D * N + N * N + N
    assert found.relative_error < 1e-6


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("inactive", INACTIVE)
def test_gradients_agree_with_tensorflow(penalty, batch, inactive, tf):
    model, x = dream(3, batch, inactive, penalty=penalty, sparsity=0.7, norm_weight=1.3)
    loss, gradients = model.loss_and_gradients(x)
    v = {name: tf.Variable(w) for name, w in model.parameters.items()}
    with tf.GradientTape() as tape:
        expected = tensorflow_loss(tf, v, x, penalty, 0.7, 1.3)
    assert loss == pytest.approx(float(expected), rel=1e-12)
    for name, gradient in tape.gradient(expected, v).items():
        np.testing.assert_allclose(gradients[name], gradient, rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("inactive", INACTIVE)
def test_masks_are_where_numbers_above_zero_pass(inactive):
    model, x = dream(3, 5, inactive)
    h, _, a = model.activities(x)
    for mask, passed in zip(model.masks(x), (h, a), strict=True):
        np.testing.assert_array_equal(mask, passed != 0)  # relu gives nothing below zero


def test_a_spoilt_image_is_read_and_the_clean_one_asked_for():
    model, target = dream(4)
    x = target + 0.3 * np.random.default_rng(5).normal(size=target.shape)
    assert check_gradients(model, x, target).relative_error < 1e-6
    assert model.loss(x, target) != pytest.approx(model.loss(x))
    assert model.error(x, target) == pytest.approx(np.mean((model.reconstruct(x) - target) ** 2))
    seen = model.forward_backward(x, target).forward
    for found, expected in [
        (seen.x, target),
        (seen.z, model.encode(x)),
        (seen.h, np.maximum(x @ model.W.T, 0) @ model.S.T + model.b),
        (seen.x_hat, model.reconstruct(x)),
        (seen.W_dec, model.W),
    ]:
        np.testing.assert_allclose(found, expected)


@given(seed=st.integers(0, 10**6), sparsity=st.floats(0, 5), norm_weight=st.floats(0, 5))
def test_each_part_of_the_loss_has_its_own_gradient(seed, sparsity, norm_weight):
    """The gradient is linear in λ and ρ, so the parts can be looked at one by one."""
    model, x = dream(seed)

    def gradient(weights):
        model.sparsity, model.norm_weight = weights
        return model.loss_and_gradients(x)[1]["W"]

    image = gradient((0, 0))
    price, spheres = gradient((1, 0)) - image, gradient((0, 1)) - image
    np.testing.assert_allclose(
        gradient((sparsity, norm_weight)),
        image + sparsity * price + norm_weight * spheres,
        rtol=1e-9,
        atol=1e-9,
    )


def test_a_batch_is_the_mean_of_its_images():
    model, x = dream(batch=5)
    loss, gradients = model.loss_and_gradients(x)
    each = [model.loss_and_gradients(image[None]) for image in x]
    assert loss == pytest.approx(np.mean([one for one, _ in each]))
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, np.mean([g[name] for _, g in each], axis=0))


def test_the_forward_pass_unit_by_unit():
    model, x = dream(batch=1)
    h = [max(0.0, float(w @ x[0])) for w in model.W]
    a = [max(0.0, sum(model.S[i, j] * h[j] for j in range(N)) + model.b[i]) for i in range(N)]
    np.testing.assert_allclose(model.encode(x)[0], a)
    np.testing.assert_allclose(model.reconstruct(x)[0], sum(a[i] * model.W[i] for i in range(N)))
    assert model.error(x) == pytest.approx(np.mean((model.reconstruct(x) - x) ** 2))


def test_it_starts_as_found():
    model = SparseDream(50, 40, init="as_found", rng=np.random.default_rng(0), dtype=np.float64)
    for matrix in (model.W, model.S):
        np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1)
    assert (model.W >= 0).all() and 0.4 < (model.S > 0).mean() < 0.6
    assert not model.b.any()


def test_it_starts_repaired():
    images = np.random.default_rng(1).uniform(0, 1, (30, D))
    model = SparseDream(
        D, N, images=images, inhibition=0.03, rng=np.random.default_rng(0), dtype=np.float64
    )
    directions = images / np.linalg.norm(images, axis=1, keepdims=True)
    nearest = (model.W @ directions.T).argmax(axis=1)
    np.testing.assert_allclose(model.W, directions[nearest])
    assert len(set(nearest)) == N, "no image twice while there are enough"
    off = ~np.eye(N, dtype=bool)
    np.testing.assert_allclose(np.diag(model.S), 1)
    np.testing.assert_allclose(model.S[off], -0.03)
    assert not model.b.any()
    images[1:] = 0
    some = SparseDream(D, N, images=images, rng=np.random.default_rng(0), dtype=np.float64)
    np.testing.assert_allclose(some.W, np.tile(directions[0], (N, 1)), err_msg="a black start")
    few = SparseDream(D, N, images=images[:2], rng=np.random.default_rng(0))
    assert few.W.shape == (N, D) and few.W.dtype == np.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "random"}, "no init 'random'; expected one of as_found, repaired"),
        ({}, r"draws prototypes from images \(samples, 6\), and was given none"),
        ({"images": np.ones((5, 4))}, r"\(5, 4\); expected \(batch, 6\)"),
        ({"images": np.zeros((5, D))}, "All images are black"),
        ({"penalty": "l0", "init": "as_found"}, "no penalty 'l0'"),
    ],
)
def test_what_cannot_start_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SparseDream(D, N, **options, rng=np.random.default_rng(0))


def test_images_of_another_size_are_refused():
    model, x = dream()
    for images in (x[:, :-1], x[0]):
        with pytest.raises(ValueError, match=r"expected \(batch, 6\)"):
            model.loss_and_gradients(images)


def test_sgd_steps_lower_the_loss():
    model, x = dream(batch=20)
    before = model.loss(x)
    model.fit(x, optimizer=SGD(0.005), epochs=20, batch_size=20, rng=np.random.default_rng(0))
    assert model.loss(x) < 0.9 * before


def test_it_learns_digits():
    """Ten seconds' work for a tenth of the book's recipe: far below the mean image's .068."""
    digits = load_dataset()
    rng = np.random.default_rng(0)
    model = SparseDream(784, 100, images=digits.x_train, rng=rng)
    model.fit(digits.x_train, optimizer=Adam(3e-3), epochs=8, batch_size=128, rng=rng)
    assert model.error(digits.x_test) < 0.04
    assert active_units(model.encode(digits.x_test)).mean() < 30
