"""What a batch that is dealt out over the devices of a `tf.distribute` strategy has in common.

And what it must not have in common: random numbers. On JAX nothing is needed, since there a batch
is one array, wherever its parts lie.
"""

from typing import Any

import keras
from keras import ops


def over_all_devices(number: Any) -> Any:
    """The sum of a tensor, of any shape, over the replicas of a `tf.distribute` strategy.

    A slope passes through it: that of the sum.

    Chapter 6.
    """
    replica = _replica()
    if replica is None:
        return number
    import tensorflow as tf

    return replica.all_reduce(tf.distribute.ReduceOp.SUM, number)


def mean_of_batch(x: Any) -> Any:
    """The mean of x (batch, d) over the images of all devices: (d,).

    Each image counts alike, though one device has more of them than another, or none.

    Chapter 8.
    """
    count = ops.cast(ops.shape(x)[0], "float32")
    share = ops.cast(count / over_all_devices(count), x.dtype)
    return over_all_devices(ops.where(count > 0, share * ops.mean(x, axis=0), 0))


def for_each_image_alike(loss: Any, x: Any) -> Any:
    """A loss, a scalar, of one device's images x (batch, d), with its slope in the mean of all.

    Keras takes the mean of the devices' slopes, as if each had as many images. So where the last
    batch is dealt out unevenly, a device's slope has to weigh as many images as it has.

    Chapter 6.
    """
    replica = _replica()
    if replica is None:
        return loss
    count = ops.cast(ops.shape(x)[0], loss.dtype)
    share = count * replica.num_replicas_in_sync / over_all_devices(count)
    value = ops.stop_gradient(loss)  # which is logged, and weighed by images there
    return value + share * (loss - value)


class SeedOfDevice(keras.random.SeedGenerator):  # type: ignore[misc] # Keras has no types
    """A generator's seeds, other ones on each device.

    A `tf.distribute` strategy gives each device a copy of the generator, so that all draw the same.
    On the first device, and on a single one, the seeds are the generator's own.

    Chapter 6.
    """

    def __init__(self, generator: keras.random.SeedGenerator):
        self.generator = generator  # which has the state, and stands in files

    def next(self, ordered: bool = True) -> Any:
        """The next seed, integers (2,)."""
        seed = self.generator.next(ordered)
        replica = _replica()
        if replica is None:
            return seed
        number = ops.cast(replica.replica_id_in_sync_group, seed.dtype)
        return seed + ops.stack([number, ops.zeros_like(number)])


def _replica() -> Any:
    """Where in a `tf.distribute` strategy this is computed; None if it is one of one, or JAX."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        replica = tf.distribute.get_replica_context()
        if replica is not None and replica.num_replicas_in_sync > 1:
            return replica
    return None
