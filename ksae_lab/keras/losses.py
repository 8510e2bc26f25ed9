"""The loss of SparseDream, as Keras wants it."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="ksae_lab")  # type: ignore[untyped-decorator]
def sum_of_squares(x: Any, x_hat: Any) -> Any:
    """‖x̂ − x‖² of each image: d times its mean squared error, of shape (batch,).

    x and x_hat have shape (batch, d). Keras takes the mean over the batch.

    Chapter 11.
    """
    return ops.sum(ops.square(x_hat - x), axis=-1)
