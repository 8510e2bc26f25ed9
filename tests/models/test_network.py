"""Networks: every gradient against central differences, some against TensorFlow."""

from itertools import pairwise, product

import numpy as np
import pytest

from ksae_lab.models.network import Network
from ksae_lab.nn.activations import ACTIVATIONS
from ksae_lab.nn.layers import Dense, KSparse
from ksae_lab.nn.selectors import TopK
from ksae_lab.training.gradcheck import check_gradients

PAIRS = list(product(ACTIVATIONS, ACTIVATIONS))


def small_network(activations, sparse_at, *, by="value", k=3, sizes=(7, 6, 5, 7), seed=0):
    """Three float64 layers with biases that matter; the one at `sparse_at` selects."""
    rng = np.random.default_rng(seed)
    layers = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        options = {"rng": rng, "dtype": np.float64}
        if i == sparse_at:
            layers.append(KSparse(n_in, n_out, TopK(k, by=by), activations[i], **options))
        else:
            layers.append(Dense(n_in, n_out, activations[i], **options))
        layers[-1].b[:] = rng.normal(0, 0.5, n_out)
    return Network(layers)


def batch(rows=5, d=7, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (rows, d)), rng.uniform(0, 1, (rows, d))


@pytest.mark.parametrize("sparse_at", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize(("left", "right"), PAIRS, ids="-".join)
def test_gradients_agree_with_central_differences(left, right, sparse_at):
    # The sparse layer has `left`, the one beside it `right`, the third is smooth.
    activations = ["tanh"] * 3
    activations[sparse_at] = left
    activations[(sparse_at + 1) % 3] = right
    found = check_gradients(small_network(activations, sparse_at), *batch())
    assert found.relative_error < 1e-6
    assert found.skipped == 0


@pytest.mark.parametrize("k", [0, 1, 5, 6])
@pytest.mark.parametrize("by", ["value", "magnitude"])
def test_gradients_agree_for_every_k_and_both_rankings(k, by):
    network = small_network(["linear", "tanh", "sigmoid"], 0, by=by, k=k)
    found = check_gradients(network, *batch())
    assert found.skipped == 0
    assert found.relative_error < 1e-6


def one_unit_each(h, *, by="value", activation="linear"):
    """A layer that selects one of the given pre-activations; its input is a single one."""
    layer = KSparse(1, len(h), TopK(1, by), activation, rng=np.random.default_rng(0), dtype=float)
    layer.W[:] = 0
    layer.b[:] = h
    return layer, np.ones((1, 1))


def test_ranks_by_magnitude_when_asked():
    layer, x = one_unit_each([1, -3, 2], by="magnitude")
    np.testing.assert_array_equal(layer.forward(x)[0], [[0, -3, 0]])
    np.testing.assert_array_equal(layer.masks(x), [[[False, True, False]]])


@pytest.mark.parametrize("activation", ["swish", "gelu"])
def test_ranks_what_enters_the_activation_not_what_leaves_it(activation):
    # The second output is nearly zero and so the larger one, but the first unit said more.
    layer, x = one_unit_each([-0.3, -20], activation=activation)
    np.testing.assert_array_equal(layer.masks(x), [[[True, False]]])
    assert layer.forward(x)[0][0, 0] < -0.05


def test_choices_are_those_of_the_output_biases_and_all():
    network = small_network(["linear"] * 3, 0)
    x, target = batch()
    (mask,) = network.masks(x, target)
    np.testing.assert_array_equal(mask, network.outputs(x)[0] != 0)


@pytest.mark.parametrize("pair", [("relu", "sigmoid"), ("swish", "linear"), ("gelu", "elu")])
def test_gradients_agree_with_tensorflow(pair, tf):
    network = small_network([*pair, "linear"], 0)
    x, target = batch()
    loss, gradients = network.loss_and_gradients(x, target)

    variables = {name: tf.Variable(w) for name, w in network.parameters.items()}
    functions = {
        "gelu": lambda h: tf.nn.gelu(h, approximate=False),
        "linear": tf.identity,
    }
    with tf.GradientTape() as tape:
        out = tf.constant(x)
        for i, name in enumerate([*pair, "linear"]):
            h = out @ variables[f"W{i}"] + variables[f"b{i}"]
            out = (functions.get(name) or getattr(tf.nn, name))(h)
            if i == 0:
                kept = tf.math.top_k(h, 3).indices
                out *= tf.reduce_sum(tf.one_hot(kept, h.shape[1], dtype=h.dtype), axis=1)
        reference = tf.reduce_mean((out - target) ** 2)

    assert loss == pytest.approx(float(reference), rel=1e-6)
    for name, gradient in zip(variables, tape.gradient(reference, variables.values()), strict=True):
        np.testing.assert_allclose(gradients[name], gradient, rtol=1e-5, atol=1e-12)


def test_forward_is_the_formula():
    network = small_network(["relu", "linear", "sigmoid"], 0)
    x, _ = batch()
    w = network.parameters
    h = x @ w["W0"] + w["b0"]
    z = np.zeros_like(h)
    for row, scores in enumerate(h):
        kept = np.argsort(-scores)[:3]
        z[row, kept] = np.maximum(scores[kept], 0)
    code, _, x_hat = network.outputs(x)
    np.testing.assert_array_equal(code, z)
    np.testing.assert_array_equal(network.predict(x), x_hat)
    middle = z @ w["W1"] + w["b1"]
    expected = 1 / (1 + np.exp(-(middle @ w["W2"] + w["b2"])))
    np.testing.assert_allclose(x_hat, expected, rtol=1e-12)


def test_parameters_are_live_and_in_order():
    network = small_network(["linear"] * 3, 0)
    x, target = batch()
    assert list(network.parameters) == ["W0", "b0", "W1", "b1", "W2", "b2"]
    assert list(network.loss_and_gradients(x, target)[1]) == list(network.parameters)
    network.parameters["W2"][:] = 0
    network.parameters["b2"][:] = 3
    np.testing.assert_array_equal(network.predict(x), np.full((5, 7), 3.0))


def test_k_can_change_between_calls():
    network = small_network(["linear"] * 3, 0)
    x, target = batch()
    network.layers[0].k = 2
    (mask,) = network.masks(x, target)
    assert (mask.sum(axis=1) == 2).all()
    assert (np.count_nonzero(network.outputs(x)[0], axis=1) == 2).all()


def test_its_code_is_what_the_first_layer_that_selects_gives():
    network = small_network(["linear", "tanh", "linear"], 1)
    x, _ = batch()
    np.testing.assert_array_equal(network.encode(x), network.outputs(x)[1])
    assert (np.count_nonzero(network.encode(x), axis=1) == 3).all()
    np.testing.assert_array_equal(network.decode(network.encode(x)), network.predict(x))
    np.testing.assert_array_equal(network.forward_backward(x).forward.z, network.outputs(x)[1])


def test_float32_stays_float32():
    rng = np.random.default_rng(0)
    network = Network([KSparse(7, 6, 2, "gelu", rng=rng), Dense(6, 7, "sigmoid", rng=rng)])
    x, target = (a.astype(np.float32) for a in batch())
    assert network.predict(x).dtype == np.float32
    assert {g.dtype for g in network.loss_and_gradients(x, target)[1].values()} == {
        np.dtype(np.float32)
    }


def test_start_is_drawn_from_the_generator_alone():
    np.random.seed(0)  # noqa: NPY002 - the global state that must not matter
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    a, b = (Dense(4, 3, rng=np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(a.W, b.W)
    assert not a.b.any()
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_start_is_glorots_uniform():
    layer = Dense(300, 200, rng=np.random.default_rng(0), dtype=np.float64)
    limit = np.sqrt(6 / 500)
    assert 0.99 * limit < np.abs(layer.W).max() <= limit
    assert layer.W.var() == pytest.approx(limit**2 / 3, rel=0.02)
    assert KSparse(3, 2, 1, rng=np.random.default_rng(0)).phi.name == layer.phi.name == "linear"


def test_layers_may_come_from_a_generator_and_later_changes_do_not_reach_in():
    rng = np.random.default_rng(0)
    layers = [Dense(7, 6, rng=rng), Dense(6, 7, rng=rng)]
    assert list(Network(layer for layer in layers).parameters) == ["W0", "b0", "W1", "b1"]
    network = Network(layers)
    layers.append(None)
    assert len(network.layers) == 2


def test_says_what_is_wrong():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="without layers"):
        Network([])
    with pytest.raises(ValueError, match=r"\(2, 6\); expected \(batch, 7\)"):
        small_network(["linear"] * 3, 0).loss_and_gradients(np.zeros((2, 6)), np.zeros((2, 7)))
    with pytest.raises(ValueError, match="Layer 0 gives 6 numbers, but layer 1 takes 5"):
        Network([Dense(7, 6, rng=rng), Dense(5, 7, rng=rng)])
    with pytest.raises(ValueError, match="k = 9"):
        KSparse(7, 6, 9, rng=rng)
    with pytest.raises(ValueError, match="'size'"):
        KSparse(7, 6, TopK(2, by="size"), rng=rng)
    with pytest.raises(ValueError, match="choose from"):
        Dense(7, 6, "relu6", rng=rng)
    network = small_network(["linear"] * 3, 0)
    with pytest.raises(ValueError, match=r"\(7,\); expected \(batch, 7\)"):
        network.predict(np.zeros(7))
    with pytest.raises(ValueError, match=r"\(2, 7\), the targets \(2, 6\)"):
        network.loss_and_gradients(np.zeros((2, 7)), np.zeros((2, 6)))
    with pytest.raises(ValueError, match=r"\(2, 7\), the targets \(1, 7\)"):
        network.loss(np.zeros((2, 7)), np.zeros((1, 7)))
