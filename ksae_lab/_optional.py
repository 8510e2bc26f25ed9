"""Packages that only some need."""

from importlib import import_module
from typing import Any

EXTRAS = {
    "PIL": ("Pillow", "images"),
    "skimage": ("scikit-image", "images"),
    "matplotlib": ("matplotlib", "book"),
    "mlxtend": ("mlxtend", "book"),
    "keras": ("Keras", "keras"),
    "numba": ("numba", "fast"),
    "onnx": ("onnx", "onnx"),
    "pandas": ("pandas", "tables"),
    "pyarrow": ("pyarrow", "parquet"),
}


def optional(module: str, what: object, instead: str = "") -> Any:
    """The module, imported; `what` says who needs it, and `instead` what would do without.

    Raises `ImportError` that names the extra to install.

    Chapter 1.
    """
    package, extra = EXTRAS[module.partition(".")[0]]
    try:
        return import_module(module)
    except ImportError:
        otherwise = f", or {instead}" if instead else ""
        raise ImportError(
            f"{what} needs {package}; install ksae-lab[{extra}]{otherwise}."
        ) from None
