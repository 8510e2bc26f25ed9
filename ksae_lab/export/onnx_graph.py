"""A graph of ONNX, made node by node."""

from pathlib import Path
from typing import Any

import numpy as np

import ksae_lab
from ksae_lab._optional import optional

PRODUCER = "ksae_lab"
OPSET, IR = 17, 8  # of 2022, so that runtimes of other years read it


class Graph:
    """Nodes, in the order in which they are computed, and the arrays that they need, of any shape.

    Called with a kind of node and its inputs, names or arrays, a graph adds that node and returns
    the name of its last output.

    Raises `ImportError` where the package onnx is missing.

    Source: Bai et al. (2019), ONNX.
    Chapter 16.
    """

    def __init__(self) -> None:
        self.onnx = optional("onnx", "ONNX")
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []

    def __call__(self, kind: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> str:
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        made = [f"{kind}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(kind, names, made, **attributes))
        return made[-1]

    def constant(self, value: Any) -> str:
        """The name of an array, which may then be the input of several nodes."""
        name = f"constant_{len(self.arrays)}"
        self.arrays.append(self.tensor(value, name))
        return name

    def tensor(self, value: Any, name: str = "") -> Any:
        """An array as ONNX holds it, in float32 if it holds floats."""
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
        return self.onnx.numpy_helper.from_array(np.array(array, order="C"), name)

    def finished(self, outputs: tuple[str, str], model: Any) -> bytes:
        """The file, with these two as its outputs."""
        helper = self.onnx.helper
        first, last = model.stages[0].size, model.stages[-1].size
        n = model.encode(np.zeros((1, first), np.float32)).shape[1]
        sizes = {"x": first, "code": n, "reconstruction": last}
        x, *results = (
            helper.make_tensor_value_info(name, self.onnx.TensorProto.FLOAT, ["batch", size])
            for name, size in sizes.items()
        )
        for name, made in zip(("code", "reconstruction"), outputs, strict=True):
            self.nodes.append(helper.make_node("Identity", [made], [name]))
        graph = helper.make_graph(self.nodes, PRODUCER, [x], results, self.arrays)
        proto = helper.make_model(
            graph,
            producer_name=PRODUCER,
            producer_version=ksae_lab.__version__,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR,
        )
        self.onnx.checker.check_model(proto, full_check=True)
        content: bytes = proto.SerializeToString()
        return content

    def is_ours(self, path: Path) -> bool:
        """Whether a file holds a graph that this package made."""
        try:
            proto = self.onnx.load(path, load_external_data=False)
        except Exception:  # whatever protobuf's decoders raise
            return False
        return bool(proto.producer_name == PRODUCER)
