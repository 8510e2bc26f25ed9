"""Where the batches of a training come from: arrays, in another order each epoch, or ready-made.

Ready-made batches are an iterable: a list of arrays, an object whose `__iter__` starts again for
each epoch, a `tf.data.Dataset`. Each item is x (batch, d), or a pair of x and a target.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import numpy as np

from ksae_lab.nn import inputs
from ksae_lab.nn.checks import whole

Batch = tuple[np.ndarray, ...]


class FromArrays:
    """Batches of `size` from arrays (samples, …), which visit every sample once an epoch.

    The arrays may be of any real dtype: a batch of them is made floats, of `dtype` if they are none
    yet, and so bytes stay bytes until they are needed. `steps` is how many there are in an epoch.

    Chapter 5.
    """

    def __init__(self, arrays: Batch, size: int, dtype: np.dtype):
        self.arrays = arrays
        self.size = size
        self.dtype = dtype
        self.steps: int | None = len(range(0, len(arrays[0]), size))

    def batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """In an order drawn from `rng`, tuples of arrays (batch, …)."""
        samples = len(self.arrays[0])
        order = rng.permutation(samples)
        for start in range(0, samples, self.size):
            some = order[start : start + self.size]
            # What is handed in has been looked through for NaN as a whole.
            yield tuple(
                inputs.floats(array[some], dtype=self.dtype, finite=False) for array in self.arrays
            )


class ReadyMade:
    """Batches as somebody else makes them, in their order and of their sizes, (batch, …).

    `steps` is how many there are in an epoch, None if nobody knows.

    Raises `ValueError` for an iterator that is to be iterated in several `epochs`.

    Chapter 5.
    """

    def __init__(self, batches: Iterable[Any], epochs: int, dtype: np.dtype):
        if epochs > 1 and iter(batches) is batches:
            raise ValueError(
                f"A {type(batches).__name__} is used up after one of {epochs} epochs; give a list "
                "of batches, or an object whose __iter__ starts again, or train for one epoch."
            )
        self.source = batches
        self.arrays = None  # they are not known before they come
        self.dtype = dtype
        try:
            self.steps = len(batches) or None  # type: ignore[arg-type]
        except TypeError:  # nobody knows
            self.steps = None

    def batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """In the order in which they come; `rng` is not asked.

        Raises `ValueError` if none comes, and what `arrays` raises for one.
        """
        n = -1
        for n, item in enumerate(self.source):
            try:
                parts = arrays(item)
            except (TypeError, ValueError) as error:
                raise type(error)(f"Batch {n} of the epoch: {error}") from None
            yield tuple(inputs.floats(part, dtype=self.dtype, finite=False) for part in parts)
        if n < 0:
            raise ValueError(
                "No batch came in this epoch: there is none, or they are used up; give a list of "
                "batches, or an object whose __iter__ starts again."
            )


Source = FromArrays | ReadyMade


def source(data: Any, size: int | None, epochs: int, dtype: np.dtype) -> Source:
    """The batches of `data`, arrays (samples, …) or batches; `size` is that of an array's.

    Raises `ValueError` for a size where batches are ready-made, and what `arrays` raises.

    Chapter 5.
    """
    if not are_ready_made(data):
        return FromArrays(arrays(data), whole(64 if size is None else size, "batch_size"), dtype)
    if size is not None:
        raise ValueError("Batches that come ready-made have their sizes; leave batch_size out.")
    return ReadyMade(data, epochs, dtype)


def are_ready_made(data: Any) -> bool:
    """Whether `data` is an iterable of batches, and not an array (samples, …), or several.

    A list is one if its first item has rows of its own.

    Chapter 5.
    """
    if isinstance(data, list):
        return _are_arrays(data)
    array_like = any(hasattr(data, name) for name in ("__array__", "toarray"))
    known = isinstance(data, (tuple, str, bytes, Mapping, set))
    return isinstance(data, Iterable) and not array_like and not known


def arrays(data: Any) -> Batch:
    """An array alone, or several in a tuple, as real and finite ones (samples, …) of equal length.

    Raises `ValueError` for lengths that differ, for no samples, and for labels in place of a
    target, and what `ksae_lab.nn.inputs.real` raises.

    Chapter 5.
    """
    several = isinstance(data, tuple) or (isinstance(data, list) and _are_arrays(data))
    parts = data if several else (data,)
    if not 1 <= len(parts) <= 2:
        raise ValueError(f"There are {len(parts)} arrays; give images, or images and targets.")
    found = tuple(
        cast(np.ndarray, part) if isinstance(part, inputs.LazyRows) else inputs.real(part, what)
        for part, what in zip(parts, ("images", "targets"), strict=False)
    )
    shapes = [array.shape for array in found]
    if () in shapes:
        raise TypeError(f"A {type(data).__name__} is no array of images; give (samples, d).")
    lengths = [shape[0] for shape in shapes]
    if min(lengths) == 0 or max(lengths) != min(lengths):
        raise ValueError(f"The arrays hold {lengths} samples; give equal numbers, at least one.")
    if any(len(shape) == 1 for shape in shapes[1:]):
        raise ValueError(
            f"The targets have shape {shapes[1]}, as labels have; a model learns to reconstruct "
            "images and takes none: leave them out, or give targets of shape (samples, d)."
        )
    return found


def _are_arrays(parts: list[Any]) -> bool:
    """Whether a list holds arrays (batch, d), and not the rows of one."""
    first = parts[0] if parts else ()
    if hasattr(first, "shape"):
        return len(first.shape) > 1
    if hasattr(first, "numpy"):
        return True
    of_first = first[0] if isinstance(first, (list, tuple)) and first else None
    return isinstance(of_first, (list, tuple)) or bool(getattr(of_first, "shape", ()))
