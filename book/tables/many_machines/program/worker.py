"""One process of a training: alone, on two devices of its own, or one of two that share it.

`python worker.py JSON FOLDER` says how and what to train, and where the results go. Who the others
are stands in the environment: `TF_CONFIG` for TensorFlow, `KERAS_DISTRIBUTION_...` for JAX.
"""

import json
import os
import sys
import time

import keras
import numpy as np

from ksae_lab import keras as twins
from ksae_lab.data.datasets import load_dataset
from ksae_lab.models import k_sparse


def on_one_device():
    """Plain `fit`, by any backend."""
    return fit


def on_two_devices():
    """Two halves of the processor; without names it would be all GPUs."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    half = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [half, half])
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    def fit_on_both(make, x, batch_size, **options):
        with strategy.scope():
            return fit(make, x, batch_size, **options)

    return fit_on_both


def among_workers():
    """One of several processes, with the loop that Keras 3 lacks."""
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()

    def fit_together(make, x, batch_size, **options):
        with strategy.scope():
            model = make()
        images = tf.data.Dataset.from_tensor_slices(x)
        twins.fit_on_workers(model, images.batch(batch_size), **options)
        return model

    return fit_together


def among_jax_workers():
    """One of several processes; each gives its part of every batch."""
    from keras import distribution

    distribution.initialize()
    all_devices = distribution.DataParallel(auto_shard_dataset=False)
    distribution.set_distribution(all_devices)
    processes = int(os.environ["KERAS_DISTRIBUTION_NUM_PROCESSES"])
    number = int(os.environ["KERAS_DISTRIBUTION_PROCESS_ID"])

    def fit_my_part(make, x, batch_size, **options):
        own = batch_size // processes
        parts = x.reshape(-1, processes, own, x.shape[1])
        mine = parts[:, number].reshape(-1, x.shape[1])
        return fit(make, mine, own, **options)

    return fit_my_part


WAYS = {
    "one device": on_one_device,
    "one JAX device": on_one_device,
    "two devices": on_two_devices,
    "two processes": among_workers,
    "two JAX processes": among_jax_workers,
}


def fit(make, x, batch_size, **options):
    """What is the same for all but one."""
    model = make()
    model.fit(x, batch_size=batch_size, shuffle=False, verbose=0, **options)
    return model


class Clock(keras.callbacks.Callback):
    """Notes when each batch ended, in `ended`: seconds by the clock, and of the processor."""

    def on_train_begin(self, logs=None):
        """Forget what was noted."""
        self.ended = []

    def on_train_batch_end(self, batch, logs=None):
        """Note, once the loss is there: JAX does not wait for it."""
        for loss in (logs or {}).values():
            keras.ops.convert_to_numpy(loss)
        self.ended.append((time.perf_counter(), time.process_time()))


def train(way, settings, result):
    """Train as told, and write all weights by name, each epoch's logs, and each step's seconds."""
    k, batch_size = settings["k"], settings["batch_size"]
    digits = load_dataset("mnist5k").x_train
    x = digits[np.arange(settings["images"]) % len(digits)]
    start = k_sparse.KSparseAutoencoder(784, settings["n_units"], k, rng=np.random.default_rng(0))
    start.init_from_data(digits, np.random.default_rng(0))
    clock = Clock()
    terms, callbacks = [], [clock]
    if settings["recipes"]:  # of chapter 8, to see whether they agree, too
        terms = [twins.AuxK(k)]
        reset = twins.ResetDeadUnits(digits[:500], every=2)
        callbacks = [twins.KCurriculum(3 * k, k), twins.DeadUnitMonitor(), reset, clock]

    def make():
        model = twins.KSparseAutoencoder.from_numpy(
            start, auxiliary_losses=terms, dead_after=len(x)
        )
        model.compile(keras.optimizers.Adam(2e-3), loss="mse")
        return model

    model = way(make, x, batch_size, epochs=settings["epochs"], callbacks=callbacks)
    weights = {w.name: keras.ops.convert_to_numpy(w) for w in model.weights}
    logs = {f"logs {name}": values for name, values in model.history.history.items()}
    np.savez(result, seconds=np.diff(clock.ended, axis=0), **weights, **logs)


def main(told, folder):
    """Prepare as told, and train once for each of the settings: results are 0.npz and so on."""
    if told["cores"]:
        os.sched_setaffinity(0, told["cores"])
    way = WAYS[told["way"]]()
    for i, settings in enumerate(told["trainings"]):
        train(way, settings, f"{folder}/{i}.npz")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2])
