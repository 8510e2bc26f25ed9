"""From tensors to arrays that NumPy can compute with."""

from typing import Any

import numpy as np
from keras import ops


def numpy_dtype(kind: str) -> np.dtype[Any]:
    """The kind of float that holds every number of this kind and that NumPy has.

    NumPy knows no bfloat16. A float32 holds each of its numbers exactly.

    Chapter 6.
    """
    return np.dtype("float32" if kind == "bfloat16" else kind)


def as_numpy(tensor: Any) -> np.ndarray:
    """A copy of a tensor as an array of the same shape.

    Chapter 6.
    """
    array = ops.convert_to_numpy(tensor)
    return np.array(array, numpy_dtype(array.dtype.name))
