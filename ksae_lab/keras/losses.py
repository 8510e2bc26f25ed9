"""The loss of SparseDream, as Keras wants it, and terms that are added to a loss."""

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


def of_batch(term: Any, x: Any) -> Any:
    """A term of the loss, a scalar, as Keras adds it; 0 where the batch x (batch, d) is empty.

    So it is on a device that is left without an image when the last batch is dealt out. There a
    mean is not a number.

    Chapter 8.
    """
    kind = keras.config.floatx()  # in which Keras computes the loss
    return ops.where(ops.shape(x)[0] > 0, ops.cast(term, kind), 0)
