"""How the engine's loops are compiled: once, as vectors, and without Python's lock."""

from typing import Any

# Division by zero gives what NumPy gives: to look for it would keep a loop from being vectors.
EXACT: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
# Sums may be taken in another order than they are written in; NaN and infinity are still seen.
LOOSE: dict[str, Any] = EXACT | {"fastmath": {"reassoc", "contract", "nsz", "arcp"}}
