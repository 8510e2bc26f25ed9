"""The Keras autoencoder against the NumPy one.

TensorFlow differentiates what chapters 5 and 8 differentiate by hand, so each checks the other.
"""

from itertools import product
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from ksae_lab.keras import auxiliary_losses as terms
from ksae_lab.keras.models import KSparseAutoencoder
from ksae_lab.models import k_sparse
from ksae_lab.nn.activations import ACTIVATIONS
from ksae_lab.nn.auxiliary_losses import AuxK, DeCov, in_full
from ksae_lab.nn.module import ForwardPass
from ksae_lab.nn.selectors import TopK
from ksae_lab.training import optimizers
from ksae_lab.training.dead_units import DeadUnitMonitor

# TensorFlow has the √2 of gelu and the slope of leaky relu in float32, whatever h is.
TOLERANCE = dict.fromkeys(ACTIVATIONS, 1e-12) | {"gelu": 3e-8, "leaky_relu": 3e-8}


def numpy_model(activation="relu", *, k=3, auxiliary_losses=(), tie=False, unit_norm=False, **how):
    """A float64 autoencoder of 7 pixels and 6 units, all of its weights different from zero."""
    rng = np.random.default_rng(0)
    model = k_sparse.KSparseAutoencoder(
        7,
        6,
        k,
        activation,
        auxiliary_losses=auxiliary_losses,
        unit_norm=unit_norm,
        rng=rng,
        dtype=np.float64,
        **how,
    )
    for w in model.parameters.values():
        w += 0.3 * rng.normal(size=w.shape)
    if tie:
        model.W_enc[:, 4] = model.W_enc[:, 1] = model.W_enc[:, 0]
        model.b_enc[[1, 4]] = model.b_enc[0]
    return model


def twin_of(model, *auxiliary_losses, **options):
    return KSparseAutoencoder.from_numpy(model, auxiliary_losses=auxiliary_losses, **options)


def images(rows=8, seed=1):
    return np.random.default_rng(seed).uniform(size=(rows, 7))


def in_tensorflow(twin, x):
    """The loss in training, and its gradient for each weight by name, as TensorFlow finds them."""
    with tf.GradientTape() as tape:
        loss = ops.mean((twin(x, training=True) - x) ** 2)
        loss += sum(ops.cast(term, "float64") for term in twin.losses)  # terms come in float32
    return loss, tape.gradient(loss, {w.name: w.value for w in twin.trainable_variables})


