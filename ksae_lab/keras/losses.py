"""The two terms of `ksae_lab.nn.losses` that keep units alive and different, and a loss.

Their gradients come from the backend; the tests compare them with those written by hand.
With a `tf.distribute` strategy each device takes the statistics of its own part of the batch.
"""

import keras
from keras import ops

from ksae_lab.keras.layers import top_k_mask


def aux_k(x, x_hat, h, W_dec, dead, k_aux: int, weight: float = 1 / 32):
    """Dead units try to draw what the living ones left over: a scalar, 0 if none is dead.

    x and x_hat have shape (batch, d), h (batch, n), W_dec (n, d), dead (n,).
    `ksae_lab.nn.losses.AuxK` says what is computed.

    Source: Gao et al. (2024).
    Chapter 8.
    """
    e = ops.stop_gradient(x - x_hat)
    drawing = ops.where(dead, ops.relu(h), 0)  # a unit at zero draws nothing, chosen or not
    mask = top_k_mask(drawing, k_aux)
    e_hat = ops.matmul(ops.where(mask, drawing, 0), W_dec)
    spread = _variance(e)
    used = ops.any(dead) & (spread > 0)
    scale = weight * _variance(x) / ops.where(used, spread, 1)
    return ops.where(used, scale * ops.mean((e_hat - e) ** 2), 0)


def diversity(z, weight: float):
    """Units that speak together pay for it: weight · ½ Σ_{i≠j} C_ij², a scalar.

    z has shape (batch, n), its covariance C over the batch (n, n).

    Source: Cogswell et al. (2016).
    Chapter 8.
    """
    centred = z - ops.mean(z, axis=0)
    C = ops.matmul(ops.transpose(centred), centred) / ops.cast(ops.shape(z)[0], z.dtype)
    between = C * (1 - ops.eye(z.shape[-1], dtype=z.dtype))
    return weight * 0.5 * ops.sum(between**2)


@keras.saving.register_keras_serializable(package="ksae_lab")
def sum_of_squares(x, x_hat):
    """‖x̂ − x‖² of each image: d times its mean squared error, of shape (batch,).

    x and x_hat have shape (batch, d). Keras takes the mean over the batch.

    Chapter 11.
    """
    return ops.sum(ops.square(x_hat - x), axis=-1)


def _variance(x):
    """The mean square of x (batch, d) around the batch's mean image: a scalar."""
    return ops.mean((x - ops.mean(x, axis=0)) ** 2)
