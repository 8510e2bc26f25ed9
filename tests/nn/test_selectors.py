"""Selectors: their masks by brute force, their gradients by hand and by TensorFlow."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksae_lab import Adam, KSparse, KSparseAutoencoder, Network
from ksae_lab.nn import activations
from ksae_lab.nn.auxiliary_losses import L0
from ksae_lab.nn.module import ForwardPass
from ksae_lab.nn.selectors import (
    MEMORY,
    BatchTopK,
    JumpReLU,
    PrefixTopK,
    Relaxation,
    TopK,
    as_selector,
)
from ksae_lab.nn.topk import top_k_mask

RELU, LINEAR = activations.get("relu"), activations.get("linear")


def tied_rows(seed, rows=4, n=6):
    """Pre-activations with many ties."""
    return np.random.default_rng(seed).integers(-3, 4, size=(rows, n)) / 2.0


def largest(scores, k):
    """Indices of the k largest of a flat array, one by one; the first of equals."""
    left, chosen = scores.astype(float).copy(), []
    for _ in range(k):
        chosen.append(int(left.argmax()))
        left[chosen[-1]] = -np.inf
    return chosen


@given(seed=st.integers(0, 10**6), k=st.integers(0, 6), by=st.sampled_from(["value", "magnitude"]))
def test_top_k_is_the_mask_of_chapter_2(seed, k, by):
    h = tied_rows(seed)
    np.testing.assert_array_equal(TopK(k, by).mask(h), top_k_mask(h, k, by=by))


@given(
    seed=st.integers(0, 10**6),
    k=st.integers(0, 6),
    prefix=st.integers(1, 6),
    by=st.sampled_from(["value", "magnitude"]),
)
def test_a_prefix_leaves_the_other_units_out(seed, k, prefix, by):
    h = tied_rows(seed)
    mask = PrefixTopK(k, prefix, by).mask(h)
    scores = np.abs(h) if by == "magnitude" else h
    for row, active in zip(scores, mask, strict=True):
        assert set(np.flatnonzero(active)) == set(largest(row[:prefix], min(k, prefix)))


@given(seed=st.integers(0, 10**6), k=st.integers(0, 6), by=st.sampled_from(["value", "magnitude"]))
def test_a_batch_shares_its_active_units(seed, k, by):
    h = tied_rows(seed)
    scores = (np.abs(h) if by == "magnitude" else h).ravel()
    expected = np.zeros(h.size, dtype=bool)
    expected[largest(scores, k * len(h))] = True
    expected &= scores > 0
    np.testing.assert_array_equal(BatchTopK(k, by).training_mask(h), expected.reshape(h.shape))


def test_a_calibrated_threshold_keeps_what_the_batch_kept():
    h = np.random.default_rng(0).normal(size=(50, 8))
    selector = BatchTopK(3).for_units(8)
    selector.calibrate(h)
    np.testing.assert_array_equal(selector.mask(h), selector.training_mask(h))
    assert selector.mask(h).sum() == 150
    # The code of one image does not depend on its company.
    np.testing.assert_array_equal(selector.mask(h[:1]), selector.mask(h)[:1])


def test_a_threshold_follows_the_smallest_that_was_kept():
    rng = np.random.default_rng(0)
    selector = BatchTopK(2).for_units(5, np.float32)
    expected = None
    for _ in range(4):
        h = rng.normal(size=(6, 5)).astype(np.float32)
        smallest = np.sort(h[h > 0])[::-1][:12].min()
        expected = smallest if expected is None else MEMORY * expected + (1 - MEMORY) * smallest
        selector.observe(h)
    assert selector.threshold.dtype == np.float32
    assert float(selector.threshold) == pytest.approx(expected, rel=1e-5)
    selector.observe(-np.ones((6, 5), np.float32))  # nothing is active: nothing to follow
    assert float(selector.threshold) == pytest.approx(expected, rel=1e-5)


def test_where_no_unit_is_active_nothing_is_calibrated():
    with pytest.raises(ValueError, match="no unit is active"):
        BatchTopK(2).calibrate(-np.ones((3, 4)))


def test_a_network_observes_in_every_layer():
    rng = np.random.default_rng(0)
    layers = [KSparse(9, 8, BatchTopK(4), "relu", rng=rng), KSparse(8, 9, BatchTopK(5), rng=rng)]
    network = Network(layers)
    x = rng.uniform(size=(20, 9)).astype(np.float32)
    network.fit(x, optimizer=Adam(), epochs=2, batch_size=5, rng=rng)
    assert set(network.buffers) == {"threshold0", "threshold1"}
    assert all(float(threshold) > 0 for threshold in network.buffers.values())


@pytest.mark.parametrize("activation", ["relu", "linear", "gelu"])
def test_a_threshold_has_the_published_slope(activation):
    """Rajamanoharan et al. (2024), (11): ∂z/∂θ = −(θ/ε) K((h − θ)/ε) for relu and linear."""
    rng = np.random.default_rng(0)
    phi = activations.get(activation)
    selector = JumpReLU(0.5, 0.8).for_units(6)
    selector.log_threshold[:] = np.log(rng.uniform(0.2, 1.0, 6))
    theta = selector.thresholds
    h, dz = rng.normal(size=(40, 6)), rng.normal(size=(40, 6))
    z, backward = selector.forward(h, phi)
    dh, own = backward(dz)
    np.testing.assert_array_equal(z, np.where(h > theta, phi(h), 0))
    np.testing.assert_allclose(dh, np.where(h > theta, dz * phi.derivative(h), 0))
    kernel = np.abs((h - theta) / 0.8) < 0.5
    slope = (dz * -(phi(theta) / 0.8) * kernel).sum(axis=0)
    np.testing.assert_allclose(own["log_threshold"], slope * theta)


def test_a_ramp_of_that_width_has_this_slope():
    """The made-up slope is the mean slope of the loss when h is smeared over the bandwidth."""
    selector = JumpReLU(0.7, 0.4).for_units(1)
    h = np.linspace(0, 1.4, 200_001)[:, None]  # evenly: the mean over h is an integral
    dz = np.full_like(h, 1 / len(h))
    _, backward = selector.forward(h, LINEAR)
    _, own = backward(dz)

    def loss(log_threshold):
        return np.where(h > np.exp(log_threshold), h, 0).mean()

    at = float(selector.log_threshold[0])
    measured = (loss(at + 1e-2) - loss(at - 1e-2)) / 2e-2
    assert own["log_threshold"][0] == pytest.approx(measured, rel=1e-2)


def test_the_price_of_active_units_is_their_mean_number():
    rng = np.random.default_rng(0)
    model = KSparseAutoencoder(5, 6, JumpReLU(0.3, 0.5), rng=rng, dtype=np.float64)
    model.auxiliary_losses.append(L0(model.selector, 0.2))
    x = rng.normal(size=(30, 5))
    active = (model.encode(x) != 0).sum(axis=1).mean()
    assert model.loss(x) - model.error(x) == pytest.approx(0.2 * active)
    h = model.pre_activations(x)
    near = np.abs(h - 0.3) < 0.25
    forward = ForwardPass(x, h, h, x, model.W_dec)
    _, gradients = L0(model.selector, 0.2)(forward)
    np.testing.assert_allclose(gradients["log_threshold"], -0.3 * 0.2 / 0.5 * near.mean(axis=0))


def test_thresholds_rise_under_a_price_until_few_units_are_active():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(200, 12))
    active = {}
    for weight in (0.0, 0.05):
        model = KSparseAutoencoder(
            12, 10, JumpReLU(0.05, 0.3), rng=np.random.default_rng(1), dtype=np.float64
        )
        model.auxiliary_losses.append(L0(model.selector, weight))
        model.fit(x, optimizer=Adam(0.01), epochs=30, batch_size=20, rng=np.random.default_rng(2))
        active[weight] = np.count_nonzero(model.encode(x), axis=1).mean()
    assert active[0.05] < active[0.0] - 1


@pytest.mark.parametrize(
    "selector", [TopK(2), TopK(2, "magnitude"), PrefixTopK(2, 3), BatchTopK(2)]
)
def test_masks_pass_the_gradient_that_tensorflow_finds(tf, selector):
    rng = np.random.default_rng(0)
    h, dz = rng.normal(size=(5, 6)), rng.normal(size=(5, 6))
    _, backward = selector.forward(h, activations.get("tanh"))
    mask, v = selector.training_mask(h), tf.Variable(h)
    with tf.GradientTape() as tape:
        z = tf.where(mask, tf.tanh(v), 0)
    np.testing.assert_allclose(backward(dz)[0], tape.gradient(z, v, output_gradients=dz), rtol=1e-9)


def test_a_relaxation_is_soft_in_training_and_exact_afterwards():
    h = np.random.default_rng(0).normal(size=(5, 6))
    selector = Relaxation("shift_sigmoid", 2, 0.5)
    soft, _ = selector.forward(h, LINEAR)
    assert np.count_nonzero(soft) == 30
    np.testing.assert_array_equal(selector.encode(h, LINEAR) != 0, top_k_mask(h, 2))


def test_a_model_has_a_selector_of_its_own():
    selector = BatchTopK(2)
    rng = np.random.default_rng(0)
    one, two = (KSparseAutoencoder(5, 6, selector, rng=rng) for _ in range(2))
    one.k = 4
    one.selector.threshold[...] = 9
    assert (selector.k, two.k) == (2, 2) and float(two.selector.threshold) == 0
    assert as_selector(3).k == 3 and as_selector(selector) is selector


def test_they_say_what_is_wrong():
    rng = np.random.default_rng(0)
    for k in (TopK(7), TopK(-1), PrefixTopK(7, 3), BatchTopK(7)):
        with pytest.raises(ValueError, match="k = "):
            KSparseAutoencoder(5, 6, k, rng=rng)
    for prefix in (0, 7):
        with pytest.raises(ValueError, match="prefix is"):
            KSparseAutoencoder(5, 6, PrefixTopK(2, prefix), rng=rng)
    for settings in ({"threshold": 0}, {"bandwidth": -1}):
        with pytest.raises(ValueError, match="give a finite number above 0"):
            JumpReLU(**settings)
    with pytest.raises(ValueError, match="No relaxation is called 'hard'"):
        Relaxation("hard", 2, 1.0)
    model = KSparseAutoencoder(5, 6, Relaxation("perturbed", 2, 1.0), rng=rng)
    with pytest.raises(ValueError, match="draws random numbers; give it an rng"):
        model.loss(np.zeros((2, 5)))
    model = KSparseAutoencoder(5, 6, JumpReLU(), rng=rng)
    for touch in (lambda: model.k, lambda: setattr(model, "k", 3)):
        with pytest.raises(AttributeError, match="has no k"):
            touch()