def assert_same_gradients(found, expected, atol=1e-12):
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, expected[name], rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize("tied", [False, True], ids=["", "tied"])
@pytest.mark.parametrize("by", ["value", "magnitude"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_output_loss_and_gradients_are_those_of_numpy(activation, by, tied):
    model, x = numpy_model(activation, k=TopK(3, by), tied=tied), images()
    loss, gradients = model.loss_and_gradients(x)
    twin = KSparseAutoencoder.from_numpy(model)
    theirs, found = in_tensorflow(twin, x)
    near = {"rtol": 0, "atol": TOLERANCE[activation]}
    np.testing.assert_allclose(theirs, loss, **near)
    np.testing.assert_allclose(twin.encode(x), model.encode(x), **near)
    np.testing.assert_allclose(twin(x), model.reconstruct(x), **near)
    assert_same_gradients(found, gradients, near["atol"])


@pytest.mark.parametrize("k", [0, 1, 2, 6])
@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_the_same_where_units_tie(activation, k):
    model, x = numpy_model(activation, k=k, tie=True), images()
    x[0] = model.b_dec
    _, gradients = model.loss_and_gradients(x)
    twin = KSparseAutoencoder.from_numpy(model)
    _, found = in_tensorflow(twin, x)
    np.testing.assert_array_equal(twin.encode(x) != 0, model.encode(x) != 0)
    assert_same_gradients(found, gradients)


class Dead:
    """Who is dead, said without counting."""

    def __init__(self, *dead):
        self.dead = np.isin(np.arange(6), dead)


def silenced(model, dead):
    """The silence, in images, that makes these units dead at 10."""
    return np.where(Dead(*dead).dead, 10, 9)


@pytest.mark.parametrize("tied", [False, True], ids=["", "tied"])
@pytest.mark.parametrize("dead", [(), (2,), (0, 3, 5), range(6)], ids=len)
@pytest.mark.parametrize("k_aux", [1, 2, 9])
def test_auxk_is_that_of_numpy(k_aux, dead, tied):
    model, x = (
        numpy_model(auxiliary_losses=[AuxK(Dead(*dead), k_aux, weight=0.7)], tied=tied),
        images(),
    )
    loss, gradients = model.loss_and_gradients(x)
    assert (loss > model.error(x)) == bool(dead)

    twin = twin_of(model, terms.AuxK(k_aux, 0.7), dead_after=10)
    twin.selector.silent.assign(silenced(model, dead))
    theirs, found = in_tensorflow(twin, x)
    np.testing.assert_allclose(theirs, loss, rtol=1e-7)
    assert_same_gradients(found, gradients)


def only(W_dec, **parts):
    """A forward pass of a model that is nothing but a decoder."""
    return terms.ForwardPass(model=SimpleNamespace(W_dec=W_dec), z=None, **parts)


def test_auxk_among_equals_takes_the_first():
    h = np.full((4, 6), 0.5)
    x, W_dec = images(4), np.random.default_rng(2).normal(size=(6, 7))
    dead = Dead(1, 3, 4)
    seen = ForwardPass(x, h, np.zeros_like(h), np.full_like(x, 0.4), W_dec)
    value, gradients = AuxK(dead, 2)(seen)
    W = tf.Variable(W_dec)
    x_hat = ops.convert_to_tensor(seen.x_hat)
    with tf.GradientTape() as tape:
        theirs = terms.AuxK(2)(only(W_dec=W, x=x, h=h, x_hat=x_hat, dead=dead.dead))
    np.testing.assert_allclose(theirs, value, rtol=1e-12)
    ours = in_full(gradients["W_dec"], 6)
    np.testing.assert_allclose(tape.gradient(theirs, W), ours, atol=1e-15)
    assert not ours[4].any()


def test_auxk_has_nothing_to_draw_where_nothing_is_left():
    x = ops.convert_to_tensor(images())
    W = tf.Variable(np.ones((6, 7)))
    with tf.GradientTape() as tape:
        h = ops.ones((8, 6), "float64")
        value = terms.AuxK(2)(only(W_dec=W, x=x, h=h, x_hat=x, dead=np.ones(6, bool)))
    assert float(value) == 0
    np.testing.assert_array_equal(tape.gradient(value, W), np.zeros((6, 7)))


def test_dead_is_who_was_dead_before_the_batch():
    # Unit 2 speaks now, for the first time after 10 images: NumPy counts when the step is done.
    model, x = numpy_model("linear", k=6), images()
    twin = twin_of(model, terms.AuxK(1), dead_after=10)
    twin.selector.silent.assign(silenced(model, [2]))
    twin(x, training=True)
    assert float(twin.losses[0]) > 0
    np.testing.assert_array_equal(twin.selector.silent, np.zeros(6))


def test_counts_like_dead_units():
    model, monitor = numpy_model(k=1), DeadUnitMonitor(6, 20)
    twin = KSparseAutoencoder.from_numpy(model, dead_after=20)
    for seed in range(5):
        x = images(seed=seed)
        monitor.after_step(None, model.forward_backward(x).forward)
        twin(x, training=True)
        np.testing.assert_array_equal(twin.selector.silent, monitor.silent)
        np.testing.assert_array_equal(twin.dead, monitor.dead)
    assert 0 < monitor.dead.sum() < 6


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_diversity_is_that_of_numpy(activation):
    model, x = numpy_model(activation, auxiliary_losses=[DeCov(0.7)]), images()
    loss, gradients = model.loss_and_gradients(x)
    theirs, found = in_tensorflow(twin_of(model, terms.DeCov(0.7)), x)
    assert loss > model.error(x)
    np.testing.assert_allclose(theirs, loss, rtol=1e-7)
    assert_same_gradients(found, gradients)


def test_terms_count_in_training_only():
    twin = twin_of(numpy_model(), terms.DeCov(1.0), terms.AuxK(1), dead_after=1)
    twin.selector.silent.assign(np.ones(6))
    twin(images())
    assert twin.losses == []
    twin(images(), training=True)
    assert len(twin.losses) == 2 and all(float(loss) > 0 for loss in twin.losses)


def test_noise_is_for_the_encoder_in_training_only():
    model = numpy_model("linear", k=6)
    model.W_enc[:], model.b_dec[:] = 0, 0
    model.W_enc[:6] = np.eye(6)  # so that h is b_enc plus the first pixels of what is seen
    twin = twin_of(model, terms.AuxK(6), noise=0.1, dead_after=10)
    twin.selector.silent.assign(np.full(6, 10))
    x = ops.zeros((5000, 7), "float64")
    clean, noisy = ops.convert_to_numpy(twin(x)), ops.convert_to_numpy(twin(x, training=True))
    np.testing.assert_allclose(clean, model.reconstruct(np.zeros((5000, 7))), atol=1e-12)
    seen = (noisy - clean) @ np.linalg.pinv(model.W_dec)
    assert seen.std() == pytest.approx(0.1, rel=0.03)
    assert abs(seen.mean()) < 0.003

    # Without a path from the image to the code, noise has nothing to change: the leftover is clean.
    values = []
    for noise in (0.0, 0.9):
        twin = twin_of(model, terms.AuxK(1), noise=noise, dead_after=10)
        twin.W_enc.assign(np.zeros((7, 6)))
        twin.selector.silent.assign(np.full(6, 10))
        twin(images(), training=True)
        values.append(float(twin.losses[0]))
    assert values[0] == values[1] > 0


# Keras keeps rates in float32, and its constraint leaves rows 1e-7 short of 1.
@pytest.mark.parametrize("tied", [False, True], ids=["", "tied"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda: optimizers.SGD(0.1, momentum=0.9), lambda: keras.optimizers.SGD(0.1, 0.9)),
        (lambda: optimizers.Adam(0.01), lambda: keras.optimizers.Adam(0.01)),
    ],
    ids=["momentum", "adam"],
)
def test_fit_takes_the_same_steps(ours, theirs, tied):
    extra = [DeCov(0.3), AuxK(Dead(4), 1)]
    model, x = numpy_model(auxiliary_losses=extra, unit_norm=True, tied=tied), images()
    model.constrain()
    twin = twin_of(model, terms.DeCov(0.3), terms.AuxK(1), dead_after=10)
    twin.compile(theirs(), loss=keras.losses.MeanSquaredError(dtype="float64"))
    optimizer = ours()
    for _ in range(3):
        twin.selector.silent.assign(silenced(model, [4]))
        loss, gradients = model.loss_and_gradients(x)
        history = twin.fit(x, x, batch_size=8, shuffle=False, verbose=0)
        optimizer.step(model.parameters, gradients)
        model.constrain()
        assert history.history["loss"][0] == pytest.approx(loss, rel=1e-5)
        for name, w in model.parameters.items():
            np.testing.assert_allclose(getattr(twin, name), w, rtol=0, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("tied", [False, True], ids=["", "tied"])
def test_starts_at_the_data_as_numpy_does(tied):
    model = numpy_model(tied=tied)
    twin = KSparseAutoencoder.from_numpy(model)
    x = images(20)
    model.init_from_data(x, np.random.default_rng(3), noise=0.1)
    twin.init_from_data(x, np.random.default_rng(3), noise=0.1)
    for name, w in model.parameters.items():
        np.testing.assert_array_equal(getattr(twin, name), w, err_msg=name)


@pytest.mark.parametrize("tied", [False, True], ids=["", "tied"])
def test_a_new_model_has_unit_rows_and_transposes(tied):
    model = KSparseAutoencoder(7, 6, 2, tied=tied, unit_norm=False)
    W_dec = ops.convert_to_numpy(model.W_dec)
    np.testing.assert_allclose(np.linalg.norm(W_dec, axis=1), 1, rtol=1e-6)
    assert len(np.unique(W_dec)) == 42
    assert model.W_dec.constraint is None  # as asked for; rows of another length stay as they are
    assert [w.name for w in model.trainable_variables] == (
        ["W_dec", "b_enc", "b_dec"] if tied else ["W_enc", "W_dec", "b_enc", "b_dec"]
    )
    if not tied:
        np.testing.assert_array_equal(model.W_enc, W_dec.T)


@pytest.mark.parametrize(("activation", "tied"), list(product(ACTIVATIONS, [False, True])))
def test_goes_to_numpy_and_back(activation, tied):
    model = numpy_model(activation, k=TopK(3, "magnitude"), tied=tied, unit_norm=True)
    back = KSparseAutoencoder.from_numpy(model).to_numpy()
    assert repr(back) == repr(model)
    for name, w in model.parameters.items():
        np.testing.assert_array_equal(back.parameters[name], w, strict=True)
        assert not np.shares_memory(back.parameters[name], w)


def test_float32_goes_over_as_float32():
    model = k_sparse.KSparseAutoencoder(7, 6, 2, rng=np.random.default_rng(0))
    twin = KSparseAutoencoder.from_numpy(model)
    assert twin.encode(images()).dtype == "float32"
    assert twin.to_numpy().W_enc.dtype == np.float32


def test_fit_trains_with_what_keras_has():
    x = images(100).astype(np.float32)
    model = KSparseAutoencoder(
        7,
        6,
        2,
        "silu",
        auxiliary_losses=[terms.AuxK(2), terms.DeCov(1e-3)],
        dead_after=100,
    )
    model.init_from_data(x, np.random.default_rng(0))
    schedule = keras.optimizers.schedules.CosineDecay(0.05, 40)
    model.compile(keras.optimizers.Nadam(schedule), loss="mse", metrics=["mae"])
    stop = keras.callbacks.EarlyStopping("val_loss", patience=5)
    data = tf.data.Dataset.from_tensor_slices((x, x)).batch(20)
    how = {"shuffle": False, "epochs": 8, "verbose": 0, "callbacks": [stop]}
    history = model.fit(data, validation_data=data, **how)
    assert history.history["val_loss"][-1] < 0.8 * history.history["val_loss"][0]
    np.testing.assert_allclose(np.linalg.norm(model.W_dec, axis=1), 1, atol=1e-6)
    assert (np.count_nonzero(model.encode(x), axis=1) <= 2).all()
    assert model.predict(x, verbose=0).shape == x.shape


def test_xla_takes_the_same_step():
    x, start = images().astype(np.float32), numpy_model()
    weights = []
    for jit_compile in (False, True):
        model = twin_of(start, terms.DeCov(1.0), dtype="float32")
        model.compile("sgd", loss="mse", jit_compile=jit_compile)
        model.fit(x, x, batch_size=8, verbose=0)
        weights.append(model.get_weights())
    for graph, xla in zip(*weights, strict=True):
        np.testing.assert_allclose(xla, graph, rtol=0, atol=1e-6)


def test_training_goes_on_after_loading_as_if_never_interrupted(tmp_path):
    x = images(32).astype(np.float32)
    start = numpy_model()

    def fit(model, epochs):
        model.fit(x, x, batch_size=8, epochs=epochs, shuffle=False, verbose=0)

    def compiled():
        model = twin_of(
            start,
            terms.AuxK(2, 0.5),
            terms.DeCov(0.1),
            dtype="float32",
            dead_after=9,
        )
        model.compile(keras.optimizers.Adam(0.01), loss="mse")
        return model

    whole, first = compiled(), compiled()
    fit(whole, 4)
    fit(first, 2)
    first.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    fit(again, 2)
    for a, b in zip(again.weights, whole.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6, err_msg=a.name)


def test_is_complete_before_it_has_seen_an_image(tmp_path):
    model = KSparseAutoencoder(7, 6, 2)
    assert model.built and model.count_params() == 2 * 42 + 6 + 7 + 6 + 1  # silent and k too
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_its_config_is_what_it_was_made_with():
    made_with = {
        "n_pixels": 7,
        "n_units": 6,
        "activation": "gelu",
        "tied": True,
        "unit_norm": False,
        "noise": 0.2,
        "dead_after": 9,
        "name": "mine",
    }
    more = {
        "k": 2,
        "auxiliary_losses": [terms.AuxK(3, 0.5), terms.DeCov(0.1)],
    }
    config = KSparseAutoencoder(**made_with, **more, dtype="float64").get_config()
    assert {key: config[key] for key in made_with} == made_with
    assert [each["config"] for each in config["auxiliary_losses"]] == [
        {"k_aux": 3, "weight": 0.5},
        {"weight": 0.1},
    ]
    again = KSparseAutoencoder.from_config(config)
    assert again.get_config() == config and again.variable_dtype == "float64"
    again.k = 4
    assert again.get_config()["k"]["config"]["k"] == 4


def test_says_what_is_wrong():
    model = KSparseAutoencoder(7, 6, 2)
    for call in (model, model.encode):
        with pytest.raises(ValueError, match=r"\(4, 1\); expected \(batch, 7\)"):
            call(np.zeros((4, 1)))
    with pytest.raises(ValueError, match=r"\(7,\); expected \(batch, 7\)"):
        model.encode(np.zeros(7))
    with pytest.raises(ValueError, match="k_aux is 0"):
        terms.AuxK(0)
    with pytest.raises(ValueError, match="k = 8"):
        KSparseAutoencoder(7, 6, 8)
    with pytest.raises(ValueError, match="'mish'"):
        KSparseAutoencoder(7, 6, 2, "mish").to_numpy()


def test_a_diagram_is_drawn_from_the_same_stages_as_that_of_numpy():
    model = KSparseAutoencoder(7, 9, 3)
    model.k = 2
    twin = model.to_numpy()
    assert model.stages == twin.stages
    assert [(stage.size, stage.k) for stage in model.stages] == [(7, None), (9, 2), (7, None)]
