"""Models as files: what a card says of a model, and how the model is built from it again."""

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

import ksae_lab
from ksae_lab.experiments import archive
from ksae_lab.nn import inputs
from ksae_lab.nn.activations import ACTIVATIONS
from ksae_lab.nn.module import Module

_DTYPES = ("float16", "float32", "float64")


def save_model(model: Module, path: str | Path, **facts: object) -> None:
    """Write a model: its card to `path`, which ends in .json, and its arrays beside the card.

    Any model of this package may be saved. `facts` are what the card is to tell beyond it, such as
    data, config and metrics. Auxiliary losses belong to training and are not saved.

    Raises `ValueError`, with nothing written, for a model that `load_model` could not build again
    (of a class from elsewhere, or with such parts) or whose weights hold NaN, and what
    `archive.write` raises.

    Chapter 6.
    """
    description, arrays = _described(model), model.state
    arrays = {name: inputs.real(w, f"weights {name}") for name, w in arrays.items()}
    _built(description, arrays, "The model cannot be saved")
    archive.write(path, arrays, {"model": description, "facts": facts})


def load_model(path: str | Path) -> Any:
    """The model whose card is `path`; it computes what the saved one did, bit for bit.

    Cards of version 1 are read, too.

    Raises what `archive.read` raises, and `ValueError` for a card that describes no model.

    Chapter 6.
    """
    arrays, card = archive.read(path)
    description = card.get("model")
    if card["version"] == 1:
        description = _from_version_1(description)
    return _built(description, arrays, f"{path} describes no model")


def _described(module: Module) -> dict[str, Any]:
    """The class of a module, and its settings; modules among them are described in turn."""
    name = type(module).__name__
    if _class_called(name) is not type(module):
        raise ValueError(
            f"{name} is not a class of this package and cannot be saved; give one of its models, "
            "layers and selectors."
        )
    config = module.get_config()
    phi = getattr(module, "phi", None)
    if phi is not None and ACTIVATIONS.get(phi.name) is not phi:
        raise ValueError(
            f"The activation {phi.name!r} is a function of your own and cannot be saved; "
            f"choose from {', '.join(ACTIVATIONS)}."
        )
    return {"class": name} | {key: _encoded(value) for key, value in config.items()}


def _encoded(value: object) -> object:
    if isinstance(value, Module):
        return _described(value)
    return [_encoded(part) for part in value] if isinstance(value, list) else value


def _built(description: object, arrays: dict[str, np.ndarray], complaint: str) -> Module:
    """A model as described, with these arrays in it; `complaint` begins what is raised."""
    try:
        model = _made(description)
        needed = {name: f"{w.dtype} {w.shape}" for name, w in model.state.items()}
        given = {name: f"{w.dtype} {w.shape}" for name, w in arrays.items()}
        for name in sorted(needed.keys() | given.keys()):
            if given.get(name) != needed.get(name):
                raise ValueError(
                    f"its {name} is {given.get(name, 'missing')}, "
                    f"expected {needed.get(name, 'no such array')}."
                )
    except (AttributeError, MemoryError, TypeError, ValueError) as error:
        raise ValueError(f"{complaint}: {error}") from None
    for name, w in model.state.items():
        w[...] = arrays[name]
    return model


def _made(description: object) -> Module:
    """A new module as described, still with arrays of its own."""
    name = description.get("class") if isinstance(description, dict) else None
    kind = _class_called(name) if isinstance(name, str) else None
    if not isinstance(description, dict) or kind is None:
        raise ValueError(f"its class is {name!r}, which is no model of this package.")
    config = {key: _decoded(value) for key, value in description.items() if key != "class"}
    if config.get("dtype", "float32") not in _DTYPES:
        raise ValueError(f"its dtype is {config['dtype']!r}, expected one of {_DTYPES}.")
    module = kind.from_config(config)
    # What a module says of itself has the right names and types; what a card says must be that.
    again = _described(module)
    if again.keys() != description.keys():
        raise ValueError(f"{name} has the fields {', '.join(again)}, not {', '.join(description)}.")
    for key, value in description.items():
        if type(value) is not type(again[key]) or value != again[key]:
            raise ValueError(f"{key} of {name} is {value!r}, where {again[key]!r} would do.")
    return module


def _class_called(name: str) -> type[Module] | None:
    """The module of this package with that name, and nothing else: a card runs no code.

    Models are on the face, which imports them; their parts have been imported with them.
    """
    kind = getattr(ksae_lab, name, None)
    if isinstance(kind, type) and issubclass(kind, Module):
        return kind
    parts = [part for part in _below(Module) if part.__module__.startswith("ksae_lab.")]
    return next((part for part in parts if part.__name__ == name), None)


def _below(kind: type) -> list[type]:
    """All classes that inherit from this one."""
    direct: list[type] = kind.__subclasses__()
    return [*direct, *chain.from_iterable(map(_below, direct))]


def _decoded(value: object) -> object:
    if isinstance(value, dict):
        return _made(value)
    return [_decoded(part) for part in value] if isinstance(value, list) else value


def _from_version_1(description: object) -> object:
    """What an old card says, as a new one would: k and by stood where the selector stands."""
    if not isinstance(description, dict):
        return description
    new = dict(description)
    if {"k", "by"} <= new.keys():
        new["k"] = {"class": "TopK", "k": new["k"], "by": new.pop("by")}
    if isinstance(new.get("layers"), list):
        new["layers"] = [_from_version_1(layer) for layer in new["layers"]]
    if new.get("class") == "SparseDream":
        new.pop("init", None)
    return new
