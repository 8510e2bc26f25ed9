"""Both optimisers against Keras, step by step."""

import numpy as np
import pytest

from ksae_lab.optimizers import SGD, Adam

# Keras keeps rates and betas in float32, so the agreement is to seven digits.
OPTIMIZERS = {
    "sgd": (lambda: SGD(0.1), lambda keras: keras.SGD(0.1)),
    "momentum": (lambda: SGD(0.1, momentum=0.9), lambda keras: keras.SGD(0.1, momentum=0.9)),
    "adam": (lambda: Adam(0.01), lambda keras: keras.Adam(0.01)),
    "adam, all set": (
        lambda: Adam(0.01, beta_1=0.8, beta_2=0.95, epsilon=1e-3),
        lambda keras: keras.Adam(0.01, beta_1=0.8, beta_2=0.95, epsilon=1e-3),
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_agrees_with_keras_step_by_step(name):
    keras = pytest.importorskip("keras")
    ours, theirs = OPTIMIZERS[name][0](), OPTIMIZERS[name][1](keras.optimizers)
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


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_changes_arrays_in_place_and_keeps_float32(name):
    w = np.ones(3, np.float32)
    optimizer = OPTIMIZERS[name][0]()
    optimizer.step({"w": w}, {"w": np.ones(3, np.float32)})
    assert w.dtype == np.float32
    assert (w < 1).all()
