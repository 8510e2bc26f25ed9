"""SparseDream in Keras against SparseDream in NumPy, whose gradient is written by hand."""

import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import ksae_lab.keras
from ksae_lab.keras.losses import sum_of_squares
from ksae_lab.keras.sparse_dream import PENALTIES, SparseDream
from ksae_lab.models import sparse_dream
from ksae_lab.nn import penalties
from ksae_lab.training import optimizers


@pytest.fixture
def float64():
    """Keras' losses in float64, for as long as a test takes."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


def numpy_model(penalty="tanh", *, sparsity=0.7, norm_weight=0.3, dtype=np.float64):
    """7 pixels and 6 units: weights of both signs, rows of W of any length."""
    rng = np.random.default_rng(50)  # a seed with which nearly all units are now on, now off
    model = sparse_dream.SparseDream(
        7, 6, penalty, sparsity, norm_weight, "as_found", rng=rng, dtype=dtype
    )
    for w in model.parameters.values():
        w[:] = 0.6 * rng.normal(size=w.shape)
    return model


def images(rows=8, seed=1):
    return np.random.default_rng(seed).uniform(size=(rows, 7))


def compiled(model, optimizer="sgd", jit_compile="auto", **options):
    twin = SparseDream.from_numpy(model, **options)
    twin.compile(optimizer, loss=sum_of_squares, jit_compile=jit_compile)
    return twin


def assert_same_weights(twin, model, atol=1e-12):
    for name, w in model.parameters.items():
        np.testing.assert_allclose(getattr(twin, name), w, rtol=0, atol=atol, err_msg=name)


def awake(model, x):
    """Weights and images as they are."""


def an_image_unseen(model, x):
    """No unit likes the first image: all of its h are below zero."""
    model.W[:, 0] = -np.abs(model.W[:, 0]) - 1
    x[0] = np.eye(7)[0]


def a_black_image(model, x):
    """All h are zero, right on the kink, and so is what two units hear."""
    x[0] = 0
    model.b[:2] = 0


def a_blind_unit(model, x):
    """Unit 2 has h below zero for every image, but hears the others."""
    model.W[2] = -np.abs(model.W[2])


def a_silent_unit(model, x):
    """Unit 1 tells the others much, and says nothing."""
    model.b[1] = -99


def all_dead(model, x):
    """Nobody says anything."""
    model.b[:] = -99


CASES = [awake, an_image_unseen, a_black_image, a_blind_unit, a_silent_unit, all_dead]


@pytest.mark.parametrize("rows", [1, 8, 33])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("penalty", penalties.PENALTIES)
def test_code_loss_and_gradients_are_those_of_numpy(penalty, case, rows, float64):
    model, x = numpy_model(penalty), images(rows)
    case(model, x)
    loss, gradients = model.loss_and_gradients(x)
    twin = compiled(model)
    with tf.GradientTape() as tape:
        theirs = twin.compute_loss(x, x, twin(x, training=True))
    found = tape.gradient(theirs, {w.name: w.value for w in twin.trainable_variables})

    near = {"rtol": 0, "atol": 1e-10}
    np.testing.assert_allclose(twin.encode(x), model.encode(x), **near)
    np.testing.assert_allclose(twin(x), model.reconstruct(x), **near)
    np.testing.assert_allclose(theirs, loss, **near)
    assert found.keys() == gradients.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(found[name], gradient, **near, err_msg=name)


def test_each_case_is_what_it_says():
    on = {}
    for case in CASES:
        model, x = numpy_model(), images()
        case(model, x)
        h, a = on[case] = model.masks(x)
        assert h.any() and a.any() == (case is not all_dead)
    h, a = on[awake]
    for on_or_off in (h, a):
        now_and_then = on_or_off.any(axis=0) & ~on_or_off.all(axis=0)
        assert now_and_then.sum() >= 5
    assert not on[an_image_unseen][0][0].any()
    h, a = on[a_black_image]
    assert not h[0].any() and not a[0, :2].any()
    h, a = on[a_blind_unit]
    assert not h[:, 2].any() and a[:, 2].any()
    h, a = on[a_silent_unit]
    assert h[:, 1].any() and not a[:, 1].any()


def test_there_is_a_price_for_every_penalty():
    assert PENALTIES.keys() == penalties.PENALTIES.keys()


def test_a_sum_of_squares_is_a_number_for_each_image():
    x, x_hat = images(4), images(4, seed=2)
    found = sum_of_squares(x, x_hat)
    np.testing.assert_allclose(found, 7 * ((x_hat - x) ** 2).mean(axis=1), rtol=1e-12)


@pytest.mark.parametrize("batch_size", [8, 3])
def test_evaluate_tells_what_training_lowers_and_the_error_as_a_metric(batch_size, float64):
    model, x = numpy_model(), images()
    twin = SparseDream.from_numpy(model)
    twin.compile(loss=sum_of_squares, metrics=["mse"])
    found = twin.evaluate(x, x, batch_size=batch_size, return_dict=True, verbose=0)
    assert found == pytest.approx({"loss": model.loss(x), "mse": model.error(x)}, rel=1e-12)
    np.testing.assert_allclose(twin.predict(x, verbose=0), model.reconstruct(x), atol=1e-12)


# A rate that float32, in which Keras keeps it, holds exactly.
@pytest.mark.parametrize("penalty", penalties.PENALTIES)
def test_fit_takes_the_same_steps(penalty, float64):
    model, x = numpy_model(penalty), images()
    twin = compiled(model, keras.optimizers.SGD(2**-6))
    before = model.W.copy()
    theirs = twin.fit(x, x, batch_size=8, epochs=3, verbose=0, validation_data=(x, x)).history
    rng = np.random.default_rng(0)
    ours = model.fit(x, optimizer=optimizers.SGD(2**-6), epochs=3, batch_size=8, rng=rng)
    assert np.abs(model.W - before).max() > 0.01
    assert_same_weights(twin, model)
    np.testing.assert_allclose(theirs["loss"], ours.training, rtol=1e-12)
    assert theirs["val_loss"][-1] == pytest.approx(model.loss(x), rel=1e-12)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_settings_may_be_changed_while_it_trains(jit_compile, float64):
    model, x = numpy_model(), images()
    twin = compiled(model, keras.optimizers.SGD(2**-6), jit_compile)
    optimizer = optimizers.SGD(2**-6)
    for sparsity, norm_weight in ((0.7, 0.3), (3.0, 0.3), (3.0, 0.0), (0.0, 2.0)):
        model.sparsity = twin.sparsity = sparsity
        model.norm_weight = twin.norm_weight = norm_weight
        assert twin.test_on_batch(x, x) == pytest.approx(model.loss(x), rel=1e-10)
        loss, gradients = model.loss_and_gradients(x)
        optimizer.step(model.parameters, gradients)
        assert twin.train_on_batch(x, x) == pytest.approx(loss, rel=1e-10)
        assert_same_weights(twin, model, atol=1e-10)
    assert (twin.sparsity, twin.norm_weight) == (0.0, 2.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_trains_in_either_kind_of_float_while_keras_stays_in_float32(dtype):
    x, model = images(), numpy_model()
    twin = compiled(model, dtype=dtype)
    assert twin.encode(x).dtype == twin(x).dtype == dtype
    assert {w.dtype for w in twin.weights} == {dtype}
    assert twin.train_on_batch(x, x) == pytest.approx(model.loss(x), rel=1e-6)
    assert twin.to_numpy().W.dtype == dtype


def test_a_new_model_has_rows_of_length_1_and_units_that_only_hear_themselves():
    model = SparseDream(7, 6)
    W, S, b = model.get_weights()[:3]
    np.testing.assert_allclose(np.linalg.norm(W, axis=1), 1, rtol=1e-6)
    assert W.min() >= 0 and len(np.unique(W)) == 42
    np.testing.assert_array_equal(S, np.eye(6))
    np.testing.assert_array_equal(b, np.zeros(6))
    assert [w.name for w in model.trainable_variables] == ["W", "S", "b"]
    assert (model.penalty.name, model.sparsity, model.norm_weight) == ("tanh", 1.0, 1.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("penalty", penalties.PENALTIES)
def test_goes_to_numpy_and_back(penalty, dtype):
    model = numpy_model(penalty, sparsity=0.5, norm_weight=0.25, dtype=dtype)
    back = SparseDream.from_numpy(model).to_numpy()
    for name in ("penalty", "sparsity", "norm_weight"):
        assert getattr(back, name) == getattr(model, name)
    assert back.parameters.keys() == model.parameters.keys()
    for name, w in model.parameters.items():
        np.testing.assert_array_equal(back.parameters[name], w, strict=True)


def test_the_twins_share_no_memory():
    model = numpy_model()
    twin = SparseDream.from_numpy(model)
    back = twin.to_numpy()
    weights = twin.get_weights()
    for name in model.parameters:
        model.parameters[name][:] = back.parameters[name][:] = 7
    for before, after in zip(weights, twin.get_weights(), strict=True):
        np.testing.assert_array_equal(after, before)


def test_training_goes_on_after_loading_as_if_never_interrupted(tmp_path):
    x, start = images(32).astype(np.float32), numpy_model("log", dtype=np.float32)
    whole, first = (compiled(start, keras.optimizers.Adam(0.01)) for _ in range(2))

    def fit(model, sparsity):
        model.sparsity = sparsity
        model.fit(x, x, batch_size=8, epochs=2, shuffle=False, verbose=0)

    fit(whole, 2.0)
    fit(whole, whole.sparsity)
    fit(first, 2.0)
    first.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    fit(again, again.sparsity)
    assert again.sparsity == 2.0
    for a, b in zip(again.weights, whole.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6, err_msg=a.name)


def test_is_complete_before_it_has_seen_an_image(tmp_path):
    model = SparseDream(7, 6)
    assert model.built and model.count_params() == 42 + 36 + 6 + 2  # the two settings too
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_its_config_is_what_it_was_made_with():
    made_with = {
        "n_pixels": 7,
        "n_units": 6,
        "penalty": "log",
        "sparsity": 0.1,
        "norm_weight": 0.3,
        "name": "mine",
    }
    config = SparseDream(**made_with, dtype="float64").get_config()
    assert {key: config[key] for key in made_with} == made_with
    again = SparseDream.from_config(config)
    assert again.get_config() == config and again.variable_dtype == "float64"
    again.sparsity, again.norm_weight = 4, 5
    assert (again.get_config()["sparsity"], again.get_config()["norm_weight"]) == (4.0, 5.0)


def test_the_names_in_a_file_are_those_of_the_package():
    assert keras.saving.get_registered_name(SparseDream) == "ksae_lab>SparseDream"
    assert keras.saving.get_registered_name(sum_of_squares) == "ksae_lab>sum_of_squares"


def test_importing_the_package_imports_its_modules_which_register_what_they_hold():
    modules = {module.name for module in pkgutil.iter_modules(ksae_lab.keras.__path__)}
    assert modules <= set(vars(ksae_lab.keras))


def test_says_what_is_wrong():
    model = SparseDream(7, 6)
    for call in (model, model.encode):
        with pytest.raises(ValueError, match=r"\(4, 1\); expected \(batch, 7\)"):
            call(np.zeros((4, 1)))
    with pytest.raises(ValueError, match=r"\(7,\); expected \(batch, 7\)"):
        model.encode(np.zeros(7))
    with pytest.raises(ValueError, match="no penalty 'l2'; expected one of tanh, l1, log"):
        SparseDream(7, 6, "l2")
