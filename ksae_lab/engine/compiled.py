"""How the engine's loops are compiled: once, as vectors, and without Python's lock."""

from typing import Any

from numba import njit


def _nothing() -> None:
    """What nobody calls."""


def _can_be_kept() -> bool:
    """Whether there is a folder for what is compiled: beside the package, or in somebody's home."""
    try:
        njit(cache=True)(_nothing)
    except RuntimeError:  # else every process compiles for itself
        return False
    return True


# Division by zero gives what NumPy gives: to look for it would keep a loop from being vectors.
EXACT: dict[str, Any] = {"cache": _can_be_kept(), "nogil": True, "error_model": "numpy"}
# Sums may be taken in another order than they are written in; NaN and infinity are still seen.
LOOSE: dict[str, Any] = EXACT | {"fastmath": {"reassoc", "contract", "nsz", "arcp"}}
