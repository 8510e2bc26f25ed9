"""What a user of Keras takes for granted: targets, widths, callbacks, averages, kinds of float."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from ksae_lab import keras as twins
from ksae_lab.keras.losses import sum_of_squares


def images(rows=40, seed=0):
    return np.random.default_rng(seed).uniform(size=(rows, 7)).astype(np.float32)


MAKE = {
    "KSparseAutoencoder": lambda **how: twins.KSparseAutoencoder(7, 6, 2, **how),
    "noise and a term": lambda: twins.KSparseAutoencoder(
        7, 6, 2, noise=0.1, auxiliary_losses=[twins.MultiTopK([(4, 6, 0.5)])]
    ),
    "SparseDream": lambda **how: twins.SparseDream(7, 6, **how),
}
each = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)


def compiled(make, **how):
    keras.utils.set_random_seed(3)
    model = make()
    # Eagerly, since most of it trains too little to be worth a graph.
    how = {"loss": sum_of_squares, "run_eagerly": True} | how
    model.compile(keras.optimizers.Adam(0.01), **how)
    return model


# Without a target the image is the target.


@each
@pytest.mark.parametrize("way", ["graph", "split", "data set", "weights"])
def test_a_model_without_a_target_takes_the_same_steps_as_with_its_input_as_target(make, way):
    x, val = images(), images(8, seed=1)
    found = []
    for alone in (True, False):
        model = compiled(make, metrics=["mse"], run_eagerly=way != "graph")
        data = (x,) if alone else (x, x)
        how = {"epochs": 2, "verbose": 0, "batch_size": 8}
        if way == "graph":
            how["validation_data"] = val if alone else (val, val)
        elif way == "split":
            how["validation_split"] = 0.25
        elif way == "weights":
            how["sample_weight"] = np.arange(40.0)
        else:
            of = tf.data.Dataset.from_tensor_slices
            data = ((of(x) if alone else of((x, x))).batch(8),)
            del how["batch_size"]
            how["shuffle"] = False
        history = model.fit(*data, **how).history
        told = model.evaluate(*((val,) if alone else (val, val)), verbose=0, return_dict=True)
        batch = (val,) if alone else (val, val)
        on_batch = model.train_on_batch(*batch), model.test_on_batch(*batch)
        found.append((history, told, on_batch, model.get_weights()))
    for a, b in zip(*found, strict=True):
        assert keras.tree.map_structure(np.array_equal, a, b) == keras.tree.map_structure(
            lambda _: True, a
        )
    assert found[0][0]["loss"] != [0, 0] and "mse" in found[0][0]


def test_a_target_of_its_own_is_still_a_target():
    x = images()
    to_itself, to_zero = (compiled(MAKE["KSparseAutoencoder"]) for _ in range(2))
    errors = [to_itself.evaluate(x, verbose=0), to_zero.evaluate(x, 0 * x, verbose=0)]
    expected = ops.convert_to_numpy(to_zero(x))
    assert errors[1] == pytest.approx((expected**2).sum(axis=1).mean(), rel=1e-5)
    assert errors[0] == pytest.approx(((expected - x) ** 2).sum(axis=1).mean(), rel=1e-5)


# Another width.


@each
def test_another_width_is_named_even_after_the_graph_has_met_two(make):
    model, x = compiled(make, run_eagerly=False), images(8)
    model.fit(x, verbose=0)
    wrong = x[:, :5]
    for call in (
        model.fit,
        model.evaluate,
        model.predict,
        model.train_on_batch,
        model.test_on_batch,
        model.predict_on_batch,
    ):
        with pytest.raises(ValueError, match=r"\(8, 5\); expected \(batch, 7\)"):
            call(wrong)
    with pytest.raises(ValueError, match=r"\(8, 5\); expected \(batch, 7\)"):
        model.fit(x, validation_data=wrong, verbose=0)
    of_any_width = tf.data.Dataset.from_generator(
        lambda: iter([x]), output_signature=tf.TensorSpec((None, None), tf.float32)
    ).apply(tf.data.experimental.assert_cardinality(1))
    model.evaluate(of_any_width, verbose=0)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[8,5\] .* shape \[\?,7\]"):
        model.evaluate(of_any_width.map(lambda x: x[:, :5]), verbose=0)


# k falls, and the best epoch is looked for.


class Notes(keras.callbacks.Callback):
    """Notes k while the model is validated, and as others look at an epoch's end."""

    def __init__(self):
        super().__init__()
        self.validated, self.looked = [], []

    def on_test_batch_begin(self, batch, logs=None):
        self.validated.append(self.model.k)

    def on_epoch_end(self, epoch, logs=None):
        self.looked.append(self.model.k)


