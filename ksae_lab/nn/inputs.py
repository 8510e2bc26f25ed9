"""What is handed in as numbers: the one place that makes arrays of it, or says what is wrong.

Any real numbers will do, as for scikit-learn: arrays, lists, data frames, tensors. Arrays of
float32 and float64 stay what they are, to the last bit. All other kinds become floats before
anything is computed: in uint8, 0 − 200 is 56, and in float16 a sum ends at 65,504.
NaN, infinity and masked numbers are refused where images enter; in training NaN may also come of
the steps, and then the loss shows it.
"""

import numbers
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import numpy as np

Elementwise = Callable[[np.ndarray], np.ndarray]

KEPT = "fd"  # what NumPy calls float32 and float64
BLOCK = 2**22  # numbers of a block: 16 MB of float32


class LazyRows(ABC):
    """Rows of numbers (samples, d) that are made as they are asked for, and never all at once.

    They have been looked through for NaN by whoever made them.

    Chapter 1.
    """

    shape: tuple[int, int]
    ndim = 2

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, index: Any) -> np.ndarray:
        """An array (rows, d) for a slice or an array of integers."""

    @property
    def at_a_time(self) -> int:
        """How many rows make a block, a scalar: as many as a few megabytes hold, or one."""
        return max(1, BLOCK // max(1, self.shape[1]))

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows in order, as arrays (at most `at_a_time`, d)."""
        for start in range(0, len(self), self.at_a_time):
            yield self[start : start + self.at_a_time]

    def mean(self, axis: int = 0) -> np.ndarray:
        """The mean row (d,), summed in float64."""
        if axis != 0:
            raise ValueError(f"The axis is {axis}; the mean is that of the rows, axis 0.")
        total = sum((block.sum(axis=0, dtype=float) for block in self.blocks()), np.float64(0))
        return np.asarray(total / len(self))

    def some(self, rng: np.random.Generator, least: int = 1) -> np.ndarray:
        """An array (rows, d) of some of them, each at most once: a block, or `least` if more."""
        count = min(len(self), max(least, self.at_a_time))
        return self[rng.choice(len(self), count, replace=False)]


def at_a_time(x: Any, most: int) -> int:
    """How many rows of x (samples, d) to take at a time: `most`, or fewer of wide lazy ones.

    Chapter 1.
    """
    return min(most, x.at_a_time) if isinstance(x, LazyRows) else most


def real(x: Any, what: str = "numbers", *, finite: bool = True) -> np.ndarray:
    """`x` as an array of real numbers, of its own shape and dtype; `what` they are, in a plural.

    Raises `TypeError` for what holds no real numbers and for sparse matrices, and `ValueError` for
    masked numbers and, if `finite`, for NaN and infinity; it names the first row that has some.

    Chapter 1.
    """
    if type(x) is not np.ndarray:
        x = _array(x, what)
    if x.dtype.kind == "O":
        x = _numbers(x, what)
    if x.dtype.kind not in "biuf":
        raise TypeError(f"The {what} hold {x.dtype}; give real numbers.")
    if finite and x.dtype.kind == "f":
        _check_finite(x, what)
    return x


def floats(
    x: Any,
    what: str = "numbers",
    *,
    dtype: np.dtype | type | str = np.float64,
    finite: bool = True,
) -> np.ndarray:
    """The same as floats, of the shape of `x`: float32 and float64 as they are, others as `dtype`.

    `dtype` is that of what they meet, a model's weights, say; if it is float16, float32 is taken.

    Raises what `real` raises.

    Chapter 1.
    """
    x = real(x, what, finite=finite)
    if x.dtype.char in KEPT:
        return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))
    return x.astype(np.result_type(dtype, np.float32))


def rows(
    x: Any,
    width: int,
    what: str = "images",
    *,
    dtype: np.dtype | type | str = np.float64,
    finite: bool = True,
    least: int = 0,
    lazy: bool = False,
) -> np.ndarray:
    """`floats` of shape (batch, width), of which there are `least` or more.

    If `lazy`, `LazyRows` stay where they are: for whoever needs few of them, or their mean.

    Raises `ValueError` for another shape, and what `real` raises.

    Chapter 1.
    """
    if not (lazy and isinstance(x, LazyRows)):
        x = floats(x, what, dtype=dtype, finite=finite)
    if x.ndim != 2 or x.shape[1] != width:
        raise ValueError(f"The {what} have shape {x.shape}; expected (batch, {width}).")
    if len(x) < least:
        raise ValueError(f"There are {len(x)} {what}; give {least} or more.")
    return x


def matrix(x: Any, what: str, *, least: int = 1) -> np.ndarray:
    """`real` numbers of shape (batch, n), of any dtype, with `least` rows or more.

    Raises `ValueError` for another shape, and what `real` raises.

    Chapter 2.
    """
    x = real(x, what)
    if x.ndim != 2 or len(x) < least:
        raise ValueError(f"The {what} have shape {x.shape}; expected (batch, n), {least} or more.")
    return x


def with_target(x: Any, target: Any, width: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """x (batch, width) and what it is to become, a target, or x itself for None.

    The target's shape is left to whoever compares it with an output, and NaN to the forward pass,
    which looks at x in any case.

    Raises what `rows` raises for the rest.

    Chapter 3.
    """
    x = rows(x, width, dtype=dtype, finite=False)
    return x, x if target is None else floats(target, "targets", dtype=dtype, finite=False)


def pair(
    a: Any, b: Any, of_a: str, of_b: str, *, finite: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of `floats` that are compared number by number, and so have one shape.

    Raises `ValueError` if the shapes differ, for broadcasting would compare the wrong numbers, and
    what `real` raises.

    Chapter 1.
    """
    a, b = floats(a, of_a, finite=finite), floats(b, of_b, finite=finite)
    if a.shape != b.shape:
        raise ValueError(
            f"The {of_a} have shape {a.shape}, the {of_b} {b.shape}; expected the same."
        )
    return a, b


def of_floats(function: Elementwise) -> Elementwise:
    """`function`, an elementwise one of an array of any shape, for whatever `floats` takes.

    Chapter 3.
    """

    @wraps(function)
    def on_floats(h: np.ndarray) -> np.ndarray:
        return function(floats(h, finite=False))

    return on_floats


def _array(x: Any, what: str) -> np.ndarray:
    if isinstance(x, np.ma.MaskedArray):
        if missing := int(np.ma.getmaskarray(x).sum()):
            raise ValueError(f"{missing} of the {what} are masked; fill them first, x.filled(0).")
        return np.asarray(x.data)
    if hasattr(x, "toarray"):
        raise TypeError(f"The {what} are a sparse matrix; give a dense array, x.toarray().")
    if hasattr(x, "numpy") and not hasattr(x, "__array__"):
        x = x.numpy()
    try:
        return np.asarray(x)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of several lengths, for one
        raise ValueError(f"No array can be made of the {what}: {error}") from None


def _numbers(x: np.ndarray, what: str) -> np.ndarray:
    """An array of Python objects, if all of them are real numbers, as float64."""
    for value in x.flat:
        if not isinstance(value, (numbers.Real, np.bool_)):
            raise TypeError(f"Among the {what} is {reprlib.repr(value)}; give real numbers.")
    try:
        return x.astype(np.float64)
    except OverflowError:
        raise ValueError(f"The {what} hold integers too large for a float.") from None


def _check_finite(x: np.ndarray, what: str) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(x.sum()):  # one pass, and no mask: a sum forgets no NaN
            return
    finite = np.isfinite(x)
    if not finite.all():
        first = np.argwhere(~finite)[0]
        where = f", first in row {first[0]}" if x.ndim else ""
        raise ValueError(
            f"The {what} hold NaN or infinity{where}; mend such rows or leave them out."
        )
