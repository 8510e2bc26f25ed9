"""The files in a folder of SAELens: what stands in them, once it is sure that it can be used."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from ksae_lab.data.paths import content
from ksae_lab.nn.module import Arrays

CFG, WEIGHTS, SPARSITY = "cfg.json", "sae_weights.safetensors", "sparsity.safetensors"
OURS = "ksae_lab_version"  # what in the metadata tells our folders from those of others
DTYPES = ("float16", "float32", "float64")
ARCHITECTURES = ("topk", "abstopk", "jumprelu")
# What SAELens takes where `cfg.json` is silent.
DEFAULTS: dict[str, Any] = {
    "k": 100,
    "dtype": "float32",
    "apply_b_dec_to_input": True,
    "normalize_activations": "none",
    "rescale_acts_by_decoder_norm": False,
}
TYPES = {
    "d_in": int,
    "d_sae": int,
    "k": int,
    "dtype": str,
    "apply_b_dec_to_input": bool,
    "rescale_acts_by_decoder_norm": bool,
}


def is_ours(folder: Path) -> bool:
    """Whether nothing is in a folder, or what was exported there by this package.

    Chapter 16.
    """
    try:
        names = {file.name for file in folder.iterdir()}
        if not names <= {CFG, WEIGHTS, SPARSITY}:
            return False
        return not names or OURS in json.loads(content(folder / CFG))["metadata"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def settings(path: Path) -> dict[str, Any]:
    """What a `cfg.json` says of a model that this package has, too.

    Raises `FileNotFoundError` if there is none, and `ValueError` if it is damaged or describes
    another function.

    Chapter 16.
    """
    raw = _bytes(path)
    try:
        cfg = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is damaged or no JSON; copy or write it again.") from None
    if not isinstance(cfg, dict):
        raise ValueError(f"{path} is a {type(cfg).__name__}; expected the settings of a model.")
    cfg = DEFAULTS | cfg
    if cfg.get("architecture") not in ARCHITECTURES:
        raise ValueError(
            f"The architecture in {path} is {cfg.get('architecture')!r}, and of those of SAELens "
            f"there are {', '.join(ARCHITECTURES)} here; a BatchTopK is one of them once "
            "save_inference_model has written it, and older folders once SAELens 6 has."
        )
    if cfg["normalize_activations"] not in ("none", None, False):
        raise ValueError(
            f"{path} asks to normalise each input ({cfg['normalize_activations']!r}), which no "
            "model here does; fold a constant factor into the weights with SAELens "
            "(fold_activation_norm_scaling_factor), other kinds cannot be read."
        )
    for key, kind in TYPES.items():
        if type(cfg.get(key)) is not kind:
            raise ValueError(f"{key} in {path} is {cfg.get(key)!r}; expected {kind.__name__}.")
    cfg["dtype"] = cfg["dtype"].removeprefix("torch.")
    if cfg["dtype"] not in DTYPES:
        raise ValueError(
            f"The dtype in {path} is {cfg['dtype']!r}; expected one of {', '.join(DTYPES)}. "
            'Load it in SAELens with dtype="float32" and save it again.'
        )
    return cfg


def pack(arrays: Arrays) -> bytes:
    """Arrays of any shapes, by name, as a safetensors file.

    Chapter 16.
    """
    # In C order: safetensors takes the memory as it lies, whatever the strides.
    return safetensors.numpy.save({name: np.array(w, order="C") for name, w in arrays.items()})


def unpack(path: Path, shapes: dict[str, tuple[int, ...]]) -> Arrays:
    """The arrays of these names and shapes, and no others, from a safetensors file, in float64.

    Raises `FileNotFoundError` if there is none, and `ValueError` if it holds anything else.

    Chapter 16.
    """
    content = _bytes(path)
    try:
        arrays = safetensors.numpy.load(content)
    except (safetensors.SafetensorError, KeyError) as error:
        # A KeyError names a type of numbers that NumPy does not have, such as BF16.
        raise ValueError(f"{path} holds no arrays that NumPy can read ({error}).") from None
    expected = {name: f"floats {shape}" for name, shape in shapes.items()}
    found = {
        name: f"{'floats' if w.dtype.kind == 'f' else w.dtype} {w.shape}"
        for name, w in arrays.items()
    }
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            raise ValueError(
                f"{name} in {path} is {found.get(name, 'missing')}; "
                f"expected {expected.get(name, 'no such array')}."
            )
    return {name: w.astype(np.float64) for name, w in arrays.items()}


def _bytes(path: Path) -> bytes:
    try:
        return content(path)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"There is no file {path}; give a folder of SAELens.") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}).") from None