@pytest.mark.parametrize("first", [True, False], ids=["k first", "k last"])
@pytest.mark.parametrize("monitor", ["val_loss", "loss"])
def test_the_best_model_selects_the_final_k_whenever_it_was_the_best(tmp_path, monitor, first):
    x, notes = images(), Notes()
    model = compiled(MAKE["KSparseAutoencoder"])
    model.optimizer.learning_rate = -0.01  # so that no epoch is better than the first
    stop = keras.callbacks.EarlyStopping(monitor, restore_best_weights=True, patience=99)
    save = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", monitor=monitor, save_best_only=True
    )
    k = twins.KCurriculum(6, 1)
    callbacks = [k, notes, stop, save] if first else [notes, stop, save, k]
    how = {"validation_data": images(8, seed=1)} if monitor == "val_loss" else {}
    history = model.fit(x, batch_size=8, epochs=6, verbose=0, callbacks=callbacks, **how).history
    assert stop.best_epoch == 0
    assert history["k"][0] > 1 and history["k"][-1] == 1
    assert model.k == 1
    if how or first:  # else there is nothing that comes before those who look
        assert keras.saving.load_model(tmp_path / "best.keras").k == 1
        assert set(notes.looked) == {1}
    if how:
        assert set(notes.validated) == {1}
        # What was validated is what one gets.
        val = how["validation_data"]
        best = min(history["val_loss"])
        assert model.evaluate(val, verbose=0, batch_size=8) == pytest.approx(best, rel=1e-6)
        loaded = keras.saving.load_model(tmp_path / "best.keras")
        assert loaded.evaluate(val, verbose=0, batch_size=8) == pytest.approx(best, rel=1e-6)


# Averages of weights.


@pytest.mark.parametrize("scaled", [False, True], ids=["", "loss scale"])
@pytest.mark.parametrize("unit_norm", [True, False])
def test_averages_of_unit_rows_are_unit_rows(unit_norm, scaled):
    model = twins.KSparseAutoencoder(7, 6, 2, unit_norm=unit_norm)
    optimizer = keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.9)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer, loss="mse", run_eagerly=True)
    model.fit(images(), batch_size=8, epochs=3, verbose=0)
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    (average,) = (v for v in inner.variables if v.name.endswith("W_dec_average"))
    average, W_dec = ops.convert_to_numpy(average), ops.convert_to_numpy(model.W_dec)
    lengths = np.linalg.norm(average, axis=1, keepdims=True)
    assert np.abs(lengths - 1).max() > 1e-3
    np.testing.assert_allclose(W_dec, average / lengths if unit_norm else average, atol=1e-6)


# A NaN.


@each
def test_a_nan_ends_training_with_a_sentence(make):
    x = images()
    x[3, 2] = np.nan
    model = compiled(make)
    with pytest.raises(ValueError, match=r"was NaN in epoch 1, .* Look for NaN in the images"):
        model.fit(x, epochs=50, verbose=0)
    assert model.history.epoch == [0]


# Kinds of float.

KINDS = ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"]
SELECTORS = {
    "TopK": lambda: 2,
    "BatchTopK": lambda: twins.BatchTopK(2),
    "JumpReLU": lambda: twins.JumpReLU(0.2),
    "gumbel_subset": lambda: twins.Relaxation("gumbel_subset", 2, 0.5),
    "perturbed": lambda: twins.Relaxation("perturbed", 2, 0.5),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("selector", SELECTORS.values(), ids=SELECTORS)
def test_half_precision_starts_trains_resets_and_goes_to_numpy(selector, kind):
    x = images(20)
    terms = [twins.AuxK(2), twins.DeCov(0.1), twins.MultiTopK([(2, 5, 0.5)])]
    model = twins.KSparseAutoencoder(
        7, 6, selector(), dtype=kind, dead_after=1, auxiliary_losses=terms
    )
    model.init_from_data(x, np.random.default_rng(0))
    model.b_enc.assign([-9, 0, 0, 0, 0, 0])
    model.compile(keras.optimizers.SGD(0.01), loss="mse", run_eagerly=True)
    assert ops.convert_to_numpy(model.encode(x)).dtype == model.compute_dtype
    reset = twins.ResetDeadUnits(x, every=1, until=1.0)
    model.fit(x, batch_size=20, verbose=0, callbacks=[reset])
    assert float(model.b_enc[0]) > -9
    twin = model.to_numpy()
    assert twin.W_dec.dtype == {"float16": np.float16}.get(kind, np.float32)
    for name, w in twin.parameters.items():
        held = getattr(model if hasattr(model, name) else model.selector, name)
        np.testing.assert_array_equal(ops.cast(held, "float32"), w.astype(np.float32))
    near = 0.1 if "bfloat16" in kind else 0.02
    left = ops.cast(model.decode(model.encode(x)), "float32") - twin.reconstruct(x)
    # Where two units are nearly equal, or one is at its threshold, rounding may choose otherwise.
    assert np.mean(np.abs(left) < near) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_dreams(kind):
    x = images(20)
    model = twins.SparseDream(7, 6, dtype=kind)
    model.compile(keras.optimizers.SGD(2**-10), loss=sum_of_squares, run_eagerly=True)
    model.fit(x, verbose=0)
    assert ops.convert_to_numpy(model.encode(x)).dtype == model.compute_dtype
    twin = model.to_numpy()
    np.testing.assert_array_equal(ops.cast(model.W, "float32"), twin.W.astype(np.float32))
    assert np.isfinite(twin.encode(x)).all()
