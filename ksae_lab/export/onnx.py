"""Models as ONNX graphs, which run where there is no Python.

A graph takes `x` (batch, d) in float32, computes in float32, and gives `code` (batch, n) and
`reconstruction` (batch, d). It selects as NumPy does, ties to the lowest index; where two units are
a rounding apart, the other one may be selected.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ksae_lab.experiments import archive
from ksae_lab.export.onnx_graph import Graph
from ksae_lab.export.parts import known_activation, known_selector
from ksae_lab.export.places import free_place
from ksae_lab.models.k_sparse import KSparseAutoencoder
from ksae_lab.models.network import Network
from ksae_lab.models.sparse_dream import SparseDream
from ksae_lab.models.two_step import LINEAR, TwoStepEncoder
from ksae_lab.nn import activations
from ksae_lab.nn.activations import Activation
from ksae_lab.nn.layers import Dense, KSparse
from ksae_lab.nn.module import Model
from ksae_lab.nn.selectors import BatchTopK, JumpReLU, PrefixTopK, Selector, TopK

LARGEST = 2**31 - 2**20  # bytes of arrays; a file of ONNX holds two gigabytes


def write(model: Model, path: str | Path) -> None:
    """Write a trained model as a graph to `path`, which ends in .onnx: whole, or not at all.

    `KSparseAutoencoder` with any selector, `TwoStepEncoder`, `Network` and `SparseDream` can be
    exported, as they are once training is over. Arrays become float32. A NaN in x, which NumPy
    refuses, goes through the graph; and do not give it a batch of no images, at which the TopK of
    onnxruntime crashes before version 1.31. An earlier file of this function's is overwritten.

    Raises `ImportError` where the package onnx, `ksae-lab[onnx]`, is missing; `ValueError` for
    another model, for parts that are not of this package and for a path that is taken, with nothing
    written; `OSError` if the disk refuses.

    Source: Bai et al. (2019), ONNX.
    Chapter 16.
    """
    graph = Graph()
    path = free_place(path, graph.is_ours, ".onnx")
    build = GRAPHS.get(type(model))
    if build is None:
        raise ValueError(
            f"There is no graph for a {type(model).__name__}; "
            f"give one of {', '.join(kind.__name__ for kind in GRAPHS)}."
        )
    size = 4 * sum(w.size for w in model.state.values())
    if size > LARGEST:
        raise ValueError(f"The model has {size} bytes, and a file of ONNX holds {LARGEST} of them.")
    outputs = build(graph, model, "x")
    archive.put(path, graph.finished(outputs, model))


# Each function takes a name (batch, n) in the graph, and returns that of what becomes of it.


def _gelu(graph: Graph, h: str) -> str:
    erf = graph("Erf", graph("Mul", h, np.sqrt(0.5)))
    return graph("Mul", h, graph("Mul", graph("Add", erf, np.ones(())), np.full((), 0.5)))


ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "linear": lambda graph, h: h,
    "sigmoid": lambda graph, h: graph("Sigmoid", h),
    "relu": lambda graph, h: graph("Relu", h),
    "leaky_relu": lambda graph, h: graph("LeakyRelu", h, alpha=activations.LEAK),
    "tanh": lambda graph, h: graph("Tanh", h),
    "elu": lambda graph, h: graph("Elu", h),
    "swish": lambda graph, h: graph("Mul", h, graph("Sigmoid", h)),
    "gelu": _gelu,
}


def _activated(graph: Graph, h: str, phi: Activation) -> str:
    return ACTIVATIONS[known_activation(phi)](graph, h)


def _selected(graph: Graph, h: str, selector: Selector, phi: Activation) -> str:
    """φ(h) where a unit is active, else 0."""
    return graph("Where", _mask(graph, h, selector), _activated(graph, h, phi), np.zeros(()))


def _mask(graph: Graph, h: str, selector: Selector) -> str:
    known_selector(selector)
    scores = graph("Abs", h) if getattr(selector, "by", "value") == "magnitude" else h
    if isinstance(selector, JumpReLU):
        return graph("Greater", h, selector.thresholds)
    if isinstance(selector, BatchTopK):
        reached = graph("GreaterOrEqual", scores, selector.threshold)
        return graph("And", reached, graph("Greater", scores, np.zeros(())))
    k = selector.k  # also of a Relaxation, which is a TopK once training is over
    if isinstance(selector, PrefixTopK):
        k = min(k, selector.prefix)
        scores = graph("Slice", scores, np.array([0]), np.array([selector.prefix]), np.array([1]))
    # Of equal values the one with the lower index comes first, as the standard asks.
    indices = graph("TopK", scores, np.array([k]), outputs=2)
    nobody = graph("ConstantOfShape", graph("Shape", h), value=graph.tensor([False]))
    chosen = graph("ConstantOfShape", graph("Shape", indices), value=graph.tensor([True]))
    return graph("ScatterElements", nobody, indices, chosen, axis=1)


# Each of these takes a model and the name of x, and returns the names of code and reconstruction.


def _k_sparse(graph: Graph, model: KSparseAutoencoder, x: str) -> tuple[str, str]:
    W_dec = graph.constant(model.W_dec)
    W_enc = W_dec if model.tied else graph.constant(model.W_enc)
    centred = graph("Sub", x, model.b_dec)
    h = graph("Gemm", centred, W_enc, model.b_enc, transB=int(model.tied))
    z = _selected(graph, h, model.selector, model.phi)
    return z, graph("Gemm", z, W_dec, model.b_dec)


def _two_steps(graph: Graph, model: TwoStepEncoder, x: str) -> tuple[str, str]:
    centred = graph("Sub", x, model.b_dec)
    z = _selected(graph, graph("Gemm", centred, model.W1, model.b1), model.selector, model.phi)
    h = graph("Add", graph("Gemm", centred, model.W2, model.b2), graph("MatMul", z, model.S))
    z = _selected(graph, h, TopK(model.k, by="magnitude"), LINEAR)
    return z, graph("Gemm", z, model.D, model.b_dec)


def _network(graph: Graph, model: Network, x: str) -> tuple[str, str]:
    outputs = []
    for layer in model.layers:
        h = graph("Gemm", x, layer.W, layer.b)
        if isinstance(layer, KSparse) and type(layer) is KSparse:
            x = _selected(graph, h, layer.selector, layer.phi)
        elif type(layer) is Dense:
            x = _activated(graph, h, layer.phi)
        else:
            name = type(layer).__name__
            raise ValueError(f"{name} is a layer of your own and cannot be exported.")
        outputs.append(x)
    return outputs[model.code_layer], x


def _dream(graph: Graph, model: SparseDream, x: str) -> tuple[str, str]:
    W = graph.constant(model.W)
    h = graph("Relu", graph("Gemm", x, W, transB=1))
    a = graph("Relu", graph("Gemm", h, model.S, model.b, transB=1))
    return a, graph("MatMul", a, W)


GRAPHS: dict[type[Model], Callable[[Graph, Any, str], tuple[str, str]]] = {
    KSparseAutoencoder: _k_sparse,
    TwoStepEncoder: _two_steps,
    Network: _network,
    SparseDream: _dream,
}
