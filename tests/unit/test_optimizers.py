"""Both optimisers against Keras, step by step."""

import keras
import numpy as np
import pytest

from ksae_lab.optimizers import SGD, Adam

# Keras keeps rates and betas in float32, so the agreement is to seven digits.
OPTIMIZERS = {
    "sgd": (lambda: SGD(0.1), lambda: keras.optimizers.SGD(0.1)),
    "momentum": (lambda: SGD(0.1, momentum=0.9), lambda: keras.optimizers.SGD(0.1, momentum=0.9)),
    "adam": (lambda: Adam(0.01), lambda: keras.optimizers.Adam(0.01)),
    "adam, by default": (lambda: Adam(), lambda: keras.optimizers.Adam()),
    "adam, all set": (
        lambda: Adam(0.01, beta_1=0.8, beta_2=0.95, epsilon=1e-3),
        lambda: keras.optimizers.Adam(0.01, beta_1=0.8, beta_2=0.95, epsilon=1e-3),
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_agrees_with_keras_step_by_step(name):
    ours, theirs = OPTIMIZERS[name][0](), OPTIMIZERS[name][1]()
    rng = np.random.default_rng(0)
    parameters = {"W": rng.normal(size=(4, 3)), "b": rng.normal(size=3)}
    variables = [keras.Variable(w, dtype="float64") for w in parameters.values()]
    for _ in range(20):
        gradients = {key: rng.normal(size=w.shape) for key, w in parameters.items()}
        ours.step(parameters, gradients)
        tensors = [keras.ops.convert_to_tensor(g, "float64") for g in gradients.values()]
        theirs.apply(tensors, variables)
        for w, variable in zip(parameters.values(), variables, strict=True):
            np.testing.assert_allclose(w, variable.numpy(), rtol=1e-6, atol=1e-6)


def test_adam_has_the_default_epsilon_of_keras():
    # Gradients as small as epsilon show it: the step is half of what it would be without.
    w, g = np.zeros(1), np.full(1, Adam().epsilon)
    theirs, variable = keras.optimizers.Adam(), keras.Variable(w, dtype="float64")
    Adam().step({"w": w}, {"w": g})
    theirs.apply([keras.ops.convert_to_tensor(g, "float64")], [variable])
    np.testing.assert_allclose(w, variable.numpy(), rtol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_changes_arrays_in_place_and_keeps_float32(name):
    w = np.ones(3, np.float32)
    optimizer = OPTIMIZERS[name][0]()
    optimizer.step({"w": w}, {"w": np.ones(3, np.float32)})
    assert w.dtype == np.float32
    assert (w < 1).all()
