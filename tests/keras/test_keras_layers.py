"""The k-sparse layer in Keras, against the NumPy one: selection, forward, gradients, counting."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import ops

from ksae_lab.keras import KSparse, TopK, top_k_mask
from ksae_lab.models.network import Network
from ksae_lab.nn import layers as in_numpy
from ksae_lab.nn import selectors
from ksae_lab.nn.activations import ACTIVATIONS
from ksae_lab.nn.topk import top_k_mask as reference


def mask_of(h, k, **how):
    return ops.convert_to_numpy(top_k_mask(ops.convert_to_tensor(h), k, **how))


# TensorFlow has the √2 of gelu and the slope of leaky relu in float32, whatever h is.
TOLERANCE = dict.fromkeys(ACTIVATIONS, 1e-12) | {"gelu": 3e-8, "leaky_relu": 3e-8}

# Few different numbers make many ties, and zeros of both signs; 20 is above the first rung.
ROWS = hnp.arrays(
    st.sampled_from([np.float32, np.float64]),
    st.tuples(st.integers(1, 3), st.integers(1, 20)),
    elements=st.sampled_from([-np.inf, -2.0, -0.5, -0.0, 0.0, 0.5, 2.0, 1e30, np.inf]),
)


@given(ROWS, st.data(), st.sampled_from(["value", "magnitude"]))
def test_selects_as_numpy_does_ties_and_all(h, data, by):
    k = data.draw(st.integers(0, h.shape[1]))
    np.testing.assert_array_equal(mask_of(h, k, by=by), reference(h, k, by=by))


@pytest.mark.parametrize("xla", [False, True], ids=["graph", "XLA"])
def test_one_graph_selects_for_every_k(xla):
    h = np.random.default_rng(0).normal(size=(2, 10, 300)).round(1).astype(np.float32)
    h[0, 0] = np.tile([-0.0, 0.0], 150)
    h[0, 1, ::2] = -0.0
    traces = []

    @tf.function(jit_compile=xla)
    def select(h, k):
        traces.append(k)
        return top_k_mask(h, k)

    for k in (0, 1, 2, 16, 17, 64, 65, 150, 256, 257, 299, 300):
        mask = select(h, tf.constant(k, tf.int64))
        np.testing.assert_array_equal(mask, reference(h, k))
    assert len(traces) == 1


def test_a_nan_is_not_hidden():
    h = np.array([[1.0, np.nan, 3.0, 2.0], [np.nan] * 4, [4.0, 3.0, 2.0, 1.0]])
    expected = [[False, True, True, False], [True, True, False, False], [True, True, False, False]]
    np.testing.assert_array_equal(mask_of(h, 2), expected)
    z = layer_in_both("relu", n_in=4)[0](h)
    assert np.isnan(ops.convert_to_numpy(z)).any(axis=1).tolist() == [True, True, False]


def layer_in_both(activation, *, by="value", k=3, n_in=7, n_out=6, tie=False):
    """The same float64 layer in Keras and in NumPy."""
    rng = np.random.default_rng(0)
    theirs = in_numpy.KSparse(
        n_in, n_out, selectors.TopK(k, by), activation, rng=rng, dtype=np.float64
    )
    theirs.b[:] = rng.normal(0, 0.5, n_out)
    if tie:
        theirs.W[:, 4] = theirs.W[:, 1] = theirs.W[:, 0]
        theirs.b[[1, 4]] = theirs.b[0]
    ours = KSparse(n_out, TopK(k, by), activation, dtype="float64")
    ours.build((None, n_in))
    ours.kernel.assign(theirs.W)
    ours.bias.assign(theirs.b)
    return ours, theirs


@pytest.mark.parametrize("tie", [False, True], ids=["", "ties"])
@pytest.mark.parametrize("by", ["value", "magnitude"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_agrees_with_the_network_in_output_and_all_gradients(activation, by, tie):
    sparse, layer = layer_in_both(activation, by=by, tie=tie)
    rng = np.random.default_rng(1)
    network = Network([layer, in_numpy.Dense(6, 7, rng=rng, dtype=np.float64)])
    x, target = rng.normal(size=(5, 7)), rng.uniform(size=(5, 7))
    x[0] = 0
    loss, gradients = network.loss_and_gradients(x, target)

    model = keras.Sequential(
        [keras.Input((7,), dtype="float64"), sparse, keras.layers.Dense(7, dtype="float64")]
    )
    for variable, w in zip(model.trainable_variables, network.parameters.values(), strict=True):
        variable.assign(w)
    with tf.GradientTape() as tape:
        x_hat = model(x)
        theirs = ops.mean((x_hat - target) ** 2)
    near = {"rtol": 0, "atol": TOLERANCE[activation]}
    np.testing.assert_allclose(theirs, loss, **near)
    np.testing.assert_allclose(x_hat, network.predict(x), **near)
    found = tape.gradient(theirs, model.trainable_variables)
    for name, gradient in zip(gradients, found, strict=True):
        np.testing.assert_allclose(gradient, gradients[name], **near, err_msg=name)


@pytest.mark.parametrize("activation", ["linear", "sigmoid"])  # slopes that are never zero
def test_the_backend_passes_the_gradient_to_the_selected_only(activation):
    layer, theirs = layer_in_both(activation)
    h = ops.convert_to_tensor(np.random.default_rng(2).normal(size=(8, 6)))
    with tf.GradientTape() as tape:
        tape.watch(h)
        z = layer.selector(h, phi=layer.phi)
    slope = theirs.phi.derivative(h.numpy())
    expected = np.where(reference(h.numpy(), 3), slope, 0)
    np.testing.assert_allclose(tape.gradient(z, h), expected, rtol=1e-12)


def test_takes_inputs_of_any_rank_and_options_of_dense():
    layer = KSparse(6, 2, "tanh", use_bias=False, kernel_initializer="ones", dtype="float64")
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    h = np.repeat(x.sum(axis=-1, keepdims=True), 6, axis=-1)
    expected = np.where(np.arange(6) < 2, np.tanh(h), 0)  # all tie: the lowest index wins
    np.testing.assert_allclose(layer(x), expected, rtol=1e-12)


def test_exactly_k_in_half_precision_where_ties_are_common():
    layer = KSparse(500, 20, dtype="mixed_float16")
    z = ops.convert_to_numpy(layer(np.random.default_rng(0).normal(size=(50, 30))))
    assert z.dtype == np.float16
    assert (np.count_nonzero(z, axis=1) == 20).all()


class Spoken(keras.layers.Layer):
    """Remembers how many numbers of its input were not zero."""

    def build(self, _):
        self.number = self.add_weight(trainable=False)

    def call(self, z):
        self.number.assign(ops.count_nonzero(z))
        return z


def test_k_changes_in_the_middle_of_fit_without_a_new_graph():
    traces, used = [], []

    def linear(h):
        traces.append(h)
        return h

    class Change(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            used.append(int(spoken.number))
            sparse.k = 7 - batch

    sparse, spoken = KSparse(8, 8, linear), Spoken()
    model = keras.Sequential([keras.Input((5,)), sparse, spoken])
    model.compile("sgd", loss="mse")
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    model.fit(x, np.zeros((4, 8)), batch_size=1, verbose=0)
    del traces[:]
    model.fit(x, np.zeros((4, 8)), batch_size=1, epochs=2, verbose=0, callbacks=[Change()])
    assert used == [8, 7, 6, 5, 4, 7, 6, 5]
    assert traces == []


def test_counts_how_long_each_unit_has_been_silent():
    layer = KSparse(3, 1, kernel_initializer="identity", dead_after=7)
    batch = np.eye(3, dtype=np.float32)
    layer(batch[[0, 0, 1]], training=True)
    np.testing.assert_array_equal(layer.selector.silent, [0, 0, 3])
    layer(batch[[1, 1, 1, 1]], training=True)
    np.testing.assert_array_equal(layer.selector.silent, [4, 0, 7])
    np.testing.assert_array_equal(layer.dead, [False, False, True])
    layer(batch[[2]])  # not in training
    np.testing.assert_array_equal(layer.selector.silent, [4, 0, 7])
    layer(batch[[[2], [0]]], training=True)  # inputs (2, 1, 3)
    np.testing.assert_array_equal(layer.selector.silent, [0, 2, 0])


def test_who_says_something_negative_is_not_silent():
    layer = KSparse(3, 3, kernel_initializer="identity")
    layer(-np.eye(3, dtype=np.float32)[:2], training=True)
    np.testing.assert_array_equal(layer.selector.silent, [0, 0, 2])


def test_a_selected_unit_that_says_nothing_counts_as_silent():
    layer = KSparse(3, 3, "relu", kernel_initializer="identity")
    layer(-np.eye(3, dtype=np.float32)[:2], training=True)
    np.testing.assert_array_equal(layer.selector.silent, [2, 2, 2])


def test_saves_k_and_counts_and_loads_them(tmp_path):
    sparse = KSparse(6, TopK(5, "magnitude"), "gelu", dead_after=9, use_bias=False)
    model = keras.Sequential([keras.Input((4,)), sparse])
    x = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    model(x, training=True)
    sparse.k = 2
    sparse.selector.silent.assign(np.arange(6))
    model.save(tmp_path / "model.keras")

    again = keras.saving.load_model(tmp_path / "model.keras")
    (loaded,) = again.layers
    assert (loaded.k, loaded.selector.by, loaded.selector.dead_after) == (2, "magnitude", 9)
    assert loaded.bias is None
    np.testing.assert_array_equal(loaded.selector.silent, np.arange(6))
    np.testing.assert_array_equal(again(x), model(x))

    other = KSparse(6, TopK(5, "magnitude"), "gelu", use_bias=False)
    fresh = keras.Sequential([keras.Input((4,)), other])
    model.save_weights(tmp_path / "model.weights.h5")
    fresh.load_weights(tmp_path / "model.weights.h5")
    assert other.k == 2
    np.testing.assert_array_equal(fresh(x), model(x))


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match="k = 9, but a row has 6 entries"):
        KSparse(6, 9)
    with pytest.raises(ValueError, match="'size'"):
        KSparse(6, TopK(2, by="size"))
    with pytest.raises(ValueError, match="relu8"):
        KSparse(6, 2, "relu8")
    with pytest.raises(ValueError, match="after 0"):
        KSparse(6, 2, dead_after=0)
    layer = KSparse(6, 2)
    with pytest.raises(ValueError, match="k = 7, but a row has 6 entries"):
        layer.k = 7
    with pytest.raises(TypeError, match=r"2\.5, not an integer"):
        layer.k = 2.5
    assert layer.k == 2
