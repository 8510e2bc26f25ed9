"""Activations against Keras, their derivatives against central differences."""

import numpy as np
import pytest

from ksae_lab.nn import activations
from ksae_lab.nn.activations import ACTIVATIONS

each = pytest.mark.parametrize("phi", ACTIVATIONS.values(), ids=ACTIVATIONS.keys())
grid = np.linspace(-6, 6, 1001) + 1e-3  # off the kinks at zero


@each
def test_derivative_is_the_slope_at_the_pre_activation(phi):
    slope = (phi(grid + 1e-6) - phi(grid - 1e-6)) / 2e-6
    np.testing.assert_allclose(phi.derivative(grid), slope, atol=1e-9)


@each
def test_function_is_the_one_keras_calls_by_that_name(phi, keras):
    reference = {
        # The exact normal distribution, not its tanh approximation.
        "gelu": lambda h: keras.activations.gelu(h, approximate=False),
        "swish": keras.activations.silu,
    }.get(phi.name) or keras.activations.get(phi.name)
    np.testing.assert_allclose(phi(grid), np.asarray(reference(grid)), rtol=1e-6, atol=1e-6)


@each
def test_saturates_without_a_warning_and_keeps_float32(phi):
    far = np.array([-1e4, -100, 0, 100, 1e4], dtype=np.float32)
    with np.errstate(all="raise", under="ignore"):
        value, slope = phi(far), phi.derivative(far)
    assert value.dtype == slope.dtype == np.float32
    assert np.isfinite(value).all() and np.isfinite(slope).all()


@each
def test_up_to_the_floor_a_unit_is_silent_and_learns_nothing_and_nowhere_else(phi):
    h = np.append(grid, 0.0)
    silent = (phi(h) == 0) & (phi.derivative(h) == 0)
    np.testing.assert_array_equal(silent, h <= phi.floor)


def test_slopes_at_the_kink():
    at_zero = np.zeros(1)
    assert activations.get("relu").derivative(at_zero) == 0
    assert activations.get("leaky_relu").derivative(at_zero) == activations.LEAK


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="'rleu'; choose from linear, sigmoid, relu"):
        activations.get("rleu")
