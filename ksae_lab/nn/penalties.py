"""Penalties on activity, which keep a code sparse."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ksae_lab.nn.inputs import Elementwise, of_floats


@dataclass(frozen=True)
class Penalty:
    """A penalty on each activity a ≥ 0, zero at a = 0, and its slope; called, it gives its value.

    Arrays of any shape go in, arrays of the same shape come out, as floats.

    Chapter 11.
    """

    name: str
    value: Elementwise
    derivative: Elementwise

    def __post_init__(self) -> None:
        for name in ("value", "derivative"):
            object.__setattr__(self, name, of_floats(getattr(self, name)))

    def __call__(self, a: np.ndarray) -> np.ndarray:
        """The penalty on each number of a, in an array of a's shape."""
        return self.value(a)

    def __reduce__(self) -> tuple[Any, ...]:
        # By its name: pickle cannot hold a lambda, and a copy of a function is that function.
        return get, (self.name,)


# The first unit of activity costs most, and beyond a = 2 more of it costs almost nothing: tanh
# counts the active units, nearly. L1 charges by the amount, log(1 + a²) hardly for small amounts.
TANH = Penalty("tanh", np.tanh, lambda a: 1 - np.tanh(a) ** 2)
L1 = Penalty("l1", np.abs, np.sign)
LOG = Penalty("log", lambda a: np.log1p(a**2), lambda a: 2 * a / (1 + a**2))

PENALTIES = {penalty.name: penalty for penalty in (TANH, L1, LOG)}


def get(name: str) -> Penalty:
    """The penalty of this name: "tanh", "l1", or "log" for log(1 + a²).

    It is called with an array of any shape.

    Raises `ValueError` for another name.

    Source: Olshausen & Field (1996) for the last two; Geisz (2020) for tanh.
    Chapter 11.
    """
    if name not in PENALTIES:
        raise ValueError(f"There is no penalty {name!r}; expected one of {', '.join(PENALTIES)}.")
    return PENALTIES[name]
