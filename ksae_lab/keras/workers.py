"""One model that several TensorFlow processes train together: the loop that Keras 3 lacks."""

from collections.abc import Iterable
from typing import Any

import keras

from ksae_lab.keras.reconstruction import Watch, refuse_nan


def fit_on_workers(
    model: keras.Model,
    batches: Any,
    *,
    epochs: int = 1,
    callbacks: Iterable[keras.callbacks.Callback] = (),
) -> keras.callbacks.History:
    """Train a model that was made in the scope of `tf.distribute.MultiWorkerMirroredStrategy`.

    Keras 3 does not fit it: `fit` ends in an error. This is `fit` without validation and moving
    averages of weights, around the model's own `train_step`. Every process calls it with the same
    `batches`, a `tf.data.Dataset` of whole batches (batch, d), and takes its part of each; to
    shuffle give the data set a seed. All of them end with the same weights and the same history.

    Raises `ValueError` for a NaN, as `fit` does, and what the callbacks and the strategy raise: if
    another process dies, TensorFlow's `UnavailableError` or `FailedPreconditionError`, some time
    later.

    Chapter 6.
    """
    import tensorflow as tf

    strategy = model.distribute_strategy
    by_image = tf.data.Options()
    by_image.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    parts = strategy.experimental_distribute_dataset(batches.with_options(by_image))
    step = tf.function(lambda part: strategy.run(model.train_step, (part,)))
    calls = keras.callbacks.CallbackList(
        [Watch(), *callbacks], add_history=True, model=model, epochs=epochs, steps=len(batches)
    )
    model.stop_training = False
    calls.on_train_begin()
    for epoch in range(epochs):
        model.reset_metrics()
        calls.on_epoch_begin(epoch)
        for batch, part in enumerate(parts):
            calls.on_train_batch_begin(batch)
            step(part)
            calls.on_train_batch_end(batch)
        logs = {name: float(value) for name, value in model.get_metrics_result().items()}
        calls.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    calls.on_train_end()
    refuse_nan(model.history)
    return model.history
