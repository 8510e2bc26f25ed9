"""What Keras holds its own layers to: configs, symbolic calls, training, mixed precision."""

import keras
import pytest
from keras.src import testing

from ksae_lab import keras as twins

# Keras' check gives a generator to `fit`, and is told of it.
pytestmark = pytest.mark.filterwarnings("ignore:.shuffle=True. was passed:UserWarning")

KINDS = list(twins.relaxations.RELAXATIONS)
SELECTORS = {
    "TopK": (twins.TopK, {"k": 3, "by": "magnitude"}),
    "PrefixTopK": (twins.PrefixTopK, {"k": 3, "prefix": 5}),
    "BatchTopK": (twins.BatchTopK, {"k": 3}),
    "JumpReLU": (twins.JumpReLU, {"threshold": 0.5, "bandwidth": 0.2}),
    **{
        kind: (twins.Relaxation, {"kind": kind, "k": 3, "temperature": 0.5, "seed": 1})
        for kind in KINDS
    },
}


@pytest.fixture
def check():
    """Keras' own test of a layer, from which a test case of Keras inherits."""
    return testing.TestCase().run_layer_test


@pytest.mark.parametrize(("selector", "settings"), SELECTORS.values(), ids=SELECTORS)
def test_selectors(check, selector, settings):
    check(
        selector,
        settings | {"dead_after": 9},
        input_shape=(4, 8),
        expected_output_shape=(4, 8),
        expected_num_trainable_weights=int(selector is twins.JumpReLU),
        expected_num_losses=0,
        run_training_check=selector is twins.JumpReLU,  # the others learn nothing by themselves
    )


@pytest.mark.parametrize("k", [3, twins.BatchTopK(3), twins.JumpReLU(0.5)], ids=str)
@pytest.mark.parametrize("shape", [(4, 5), (4, 2, 5)])
def test_the_layer(check, k, shape):
    check(
        twins.KSparse,
        {"units": 8, "k": k, "activation": "relu", "dead_after": 9},
        input_shape=shape,
        expected_output_shape=(*shape[:-1], 8),
        expected_num_losses=0,
    )


@pytest.mark.parametrize(
    ("model", "settings", "losses"),
    [
        (twins.KSparseAutoencoder, {"k": 3, "noise": 0.1}, 0),
        (twins.KSparseAutoencoder, {"k": 3, "auxiliary_losses": [twins.DeCov(0.1)]}, 0),
        (twins.SparseDream, {"penalty": "log"}, 2),
    ],
    ids=["noise", "term", "dream"],
)
def test_the_models_which_are_layers_too(check, model, settings, losses):
    check(
        model,
        {"n_pixels": 5, "n_units": 8} | settings,
        input_shape=(4, 5),
        expected_output_shape=(4, 5),
        expected_num_losses=losses,
    )


def test_a_model_is_part_of_a_functional_one_and_of_a_clone(tmp_path):
    inside = twins.KSparseAutoencoder(5, 8, 3)
    x = keras.Input((5,))
    model = keras.Model(x, keras.layers.Dense(2)(inside(x)))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    images = keras.random.uniform((4, 5), seed=0)
    assert (keras.ops.convert_to_numpy(again(images) == model(images))).all()
    clone = keras.models.clone_model(model)
    assert clone(images).shape == (4, 2)
