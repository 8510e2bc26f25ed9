"""One model on two devices, in another process: TensorFlow may not have looked for them before."""

import pytest

from tests.keras.test_keras_elsewhere import run

TWO_DEVICES = """
from ksae_lab import keras as twins
from ksae_lab.data.datasets import load_dataset
from ksae_lab.keras.losses import sum_of_squares
from ksae_lab.models import k_sparse

import sys
import keras
import numpy as np
import tensorflow as tf

# Refused once TensorFlow has looked for devices, so the imports above have not made it look.
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
alone = tf.distribute.get_strategy()
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
"""

ALIKE = """
# With four images in a batch and two units for each, most units are active on one device at most.
# Of the three in the last batch one device has two, the other one.
x = load_dataset("mnist5k").x_train[:203]
start = k_sparse.KSparseAutoencoder(784, 30, 2, rng=np.random.default_rng(0))
start.init_from_data(x, np.random.default_rng(0))
start.b_enc[[4, 5, 6]] = -10


def trained(strategy):
    with strategy.scope():
        model = twins.KSparseAutoencoder.from_numpy(
            start, auxiliary_losses=[twins.AuxK(2), twins.DeCov(1e-3)], dead_after=100
        )
        model.compile(keras.optimizers.Adam(0.002), loss="mse")
    reset = twins.ResetDeadUnits(x, every=2)
    callbacks = [twins.KCurriculum(4, 2), twins.DeadUnitMonitor(), reset]
    history = model.fit(x, batch_size=4, epochs=4, shuffle=False, verbose=0, callbacks=callbacks)
    return model, history.history


one, expected = trained(alone)
assert one.k == 2 and max(expected["dead"]) > 1 and float(one.b_enc[4]) > -1
for strategy in (tf.distribute.OneDeviceStrategy("CPU:0"), two):
    model, history = trained(strategy)
    # After 204 steps all that may differ is what the order of sums rounds.
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)
    for a, b in zip(model.weights, one.weights, strict=True):
        copies = strategy.experimental_local_results(a.value)
        for copy in copies:
            np.testing.assert_array_equal(copy, copies[0], err_msg=a.name)
            np.testing.assert_allclose(copy, b, rtol=0, atol=1e-5, err_msg=a.name)
    # The weights are the same on each device, and so are the code's rules.
    selected = lambda: model.selector.mask(model.pre_activations(x))
    for mask in strategy.experimental_local_results(tf.function(strategy.run)(selected)):
        assert (np.count_nonzero(mask, axis=1) == 2).all()
    for rows in strategy.experimental_local_results(model.W_dec.value):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    print("alike on", len(copies))
print("not a word before this", file=sys.stderr)
"""

# The last batch has one image, and one device none.
ONE_IMAGE = """
x = np.random.default_rng(0).uniform(size=(5, 7)).astype(np.float32)
start = twins.KSparseAutoencoder(7, 6, 2).to_numpy()
start.init_from_data(x, np.random.default_rng(0))


def autoencoder(k=2, *terms):
    model = twins.KSparseAutoencoder(7, 6, k, auxiliary_losses=terms, dead_after=1)
    for name in ("W_enc", "W_dec", "b_dec"):
        getattr(model, name).assign(getattr(start, name))
    model.b_enc.assign([1, 1, 1, 1, 1, -9])  # above zero but for one, which is dead from then on
    return model


MAKE = {
    "AuxK": lambda: autoencoder(2, twins.AuxK(2)),
    "DeCov": lambda: autoencoder(2, twins.DeCov(0.1)),
    "MultiTopK": lambda: autoencoder(2, twins.MultiTopK([(3, 5, 0.5)])),
    "JumpReLU": lambda: autoencoder(twins.JumpReLU(0.3), twins.L0(0.1)),
    "BatchTopK": lambda: autoencoder(twins.BatchTopK(2)),
    "SparseDream": lambda: twins.SparseDream(7, 6),
}


def trained(name, strategy):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = MAKE[name]()
        loss = sum_of_squares if name == "SparseDream" else "mse"
        model.compile(keras.optimizers.SGD(0.01), loss=loss)
    history = model.fit(x, batch_size=4, shuffle=False, verbose=0)
    weights = [keras.ops.convert_to_numpy(w) for w in model.weights]
    return history.history["loss"][0], {w.name: a for w, a in zip(model.weights, weights)}


for name in MAKE:
    loss, weights = trained(name, two)
    if name == "BatchTopK":  # which selects from what a device has
        print(name, np.isfinite(loss) and all(np.isfinite(w).all() for w in weights.values()))
    else:
        expected, others = trained(name, alone)
        apart = max(np.abs(weights[name] - others[name]).max() for name in weights)
        print(name, abs(loss / expected - 1) < 1e-5 and apart < 1e-5)

with two.scope():
    model = autoencoder(twins.BatchTopK(2))
parts = two.experimental_distribute_values_from_function(
    lambda at: tf.constant(x[: 1 - at.replica_id_in_sync_group])
)
step = tf.function(lambda x: model(x, training=True))
tf.function(lambda parts: two.run(step, (parts,)))(parts)
smallest = np.sort(keras.ops.convert_to_numpy(model.pre_activations(x[:1]))[0])[-2]
threshold = keras.ops.convert_to_numpy(model.selector.threshold)
print("the threshold of one image", threshold == smallest)
"""

DRAWN = """
with two.scope():
    noisy = twins.KSparseAutoencoder(7, 6, 2, noise=0.1)
    drawn = twins.Relaxation("perturbed", 2, 0.5).own(6, noisy, 10)


def draw():
    zeros = tf.zeros((3, 7))
    return noisy.noise(zeros, training=True), drawn.weights_of(zeros[:, 1:])


for values in tf.function(two.run)(draw):
    first, second = map(np.asarray, two.experimental_local_results(values))
    print("apart" if (first != second).mean() > 0.5 else "the same")
"""


@pytest.fixture(scope="module")
def said():
    """What all of these programs print, in one process, and what it complains about."""
    output, complaints = run(TWO_DEVICES + ALIKE + ONE_IMAGE + DRAWN)
    return output.splitlines(), complaints


def test_trains_alike_on_one_device_and_on_two_and_says_nothing(said):
    lines, complaints = said
    assert lines[:2] == ["alike on 1", "alike on 2"]
    assert complaints.startswith("not a word before this")


def test_two_devices_share_a_batch_of_one_image_and_come_to_what_one_device_does(said):
    assert said[0][2:9] == [
        "AuxK True",
        "DeCov True",
        "MultiTopK True",
        "JumpReLU True",
        "BatchTopK True",
        "SparseDream True",
        "the threshold of one image True",
    ]


def test_each_device_draws_its_own_noise(said):
    assert said[0][9:] == ["apart", "apart"]
