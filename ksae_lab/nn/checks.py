"""Settings that cannot work, refused where they are given, each in one sentence.

Every function returns its value as it came, so that it can be checked where it is stored.
"""

import numbers
import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np

Rng = np.random.Generator | int | None  # what `generator` takes


def whole(value: Any, name: str, least: int = 1, most: int | None = None) -> int:
    """An integer from `least` to `most`, all of them scalars.

    Raises `TypeError` for what is no integer, and `ValueError` outside.

    Chapter 2.
    """
    wanted = f"from {least} to {most}" if most is not None else f"of {least} or more"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is {reprlib.repr(value)}, not an integer; give one {wanted}.")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{name} is {value}; give an integer {wanted}.")
    return int(value)


def positive(value: Any, name: str) -> Any:
    """A finite number above 0.

    Raises `TypeError` for what is no number, and `ValueError` for any other number.

    Chapter 5.
    """
    return _number(value, name, "a finite number above 0", lambda v: 0 < v < np.inf)


def not_negative(value: Any, name: str) -> Any:
    """A finite number of 0 or more, such as a weight.

    Raises what `positive` raises.

    Chapter 5.
    """
    return _number(value, name, "a finite number of 0 or more", lambda v: 0 <= v < np.inf)


def finite(value: Any, name: str) -> Any:
    """Any finite number.

    Raises what `positive` raises.

    Chapter 5.
    """
    return _number(value, name, "a finite number", np.isfinite)


def share(value: Any, name: str) -> Any:
    """A number from 0 to 1, such as a share of training.

    Raises what `positive` raises.

    Chapter 5.
    """
    return _number(value, name, "a number from 0 to 1", lambda v: 0 <= v <= 1)


def decay(value: Any, name: str) -> Any:
    """A number from 0 to below 1, such as a momentum: what a memory keeps of itself in a step.

    Raises what `positive` raises.

    Chapter 5.
    """
    return _number(value, name, "a number from 0 to below 1", lambda v: 0 <= v < 1)


def flag(value: Any, name: str) -> bool:
    """True or False: a string would be true, whatever it says.

    Raises `TypeError` for anything else.

    Chapter 5.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {reprlib.repr(value)}; give True or False.")
    return bool(value)


def floating(dtype: Any) -> str:
    """The name of a dtype of weights: float16, float32 or float64.

    Raises `ValueError` for another one: integers would round every weight to zero.

    Chapter 3.
    """
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = reprlib.repr(dtype)
    if dtype is None or name not in ("float16", "float32", "float64"):
        raise ValueError(f"dtype is {name}; choose float16, float32 or float64.")
    return name


def generator(rng: Any) -> np.random.Generator:
    """What `numpy.random.default_rng` makes of a seed, of a generator, or of None: a new one.

    Raises `TypeError` for what no generator can be made of.

    Chapter 5.
    """
    try:
        if isinstance(rng, bool):
            raise TypeError
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise TypeError(
            f"rng is {reprlib.repr(rng)}; give a seed, an integer of 0 or more, a "
            "numpy.random.Generator, or None for other numbers each time."
        ) from None


def several(values: Any, kind: type, name: str) -> list[Any]:
    """A list of instances of `kind`, for one of them or a sequence.

    Raises `TypeError` for anything else.

    Chapter 8.
    """
    found = list(values) if isinstance(values, Sequence) else [values]
    for value in found:
        if not isinstance(value, kind):
            raise TypeError(
                f"Among the {name} is {reprlib.repr(value)}; give one {kind.__name__} or several."
            )
    return found


def _number(value: Any, name: str, wanted: str, fits: Any) -> Any:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {reprlib.repr(value)}, not a number; give {wanted}.")
    if not fits(value):
        raise ValueError(f"{name} is {value}; give {wanted}.")
    return value
