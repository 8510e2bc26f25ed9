"""Selectors beyond top-k and one model for many k: masks, gradients, what a file remembers.

Each mask is written a second time here in NumPy, and each gradient found in another way.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import ops
from scipy.stats import norm

from ksae_lab.keras import BatchTopK, JumpReLU, PrefixTopK, TopK, auxiliary_losses
from ksae_lab.keras.auxiliary_losses import (
    L0,
    AuxK,
    DeCov,
    HierarchicalTopK,
    Matryoshka,
    MultiTopK,
)
from ksae_lab.keras.callbacks import DeadUnitMonitor, KCurriculum, ResetDeadUnits
from ksae_lab.keras.layers import KSparse
from ksae_lab.keras.models import KSparseAutoencoder
from ksae_lab.models import k_sparse
from ksae_lab.nn import parts_of_codes
from ksae_lab.nn import selectors as in_numpy
from ksae_lab.nn.topk import top_k_mask
from ksae_lab.training.gradcheck import check_gradients
from tests.keras.test_keras_elsewhere import run

# Few different numbers make many ties, and zeros of both signs.
NUMBERS = st.sampled_from([-np.inf, -2.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0, np.inf])
BATCHES = hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.just(6)), elements=NUMBERS)
BY = st.sampled_from(["value", "magnitude"])


def numpy_model(k=3, n_units=6, **how):
    """A float64 autoencoder of 7 pixels, all of its weights different from zero."""
    rng = np.random.default_rng(0)
    model = k_sparse.KSparseAutoencoder(
        7, n_units, k, **{"unit_norm": False} | how, rng=rng, dtype=np.float64
    )
    for name, w in model.parameters.items():
        w += 0 if name == "log_threshold" else 0.3 * rng.normal(size=w.shape)
    return model


def images(rows=8, seed=1):
    return np.random.default_rng(seed).uniform(size=(rows, 7))


def in_training(model, x):
    """The loss, and its gradient for each weight by name, as TensorFlow finds them."""
    with tf.GradientTape() as tape:
        loss = ops.mean((model(x, training=True) - x) ** 2)
        loss += sum(ops.cast(term, "float64") for term in model.losses)  # terms come in float32
    gradients = tape.gradient(loss, {w.name: w.value for w in model.trainable_variables})
    return float(loss), {name: np.asarray(gradient) for name, gradient in gradients.items()}


def own(selector, n_units=6):
    """A selector of one's own for so many units, in float64."""
    return selector.own(n_units, keras.layers.Layer(dtype="float64"), dead_after=10)


def linear(h):
    return h


def twin_of(model, *auxiliary_losses, **options):
    return KSparseAutoencoder.from_numpy(model, auxiliary_losses=auxiliary_losses, **options)


def as_bool(mask):
    return ops.convert_to_numpy(mask).astype(bool)


# Several k, and prefixes.


@given(BATCHES, st.integers(0, 6), st.integers(1, 6), BY)
def test_a_prefix_is_selected_from_as_if_there_were_no_more_units(h, k, prefix, by):
    rule = own(PrefixTopK(k, prefix, by))
    expected = np.zeros_like(h, bool)
    expected[:, :prefix] = top_k_mask(h[:, :prefix], min(k, prefix), by=by)
    np.testing.assert_array_equal(as_bool(rule.mask(ops.convert_to_tensor(h))), expected)


def first_units(model, prefix):
    """A NumPy model of the first units alone, with the same weights."""
    selector = in_numpy.TopK(min(model.k, prefix), model.selector.by)
    small = numpy_model(selector, prefix, activation=model.phi.name)
    small.W_enc[:], small.W_dec[:] = model.W_enc[:, :prefix], model.W_dec[:prefix]
    small.b_enc[:], small.b_dec[:] = model.b_enc[:prefix], model.b_dec
    return small


