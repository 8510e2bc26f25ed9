"""One model that two processes train, by the program that the book's page shows."""

import numpy as np
import pytest
import tensorflow as tf

from ksae_lab import keras as twins
from ksae_lab.experiments import labs
from tests.repo import ROOT

SETTINGS = {"n_units": 60, "k": 2, "batch_size": 20, "steps": 10, "epochs": 4, "recipes": True}


def test_two_processes_end_with_the_same_weights_which_are_those_of_one():
    (program,) = labs.find("many_machines", ROOT).modules
    (first,), (second,) = program.train("two processes", SETTINGS)
    ((alone,),) = program.train("one device", SETTINGS)
    assert alone["logs dead"].max() > 0 and alone["logs k"].tolist() == [4, 2, 2, 2]
    assert set(first) == set(second) == set(alone)
    for name in set(alone) - {"seconds"}:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        # Sums in another order: all else is the same.
        np.testing.assert_allclose(first[name], alone[name], rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(np.linalg.norm(first["W_dec"], axis=1), 1, atol=1e-6)


def test_fit_says_what_to_do_with_several_workers_before_keras_fails(monkeypatch):
    model = twins.SparseDream(7, 6)
    model.compile("sgd", loss="mse")
    workers = tf.distribute.MultiWorkerMirroredStrategy
    monkeypatch.setattr(model, "_distribute_strategy", object.__new__(workers))
    with pytest.raises(NotImplementedError, match="use fit_on_workers"):
        model.fit(np.ones((4, 7)))
