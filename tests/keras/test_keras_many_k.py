"""One model for many k: the rules of who speaks, their gradients, and what a file remembers.

Each rule is written a second time here in NumPy, and each gradient found in another way.
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

from ksae_lab.keras.callbacks import DeadUnitMonitor, KCurriculum, ResetDeadUnits
from ksae_lab.keras.many_k import BatchTopK, JumpReLU, MultiTopK
from ksae_lab.keras.selectors import BatchChoice, JumpChoice, PrefixChoice
from ksae_lab.models import k_sparse
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
    for w in model.parameters.values():
        w += 0.3 * rng.normal(size=w.shape)
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


def choice(kind, k, by="value", n_units=6, activation="linear"):
    return kind(n_units, k, activation, by, 10, dtype="float64")


def as_bool(mask):
    return ops.convert_to_numpy(mask).astype(bool)


# Several k, and prefixes.


@given(BATCHES, st.integers(0, 6), st.integers(1, 6), BY)
def test_a_prefix_is_chosen_from_as_if_there_were_no_more_units(h, k, prefix, by):
    rule = choice(PrefixChoice, k, by)
    rule.prefix = prefix
    expected = np.zeros_like(h, bool)
    expected[:, :prefix] = top_k_mask(h[:, :prefix], min(k, prefix), by=by)
    np.testing.assert_array_equal(as_bool(rule.mask(ops.convert_to_tensor(h))), expected)


def first_units(model, prefix):
    """A NumPy model of the first units alone, with the same weights."""
    small = numpy_model(model.k, prefix, activation=model.phi.name, by=model.by)
    small.W_enc[:], small.W_dec[:] = model.W_enc[:, :prefix], model.W_dec[:prefix]
    small.b_enc[:], small.b_dec[:] = model.b_enc[:prefix], model.b_dec
    return small


@pytest.mark.parametrize("by", ["value", "magnitude"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_loss_is_a_weighted_sum_of_the_losses_of_models_with_one_k(activation, by):
    model, x = numpy_model(2, activation=activation, by=by), images()
    also = [(5, 6, 0.125), (1, 6, 2.0), (2, 4, 0.5), (3, 2, 1.5)]
    twin = MultiTopK.from_numpy(model, also=also)
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
    model = MultiTopK(7, 6, 2, also=[(4, 6, 1.0)], diversity=1.0)
    model(images())
    assert model.losses == []
    model(images(), training=True)
    assert len(model.losses) == 2


def test_the_target_of_every_k_is_the_clean_image():
    model = numpy_model(2)
    model.W_enc[:] = 0  # no path from the image to the code, so nothing to spoil
    values = []
    for noise in (0.0, 0.9):
        twin = MultiTopK.from_numpy(model, also=[(4, 3, 1.0)], noise=noise)
        twin(images(), training=True)
        values.append(float(twin.losses[0]))
    assert values[0] == values[1] > 0


def test_a_prefix_needs_no_new_graph():
    traces = []

    def linear(h):
        traces.append(h)
        return h

    model, x = MultiTopK(7, 6, 6, linear), images(4).astype(np.float32)
    model.predict(x, verbose=0)
    del traces[:]
    for prefix in (1, 4, 6):
        model.prefix = prefix
        model.predict(x, verbose=0)
        assert (np.count_nonzero(model.encode(x), axis=1) == prefix).all()
    assert len(traces) == 3  # those of `encode`, which is no graph


def test_goes_to_numpy_for_the_k_that_is_set():
    model = MultiTopK.from_numpy(numpy_model(3), also=[(1, 6, 1.0)])
    model.k = 1
    assert model.to_numpy().k == 1
    model.prefix = 5
    with pytest.raises(ValueError, match="Only 5 units"):
        model.to_numpy()


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
    rule = choice(BatchChoice, k, by)
    found = as_bool(rule.mask(ops.convert_to_tensor(h), training=True))
    np.testing.assert_array_equal(found, batch_mask(h, k, by))


def test_a_batch_has_exactly_k_units_an_image_on_average_and_not_for_each():
    h = np.random.default_rng(0).normal(size=(50, 6)) + 3  # all above zero
    mask = as_bool(choice(BatchChoice, 2).mask(ops.convert_to_tensor(h), training=True))
    assert mask.sum() == 2 * 50
    assert len(set(mask.sum(axis=1))) > 2


def test_a_nan_is_not_hidden():
    h = np.array([[1.0, np.nan, 3.0, 2.0, 0.0, -1.0], [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]])
    for training in (True, False):
        marked = as_bool(choice(BatchChoice, 2).mask(ops.convert_to_tensor(h), training))
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
    model, x = numpy_model(2, activation="tanh"), images()
    mine = BatchModel(model.parameters, k=2)
    mine.twin = BatchTopK.from_numpy(model)
    assert in_training(mine.twin, x)[0] == pytest.approx(mine.loss(x), rel=1e-12)
    found = check_gradients(mine, x)
    assert found.checked > 90 and found.relative_error < 1e-7


def test_the_threshold_follows_the_smallest_number_kept():
    rule = choice(BatchChoice, 2)
    expected = None
    for seed in range(4):
        h = np.random.default_rng(seed).normal(size=(5, 6))
        rule(ops.convert_to_tensor(h), training=True)
        smallest = np.sort(h.ravel())[-10]
        expected = smallest if expected is None else 0.99 * expected + 0.01 * smallest
        assert float(rule.threshold) == pytest.approx(expected, rel=1e-6)
        rule(ops.convert_to_tensor(h + 9))  # not in training
    rule(ops.convert_to_tensor(-np.ones((5, 6))), training=True)  # nobody is above zero
    assert float(rule.threshold) == pytest.approx(expected, rel=1e-6)
    assert rule.threshold.trainable is False


def test_without_training_all_above_zero_speak():
    h = np.array([[-1.0, 0.0, 1.0, 2.0, 3.0, 4.0]])
    found = as_bool(choice(BatchChoice, 1).mask(ops.convert_to_tensor(h)))
    np.testing.assert_array_equal(found, h > 0)


def test_after_training_a_code_does_not_depend_on_the_neighbours():
    model, x = BatchTopK.from_numpy(numpy_model(2)), images(20)
    model(x, training=True)
    together = ops.convert_to_numpy(model.encode(x))
    alone = np.concatenate([model.encode(x[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-12)
    h = ops.convert_to_numpy(model.pre_activations(x))
    np.testing.assert_array_equal(together != 0, (h >= model.threshold) & (h > 0))
    # In training it does: an image among louder ones falls silent.
    loud = np.concatenate([x[:1], x[:1] + 50 * ops.convert_to_numpy(model.W_enc)[:, 0]])
    mask = as_bool(model.choice.mask(model.pre_activations(loud), training=True))
    alone = as_bool(model.choice.mask(model.pre_activations(x[:1]), training=True))
    assert mask[0].sum() < alone.sum() == 2


def test_calibration_gives_k_units_on_average():
    model, x = BatchTopK.from_numpy(numpy_model(2)), images(50)
    for k in (3, 1, 2):
        model.k = k
        model.calibrate(x)
        assert np.count_nonzero(model.encode(x)) == k * 50
    model.threshold = 1e9
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
    settings = {"price": price, "bandwidth": bandwidth, "threshold": 0.3}
    model, x = JumpReLU.from_numpy(numpy_model(6), **settings), images(30)
    spread = 0.2 * np.random.default_rng(2).normal(size=6)
    model.choice.log_threshold.assign(np.log(0.3) + spread)
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
    rule = choice(JumpChoice, 3, n_units=3)
    rule.bandwidth = bandwidth
    rule.log_threshold.assign(np.log(theta))
    with tf.GradientTape(persistent=True) as tape:
        number = ops.sum(rule.count(ops.convert_to_tensor(h))) / rows
        drawn = ops.sum(rule(ops.convert_to_tensor(h))) / rows
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
    rule = choice(JumpChoice, 4, n_units=4)
    rule.log_threshold.assign(np.log([0.2, 0.2, 0.2, 0.2]))
    expected = np.where(h > np.exp(ops.convert_to_numpy(rule.log_threshold)), h, 0)
    np.testing.assert_array_equal(rule(ops.convert_to_tensor(h)), expected)
    np.testing.assert_array_equal(rule.count(ops.convert_to_tensor(h)), [1, 3])
    rule.k = 1  # a limit on top
    np.testing.assert_array_equal(
        rule(ops.convert_to_tensor(h)), expected * [0, 0, 1, 0] + [[0, 0, 0, 0], [5.0, 0, -0.21, 0]]
    )


def test_the_price_is_paid_in_training_only_and_thresholds_stay_above_zero():
    settings = {"price": 5.0, "threshold": 0.5, "dtype": "float32"}
    model, x = JumpReLU.from_numpy(numpy_model(6), **settings), images(40).astype(np.float32)
    model(x)
    assert model.losses == []
    speaking = np.count_nonzero(model.encode(x)) / 40
    model(x, training=True)
    assert float(model.losses[0]) == pytest.approx(5 * speaking)
    np.testing.assert_allclose(model.thresholds, 0.5, rtol=1e-6)
    model.compile(keras.optimizers.SGD(1.0), loss="mse")
    model.fit(x, x, epochs=3, shuffle=False, verbose=0)
    assert (model.thresholds > 0).all()
    assert not np.allclose(model.thresholds, 0.5)


# All three.

MAKE = {
    "MultiTopK": lambda **how: MultiTopK.from_numpy(numpy_model(2), also=[(4, 3, 0.5)], **how),
    "BatchTopK": lambda **how: BatchTopK.from_numpy(numpy_model(2), **how),
    "JumpReLU": lambda **how: JumpReLU.from_numpy(
        numpy_model(6), price=0.1, bandwidth=0.7, threshold=0.4, **how
    ),
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
    if isinstance(first, MultiTopK):
        first.prefix = 5
        whole.prefix = 5
    first.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again) is type(first)
    assert again.get_config() == first.get_config()
    np.testing.assert_array_equal(again.encode(x), first.encode(x))
    if isinstance(first, MultiTopK):
        again.prefix = 6
        whole.prefix = 6
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
    model.choice.silent.assign([99, 0, 0, 0, 0, 0])
    model.b_enc.assign([-9, 0, 0, 0, 0, 0])
    model.compile("adam", loss="mse")
    callbacks = [KCurriculum(6, 2), DeadUnitMonitor(), ResetDeadUnits(x, every=1)]
    history = model.fit(x, x, batch_size=8, epochs=4, verbose=0, callbacks=callbacks).history
    assert history["k"] == [4, 2, 2, 2]
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
for name in ("MultiTopK", "BatchTopK", "JumpReLU"):
    model = keras.saving.load_model(f"{sys.argv[1]}/{name}.keras")
    model.fit(x, x, batch_size=8, epochs=2, shuffle=False, verbose=0)
    expected = np.load(f"{sys.argv[1]}/{name}.npz")
    for variable, w in zip(model.weights, expected.values(), strict=True):
        np.testing.assert_allclose(variable, w, rtol=0, atol=1e-6, err_msg=variable.name)
    print(name)
"""
    output, _ = run(on_jax, tmp_path, KERAS_BACKEND="jax", JAX_ENABLE_X64="1")
    assert output == "MultiTopK\nBatchTopK\nJumpReLU\n"
    on_two_devices = """
import sys
import keras
import ksae_lab.keras
import numpy as np
import tensorflow as tf
from ksae_lab.keras.many_k import BatchTopK

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.load(f"{sys.argv[1]}/x.npy")[:2].astype(np.float32)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model = BatchTopK(7, 6, 2)
    model.b_enc.assign(np.full(6, 5))  # all above zero
    model.compile("sgd", loss="mse")
h = np.sort(keras.ops.convert_to_numpy(model.pre_activations(x)), axis=1)
model.fit(x, x, batch_size=2, verbose=0)  # one image for each device
print(abs(model.threshold - h[:, -2].mean()) < 1e-5, h[0, -2] != h[1, -2])
"""
    assert run(on_two_devices, tmp_path)[0] == "True True\n"


