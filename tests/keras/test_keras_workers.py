"""One model that two processes train, by the program that the book's page shows."""

import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf

from ksae_lab import keras as twins
from tests.labs.imported import module

measure = module("many_machines")
# The last batch has fifteen images: one process has ten of them, the other five.
SETTINGS = {"n_units": 60, "k": 2, "batch_size": 20, "images": 195, "epochs": 4, "recipes": True}


def alone(tmp_path):
    """What one device comes to, in this process: TensorFlow is already here."""
    spec = importlib.util.spec_from_file_location("worker", measure.WORKER)
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    worker.train(worker.on_one_device(), SETTINGS, tmp_path / "alone.npz")
    return np.load(tmp_path / "alone.npz")


def test_two_processes_end_with_the_same_weights_which_are_those_of_one(tmp_path):
    (first,), (second,) = measure.train("two processes", SETTINGS)
    expected = alone(tmp_path)
    assert expected["logs dead"].max() > 0 and expected["logs k"].tolist() == [4, 2, 2, 2]
    assert set(first) == set(second) == set(expected)
    for name in set(expected) - {"seconds"}:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        # Sums in another order: all else is the same.
        np.testing.assert_allclose(first[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(np.linalg.norm(first["W_dec"], axis=1), 1, atol=1e-6)


def test_the_loop_is_fit_where_there_is_one_device_and_a_nan_ends_it():
    def made():
        keras.utils.set_random_seed(0)
        model = twins.KSparseAutoencoder(7, 6, 2, noise=0.1)
        model.compile("adam", loss="mse", metrics=["mae"])
        return model

    def batches(x):
        return tf.data.Dataset.from_tensor_slices(x).batch(4)

    x = np.random.default_rng(0).uniform(size=(10, 7)).astype(np.float32)
    model, other = made(), made()
    found = twins.fit_on_workers(model, batches(x), epochs=3, callbacks=[twins.KCurriculum(3, 1)])
    options = {"shuffle": False, "verbose": 0, "callbacks": [twins.KCurriculum(3, 1)]}
    expected = other.fit(batches(x), epochs=3, **options)
    assert set(found.history) == {"loss", "mae", "k"}
    for name, values in expected.history.items():
        np.testing.assert_allclose(found.history[name], values, rtol=1e-6, err_msg=name)
    x[5, 0] = np.nan
    with pytest.raises(ValueError, match="The loss was NaN in epoch 1"):
        twins.fit_on_workers(model, batches(x), epochs=3)


def test_fit_says_what_to_do_with_several_workers_before_keras_fails(monkeypatch):
    model = twins.SparseDream(7, 6)
    model.compile("sgd", loss="mse")
    workers = tf.distribute.MultiWorkerMirroredStrategy
    monkeypatch.setattr(model, "_distribute_strategy", object.__new__(workers))
    with pytest.raises(NotImplementedError, match="use fit_on_workers"):
        model.fit(np.ones((4, 7)))
