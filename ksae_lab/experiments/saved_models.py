"""Models as files: what a card says of a model, and how the model is built from it again."""

from pathlib import Path

import numpy as np

from ksae_lab.experiments import archive
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.network import Network
from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.nn.activations import ACTIVATIONS
from ksae_lab.nn.layers import Dense, KSparse

# What the card says of each class: the arguments that build it again, and where they stand in it.
_LAYER = {
    "n_in": (int, lambda layer: layer.W.shape[0]),
    "n_out": (int, lambda layer: layer.W.shape[1]),
    "activation": (str, lambda layer: layer.phi.name),
    "dtype": (str, lambda layer: layer.W.dtype.name),
}
_CHOICE = {"k": (int, lambda part: np.asarray(part.k).item()), "by": (str, lambda part: part.by)}
_AUTOENCODER = {
    "n_pixels": (int, lambda model: model.W_dec.shape[1]),
    "n_units": (int, lambda model: model.W_dec.shape[0]),
    "activation": (str, lambda model: model.phi.name),
    "tied": (bool, lambda model: model.tied),
    "unit_norm": (bool, lambda model: model.unit_norm),
    "dtype": (str, lambda model: model.W_dec.dtype.name),
}
_DREAM = {
    "n_pixels": (int, lambda model: model.W.shape[1]),
    "n_units": (int, lambda model: model.W.shape[0]),
    "penalty": (str, lambda model: model.penalty.name),
    "sparsity": (float, lambda model: float(model.sparsity)),
    "norm_weight": (float, lambda model: float(model.norm_weight)),
    "init": (str, lambda model: "as_found"),  # overwritten, and it asks for no images
    "dtype": (str, lambda model: model.W.dtype.name),
}
_CLASSES = {
    Dense: _LAYER,
    KSparse: _LAYER | _CHOICE,
    Network: {"layers": (list, lambda network: [_described(layer) for layer in network.layers])},
    KSparseAutoencoder: _AUTOENCODER | _CHOICE,
    SparseDream: _DREAM,
}
_DTYPES = ("float16", "float32", "float64")


def save(model: Network | KSparseAutoencoder | SparseDream, path: str | Path, **facts) -> None:
    """Write a model: its card to `path`, which ends in .json, and its weights beside the card.

    `facts` are what the card is to tell beyond the model, such as data, config and metrics.
    `auxiliary_losses` belong to training and are not saved.

    Raises `ValueError`, with nothing written, for a model that `load` could not build again (with a
    `select`, or with parts of a class from elsewhere), and what `cards.write` raises.

    Chapter 6.
    """
    description, arrays = _described(model), model.parameters
    _built(description, arrays, "The model cannot be saved")
    archive.write(path, arrays, {"model": description, "facts": facts})


def load(path: str | Path) -> Network | KSparseAutoencoder | SparseDream:
    """The model whose card is `path`; it computes what the saved one did, bit for bit.

    Raises what `cards.read` raises, and `ValueError` for a card that describes no model.

    Chapter 6.
    """
    arrays, card = archive.read(path)
    return _built(card.get("model"), arrays, f"{path} describes no model")


def _described(part: object) -> dict:
    """The class of a model or a layer, and the arguments that make another of its kind."""
    name = type(part).__name__
    if type(part) not in _CLASSES:
        raise ValueError(
            f"{name} is no class that can be saved; give a KSparseAutoencoder, "
            "a SparseDream, or a Network of Dense and KSparse layers."
        )
    if getattr(part, "select", None) is not None:
        raise ValueError(
            "`select` is a function of your own and cannot be saved; "
            "set it to None, save, and set it again after loading."
        )
    phi = getattr(part, "phi", None)
    if phi is not None and ACTIVATIONS.get(phi.name) is not phi:
        raise ValueError(
            f"The activation {phi.name!r} is a function of your own and cannot be saved; "
            f"choose from {', '.join(ACTIVATIONS)}."
        )
    return {"class": name} | {key: of(part) for key, (_, of) in _CLASSES[type(part)].items()}


def _built(description: object, arrays: dict[str, np.ndarray], complaint: str):
    """A model as described, with these arrays in it; `complaint` begins what is raised."""
    try:
        model = _made(description)
        needed = {name: f"{w.dtype} {w.shape}" for name, w in model.parameters.items()}
        given = {name: f"{w.dtype} {w.shape}" for name, w in arrays.items()}
        for name in sorted(needed.keys() | given.keys()):
            if given.get(name) != needed.get(name):
                raise ValueError(
                    f"its {name} is {given.get(name, 'missing')}, "
                    f"expected {needed.get(name, 'no such array')}."
                )
    except (AttributeError, MemoryError, TypeError, ValueError) as error:
        raise ValueError(f"{complaint}: {error}") from None
    for name, w in model.parameters.items():
        w[...] = arrays[name]
    return model


def _made(description: object):
    """A new model or layer as described, still with weights of its own."""
    names = {kind.__name__: kind for kind in _CLASSES}
    name = description.get("class") if isinstance(description, dict) else None
    if name not in names:
        raise ValueError(f"its class is {name!r}, expected one of {', '.join(names)}.")
    types = {key: kind for key, (kind, _) in _CLASSES[names[name]].items()}
    archive.expect_fields(description, {"class": str} | types, name)
    arguments = {key: description[key] for key in types}
    if name == "Network":
        return Network(map(_made, arguments["layers"]))
    if arguments["dtype"] not in _DTYPES:
        raise ValueError(f"its dtype is {arguments['dtype']!r}, expected one of {_DTYPES}.")
    return names[name](**arguments, rng=np.random.default_rng(0))