@pytest.mark.parametrize("kind", ["HierarchicalTopK", "Matryoshka"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_parts_of_a_code_have_the_gradients_that_tensorflow_finds(kind, activation):
    parts, x = [(0, 0.5), (1, 2.0), (3, 0.25), (5, 1.0)], images()
    model = numpy_model(in_numpy.TopK(4), activation=activation)
    twin = twin_of(model, getattr(auxiliary_losses, kind)(parts))
    model.auxiliary_losses = [getattr(parts_of_codes, kind)(parts)]
    expected, slopes = model.loss_and_gradients(x)
    loss, found = in_training(twin, x)
    assert loss == pytest.approx(expected, rel=1e-6)
    for name, slope in slopes.items():
        np.testing.assert_allclose(found[name], slope, rtol=1e-5, atol=1e-7, err_msg=name)


def test_a_part_with_more_units_than_there_are_is_refused():
    for kind in (HierarchicalTopK, Matryoshka):
        with pytest.raises(ValueError, match="size"):
            twin_of(numpy_model(), kind([(7, 1.0)]))
        again = kind.from_config(kind([(2, 1.0)]).get_config())
        assert again.parts == [(2, 1.0)]


@pytest.mark.parametrize("by", ["value", "magnitude"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_loss_is_a_weighted_sum_of_the_losses_of_models_with_one_k(activation, by):
    model, x = numpy_model(in_numpy.TopK(2, by), activation=activation), images()
    also = [(5, 6, 0.125), (1, 6, 2.0), (2, 4, 0.5), (3, 2, 1.5)]
    twin = twin_of(model, MultiTopK(also))
    expected, slopes = model.loss_and_gradients(x)
    for k, prefix, weight in also:
        part = first_units(model, prefix)
        part.k = min(k, prefix)
        loss, gradients = part.loss_and_gradients(x)
        expected += weight * loss
        slopes["W_enc"][:, :prefix] += weight * gradients["W_enc"]
        slopes["W_dec"][:prefix] += weight * gradients["W_dec"]
        slopes["b_enc"][:prefix] += weight * gradients["b_enc"]
        slopes["b_dec"] += weight * gradients["b_dec"]
    loss, found = in_training(twin, x)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert found.keys() == slopes.keys()
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, slopes[name], rtol=0, atol=1e-12, err_msg=name)


def test_other_terms_stay_and_all_count_in_training_only():
    losses = [MultiTopK([(4, 6, 1.0)]), DeCov(1.0)]
    model = KSparseAutoencoder(7, 6, 2, auxiliary_losses=losses)
    model(images())
    assert model.losses == []
    model(images(), training=True)
    assert len(model.losses) == 2


def test_the_target_of_every_k_is_the_clean_image():
    model = numpy_model(2)
    model.W_enc[:] = 0  # no path from the image to the code, so nothing to spoil
    values = []
    for noise in (0.0, 0.9):
        twin = twin_of(model, MultiTopK([(4, 3, 1.0)]), noise=noise)
        twin(images(), training=True)
        values.append(float(twin.losses[0]))
    assert values[0] == values[1] > 0


def test_a_prefix_needs_no_new_graph():
    traces = []

    def counted(h):
        traces.append(h)
        return h

    model = KSparseAutoencoder(7, 6, PrefixTopK(6, 6), counted)
    x = images(4).astype(np.float32)
    model.predict(x, verbose=0)
    del traces[:]
    for prefix in (1, 4, 6):
        model.selector.prefix = prefix
        model.predict(x, verbose=0)
        assert (np.count_nonzero(model.encode(x), axis=1) == prefix).all()
    assert len(traces) == 3  # those of `encode`, which is no graph


def test_goes_to_numpy_for_the_k_and_the_prefix_that_are_set():
    model = twin_of(numpy_model(in_numpy.PrefixTopK(3, 6)))
    model.k, model.selector.prefix = 1, 5
    assert repr(model.to_numpy().selector) == "PrefixTopK(k=1, by='value', prefix=5)"


# The k largest numbers of a whole batch.


def batch_mask(h, k, by="value"):
    """Go through all numbers from the largest to the smallest, and count."""
    scores = np.abs(h) if by == "magnitude" else h
    mask = np.zeros(h.shape, bool)
    by_size = sorted(np.ndindex(h.shape), key=lambda place: -scores[place])  # stable: ties in order
    for place in by_size[: k * len(h)]:
        mask[place] = scores[place] > 0
    return mask


@given(BATCHES, st.integers(0, 6), BY)
def test_a_batch_keeps_its_largest_ties_and_all(h, k, by):
    rule = own(BatchTopK(k, by))
    found = as_bool(rule.mask(ops.convert_to_tensor(h), training=True))
    np.testing.assert_array_equal(found, batch_mask(h, k, by))


def test_a_batch_has_exactly_k_units_an_image_on_average_and_not_for_each():
    h = np.random.default_rng(0).normal(size=(50, 6)) + 3  # all above zero
    mask = as_bool(own(BatchTopK(2)).mask(ops.convert_to_tensor(h), training=True))
    assert mask.sum() == 2 * 50
    assert len(set(mask.sum(axis=1))) > 2


def test_a_nan_is_not_hidden():
    h = np.array([[1.0, np.nan, 3.0, 2.0, 0.0, -1.0], [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]])
    for training in (True, False):
        marked = as_bool(own(BatchTopK(2)).mask(ops.convert_to_tensor(h), training))
        assert marked[0, 1]


class BatchModel:
    """What `BatchTopK` computes in training, in NumPy, for `check_gradients` to nudge."""

    def __init__(self, parameters, k):
        self.parameters, self.k = parameters, k

    def masks(self, x):
        p = self.parameters
        return [batch_mask((x - p["b_dec"]) @ p["W_enc"] + p["b_enc"], self.k)]

    def loss(self, x):
        p = self.parameters
        h = (x - p["b_dec"]) @ p["W_enc"] + p["b_enc"]
        z = np.tanh(h) * batch_mask(h, self.k)
        return np.mean((z @ p["W_dec"] + p["b_dec"] - x) ** 2)

    def loss_and_gradients(self, x):
        return self.loss(x), in_training(self.twin, x)[1]


def test_the_gradient_of_a_batch_is_the_slope_of_its_loss():
    model, x = numpy_model(in_numpy.BatchTopK(2), activation="tanh"), images()
    mine = BatchModel(model.parameters, k=2)
    mine.twin = twin_of(model)
    assert in_training(mine.twin, x)[0] == pytest.approx(mine.loss(x), rel=1e-12)
    found = check_gradients(mine, x)
    assert found.checked > 90 and found.relative_error < 1e-7


def test_the_threshold_follows_the_smallest_number_kept():
    rule = own(BatchTopK(2))
    expected = None
    for seed in range(4):
        h = np.random.default_rng(seed).normal(size=(5, 6))
        rule(ops.convert_to_tensor(h), phi=linear, training=True)
        smallest = np.sort(h.ravel())[-10]
        expected = smallest if expected is None else 0.99 * expected + 0.01 * smallest
        assert float(rule.threshold) == pytest.approx(expected, rel=1e-6)
        rule(ops.convert_to_tensor(h + 9), phi=linear)  # not in training
    rule(ops.convert_to_tensor(-np.ones((5, 6))), phi=linear, training=True)  # none above zero
    assert float(rule.threshold) == pytest.approx(expected, rel=1e-6)
    assert rule.threshold.trainable is False


def test_without_training_all_above_zero_are_active():
    h = np.array([[-1.0, 0.0, 1.0, 2.0, 3.0, 4.0]])
    found = as_bool(own(BatchTopK(1)).mask(ops.convert_to_tensor(h)))
    np.testing.assert_array_equal(found, h > 0)


def test_after_training_a_code_does_not_depend_on_the_neighbours():
    model, x = twin_of(numpy_model(in_numpy.BatchTopK(2))), images(20)
    model(x, training=True)
    together = ops.convert_to_numpy(model.encode(x))
    alone = np.concatenate([model.encode(x[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-12)
    h = ops.convert_to_numpy(model.pre_activations(x))
    np.testing.assert_array_equal(together != 0, (h >= float(model.selector.threshold)) & (h > 0))
    # In training it does: an image among brighter ones has fewer active units.
    loud = np.concatenate([x[:1], x[:1] + 50 * ops.convert_to_numpy(model.W_enc)[:, 0]])
    mask = as_bool(model.selector.mask(model.pre_activations(loud), training=True))
    alone = as_bool(model.selector.mask(model.pre_activations(x[:1]), training=True))
    assert mask[0].sum() < alone.sum() == 2


def test_calibration_gives_k_units_on_average():
    model, x = twin_of(numpy_model(in_numpy.BatchTopK(2))), images(50)
    for k in (3, 1, 2):
        model.k = k
        model.selector.calibrate(model.pre_activations(x))
        assert np.count_nonzero(model.encode(x)) == k * 50
    model.selector.threshold.assign(1e9)
    assert not np.any(model.encode(x))


# A threshold for each unit.


def by_hand(model, x, price, bandwidth):
    """The loss of JumpReLU and its gradients, with the two slopes that are made up."""
    p = {w.name: ops.convert_to_numpy(w) for w in model.trainable_variables}
    theta = np.exp(p["log_threshold"])
    h = (x - p["b_dec"]) @ p["W_enc"] + p["b_enc"]
    step = (h > theta).astype(float)
    z = h * step
    left = z @ p["W_dec"] + p["b_dec"] - x
    loss = np.mean(left**2) + price * step.sum() / len(x)

    d_left = 2 * left / left.size
    dz = d_left @ p["W_dec"].T
    dh = dz * step
    rectangle = (np.abs((h - theta) / bandwidth) < 0.5).astype(float)
    d_theta = (dz * (-theta / bandwidth) * rectangle).sum(axis=0)
    d_theta += (price / len(x) * (-1 / bandwidth) * rectangle).sum(axis=0)
    return loss, {
        "W_enc": (x - p["b_dec"]).T @ dh,
        "W_dec": z.T @ d_left,
        "b_enc": dh.sum(axis=0),
        "b_dec": d_left.sum(axis=0) - p["W_enc"] @ dh.sum(axis=0),
        "log_threshold": theta * d_theta,
    }


@pytest.mark.parametrize("price", [0.0, 0.7])
@pytest.mark.parametrize("bandwidth", [0.4, 2.0])
def test_jumps_have_the_gradients_of_the_paper(bandwidth, price):
    model = twin_of(numpy_model(in_numpy.JumpReLU(0.3, bandwidth)), L0(price))
    x = images(30)
    spread = 0.2 * np.random.default_rng(2).normal(size=6)
    model.selector.log_threshold.assign(np.log(0.3) + spread)
    loss, found = in_training(model, x)
    expected, slopes = by_hand(model, x, price, bandwidth)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert found.keys() == slopes.keys()
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, slopes[name], rtol=0, atol=1e-12, err_msg=name)
        assert np.any(gradient)


def test_the_made_up_slopes_are_those_of_the_expectation_where_there_is_noise():
    # h is normal around m, so that E[1[h > θ]] = 1 − Φ((θ − m)/σ), and E[z] has a slope in θ too.
    rows, sigma, bandwidth = 200_000, 0.8, 0.1
    m, theta = np.array([0.5, 1.0, 2.0]), np.array([1.0, 0.9, 1.2])
    h = m + sigma * np.random.default_rng(0).normal(size=(rows, 3))
    rule = own(JumpReLU(1.0, bandwidth), 3)
    rule.log_threshold.assign(np.log(theta))
    with tf.GradientTape(persistent=True) as tape:
        number = ops.sum(rule.count(ops.convert_to_tensor(h))) / rows
        drawn = ops.sum(rule(ops.convert_to_tensor(h), phi=linear)) / rows
    density = norm.pdf(theta, m, sigma)
    # The share of draws in the window, divided by its width, has this standard error.
    error = np.sqrt(density / bandwidth / rows)
    for value, expected, scale in ((number, -density, 1), (drawn, -theta * density, theta)):
        slope = ops.convert_to_numpy(tape.gradient(value, rule.log_threshold.value)) / theta
        assert (np.abs(slope - expected) < 4 * scale * error).all()

    def expected_number(theta):
        return norm.sf(theta, m, sigma)

    nudge = 1e-4
    differences = (expected_number(theta + nudge) - expected_number(theta - nudge)) / (2 * nudge)
    np.testing.assert_allclose(differences, -density, rtol=1e-5)


def test_jumps_go_forward_as_steps():
    h = np.array([[0.1, 0.2, 0.3, -1.0], [5.0, 0.19, 0.21, 4.0]])
    rule = own(JumpReLU(1.0), 4)
    rule.log_threshold.assign(np.log([0.2, 0.2, 0.2, 0.2]))
    expected = np.where(h > np.exp(ops.convert_to_numpy(rule.log_threshold)), h, 0)
    np.testing.assert_array_equal(rule(ops.convert_to_tensor(h), phi=linear), expected)
    np.testing.assert_array_equal(rule.count(ops.convert_to_tensor(h)), [1, 3])


def test_the_price_is_paid_in_training_only_and_thresholds_stay_above_zero():
    model = twin_of(numpy_model(in_numpy.JumpReLU(0.5)), L0(5.0), dtype="float32")
    x = images(40).astype(np.float32)
    model(x)
    assert model.losses == []
    active = np.count_nonzero(model.encode(x)) / 40
    model(x, training=True)
    assert float(model.losses[0]) == pytest.approx(5 * active)
    np.testing.assert_allclose(model.selector.thresholds, 0.5, rtol=1e-6)
    model.compile(keras.optimizers.SGD(1.0), loss="mse")
    model.fit(x, x, epochs=3, shuffle=False, verbose=0)
    assert (model.selector.thresholds > 0).all()
    assert not np.allclose(model.selector.thresholds, 0.5)


# All of them.

MAKE = {
    "PrefixTopK": lambda **how: twin_of(
        numpy_model(in_numpy.PrefixTopK(2, 6)), MultiTopK([(4, 3, 0.5)]), **how
    ),
    "BatchTopK": lambda **how: twin_of(numpy_model(in_numpy.BatchTopK(2)), **how),
    "JumpReLU": lambda **how: twin_of(numpy_model(in_numpy.JumpReLU(0.4, 0.7)), L0(0.1), **how),
}
each = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)


@each
def test_saves_and_loads_and_goes_on(make, tmp_path):
    x = images(32).astype(np.float32)

    def fit(model, epochs):
        model.fit(x, x, batch_size=8, epochs=epochs, shuffle=False, verbose=0)

    whole, first = make(dtype="float32"), make(dtype="float32")
    for model in (whole, first):
        model.compile(keras.optimizers.Adam(0.01), loss="mse")
    fit(whole, 4)
    fit(first, 2)
    nested = hasattr(first.selector, "prefix")
    if nested:
        first.selector.prefix = whole.selector.prefix = 5
    first.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again) is type(first)
    assert again.get_config() == first.get_config()
    np.testing.assert_array_equal(again.encode(x), first.encode(x))
    if nested:
        again.selector.prefix = whole.selector.prefix = 6
    fit(again, 2)
    for a, b in zip(again.weights, whole.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6, err_msg=a.name)


@each
def test_xla_takes_the_same_steps(make):
    x, weights = images(20).astype(np.float32), []
    for jit_compile in (False, True):
        model = make(dtype="float32")
        model.compile("sgd", loss="mse", jit_compile=jit_compile)
        model.fit(x, x, batch_size=8, shuffle=False, verbose=0)  # the last batch is smaller
        weights.append(model.get_weights())
    for graph, xla in zip(*weights, strict=True):
        np.testing.assert_allclose(xla, graph, rtol=0, atol=1e-6)


@each
def test_callbacks_work_on_it(make):
    x = images(40).astype(np.float32)
    model = make(dtype="float32", dead_after=40)
    model.selector.silent.assign([99, 0, 0, 0, 0, 0])
    model.b_enc.assign([-9, 0, 0, 0, 0, 0])
    model.compile("adam", loss="mse")
    callbacks = [DeadUnitMonitor(), ResetDeadUnits(x, every=1)]
    if hasattr(model.selector, "k"):
        callbacks.append(KCurriculum(6, 2))
    history = model.fit(x, x, batch_size=8, epochs=4, verbose=0, callbacks=callbacks).history
    assert history.get("k", [4, 2, 2, 2]) == [4, 2, 2, 2]
    assert history["dead"][0] >= 1
    assert float(model.b_enc[0]) > -1


def test_the_same_steps_on_jax_and_on_two_devices(tmp_path):
    x = images(24)
    np.save(tmp_path / "x.npy", x)
    for name, make in MAKE.items():
        model = make()
        model.compile(keras.optimizers.SGD(0.5), keras.losses.MeanSquaredError(dtype="float64"))
        model.save(tmp_path / f"{name}.keras")
        model.fit(x, x, batch_size=8, epochs=2, shuffle=False, verbose=0)
        np.savez(tmp_path / f"{name}.npz", *[ops.convert_to_numpy(w) for w in model.weights])
    on_jax = """
import sys
import keras
import ksae_lab.keras
import numpy as np

assert keras.backend.backend() == "jax"
x = np.load(f"{sys.argv[1]}/x.npy")
for name in ("PrefixTopK", "BatchTopK", "JumpReLU"):
    model = keras.saving.load_model(f"{sys.argv[1]}/{name}.keras")
    model.fit(x, x, batch_size=8, epochs=2, shuffle=False, verbose=0)
    expected = np.load(f"{sys.argv[1]}/{name}.npz")
    for variable, w in zip(model.weights, expected.values(), strict=True):
        np.testing.assert_allclose(variable, w, rtol=0, atol=1e-6, err_msg=variable.name)
    print(name)
"""
    output, _ = run(on_jax, tmp_path, KERAS_BACKEND="jax", JAX_ENABLE_X64="1")
    assert output == "PrefixTopK\nBatchTopK\nJumpReLU\n"
    on_two_devices = """
import sys
import keras
import ksae_lab.keras
import numpy as np
import tensorflow as tf
from ksae_lab.keras import BatchTopK, KSparseAutoencoder

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.load(f"{sys.argv[1]}/x.npy")[:2].astype(np.float32)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model = KSparseAutoencoder(7, 6, BatchTopK(2))
    model.b_enc.assign(np.full(6, 5))  # all above zero
    model.compile("sgd", loss="mse")
h = np.sort(keras.ops.convert_to_numpy(model.pre_activations(x)), axis=1)
model.fit(x, x, batch_size=2, verbose=0)  # one image for each device
threshold = keras.ops.convert_to_numpy(model.selector.threshold)
print(abs(threshold - h[:, -2].mean()) < 1e-5, h[0, -2] != h[1, -2])
"""
    assert run(on_two_devices, tmp_path)[0] == "True True\n"


def test_configs_are_what_they_were_made_with():
    losses = [MultiTopK([(4, 6, 0.125)]), DeCov(0.5)]
    made = {"tied": True, "noise": 0.2, "auxiliary_losses": losses}
    model = KSparseAutoencoder(7, 6, PrefixTopK(2, 5), "gelu", **made)
    config = model.get_config()
    assert config["k"]["class_name"] == "PrefixTopK" and config["tied"] is True
    assert KSparseAutoencoder.from_config(config).get_config() == config
    config = KSparseAutoencoder(7, 6, JumpReLU(0.4, 0.3), auxiliary_losses=[L0(0.2)]).get_config()
    assert config["k"]["config"]["bandwidth"] == 0.3
    assert KSparseAutoencoder.from_config(config).get_config() == config


def test_two_models_of_one_value_have_selectors_of_their_own():
    value = TopK(2)
    one, two = KSparseAutoencoder(7, 6, value), KSparseAutoencoder(7, 6, value)
    one.k = 5
    assert (value.k, two.k) == (2, 2)


def test_a_copy_keeps_what_a_selector_has_learned():
    for selector, name in ((BatchTopK(2), "threshold"), (JumpReLU(0.4), "log_threshold")):
        model = KSparseAutoencoder(7, 6, selector)
        getattr(model.selector, name).assign(np.full(getattr(model.selector, name).shape, 0.7))
        other = KSparseAutoencoder(7, 6, model.selector)
        np.testing.assert_allclose(getattr(other.selector, name), 0.7, rtol=1e-6)


def test_bytes_are_images_too():
    x = np.random.default_rng(0).integers(0, 2, (32, 7), dtype=np.uint8)
    model = KSparseAutoencoder(7, 6, 2, auxiliary_losses=[AuxK(2)])
    model.compile("adam", loss="mse")
    assert np.isfinite(model.fit(x, x, verbose=0).history["loss"]).all()


def test_two_layers_have_weights_of_different_names():
    layers = [KSparse(6, JumpReLU()), KSparse(5, JumpReLU())]
    model = keras.Sequential([keras.Input((7,)), *layers])
    paths = [variable.path for variable in model.variables]
    assert len(set(paths)) == len(paths)


def test_a_k_that_cannot_follow_a_schedule_is_refused():
    model, x = KSparseAutoencoder(7, 6, JumpReLU(0.3)), images(32).astype(np.float32)
    model.compile("adam", loss="mse")
    with pytest.raises(ValueError, match="cannot follow a schedule"):
        model.fit(x, x, verbose=0, callbacks=[KCurriculum(4, 3)])


def test_says_what_is_wrong():
    def with_losses(*losses, k=2):
        return KSparseAutoencoder(7, 6, k, auxiliary_losses=losses)

    with pytest.raises(ValueError, match="k = 7, but a row has 6 entries"):
        with_losses(MultiTopK([(7, 6, 1.0)]))
    for prefix in (0, 7):
        with pytest.raises(ValueError, match=rf"prefix is {prefix}; give .* 1 to 6"):
            with_losses(MultiTopK([(2, prefix, 1.0)]))
    with pytest.raises(ValueError, match="k = 2 weighs 0; give more than 0"):
        MultiTopK((k, 6, weight) for k, weight in [(1, 1.0), (2, 0)])
    for k in (2.5, True, "2", None, TopK, in_numpy.TopK(2)):
        with pytest.raises(TypeError, match="give the number of active units, or a selector"):
            KSparseAutoencoder(7, 6, k)
    with pytest.raises(TypeError, match=r"prefix is 2\.5, not an integer"):
        PrefixTopK(2, 2.5)
    with pytest.raises(TypeError, match="is no auxiliary loss"):
        with_losses("AuxK")
    model = KSparseAutoencoder(7, 6, PrefixTopK(2, 6))
    with pytest.raises(ValueError, match="prefix is 0"):
        model.selector.prefix = 0
    assert model.selector.prefix == 6
    with pytest.raises(ValueError, match="weight is -1"):
        L0(-1)
    with pytest.raises(ValueError, match="A TopK has no thresholds"):
        with_losses(L0(1))
    for name in ("bandwidth", "threshold"):
        with pytest.raises(ValueError, match=f"{name} is 0; give a finite number above 0"):
            JumpReLU(**{name: 0})
    jumps = KSparseAutoencoder(7, 6, JumpReLU())
    for touch in (lambda: jumps.k, lambda: setattr(jumps, "k", 3)):
        with pytest.raises(AttributeError, match="has no k"):
            touch()
    silent = KSparseAutoencoder(7, 6, BatchTopK(2))
    silent.b_enc.assign(np.full(6, -99))
    with pytest.raises(ValueError, match="k = 2 no unit is active"):
        silent.selector.calibrate(silent.pre_activations(images()))
    with pytest.raises(ValueError, match=r"expected \(samples, 6\)"):
        silent.selector.calibrate(images())