def test_configs_are_what_they_were_made_with():
    model = MultiTopK(7, 6, 2, "gelu", also=[(4, 6, 0.125)], tied=True, noise=0.2)
    config = model.get_config()
    assert (config["k"], config["also"], config["tied"]) == (2, [[4, 6, 0.125]], True)
    assert MultiTopK.from_config(config).get_config() == config
    config = JumpReLU(7, 6, 5, price=0.2, bandwidth=0.3, threshold=0.4).get_config()
    assert (config["k"], config["price"], config["bandwidth"]) == (5, 0.2, 0.3)
    assert JumpReLU.from_config(config).get_config() == config


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match="k = 7, but a row has 6 entries"):
        MultiTopK(7, 6, 2, also=[(7, 6, 1.0)])
    for prefix in (0, 7, 2.5):
        with pytest.raises(ValueError, match=rf"prefix is {prefix}; give .* 1 to 6"):
            MultiTopK(7, 6, 2, also=[(2, prefix, 1.0)])
    with pytest.raises(ValueError, match="k = 2 weighs 0; give more than 0"):
        MultiTopK(7, 6, 2, also=[(2, 6, 0)])
    model = MultiTopK(7, 6, 2)
    with pytest.raises(ValueError, match="prefix is 0"):
        model.prefix = 0
    assert model.prefix == 6
    with pytest.raises(ValueError, match="price is -1"):
        JumpReLU(7, 6, 6, price=-1)
    for name in ("bandwidth", "threshold"):
        with pytest.raises(ValueError, match=f"The {name} is 0; give more"):
            JumpReLU(7, 6, 6, price=1, **{name: 0})
    silent = BatchTopK(7, 6, 2)
    silent.b_enc.assign(np.full(6, -99))
    with pytest.raises(ValueError, match="k = 2 no unit speaks"):
        silent.calibrate(images())
    for model in (silent, JumpReLU(7, 6, 6, price=1)):
        with pytest.raises(ValueError, match="Keras only"):
            model.to_numpy()
    relaxed = numpy_model(select=lambda h, k: None)
    with pytest.raises(ValueError, match="something else than the mask"):
        BatchTopK.from_numpy(relaxed)
