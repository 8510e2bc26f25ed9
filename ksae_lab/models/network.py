"""A network is a list of layers, run forwards to predict and backwards to learn."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np

from ksae_lab.models.base import Coder
from ksae_lab.nn import inputs
from ksae_lab.nn.checks import several
from ksae_lab.nn.layers import Backward, Dense, KSparse, Stage
from ksae_lab.nn.losses import mse, mse_gradient
from ksae_lab.nn.module import Arrays, ForwardPass, Passes


@dataclass(frozen=True)
class LayerPasses(ForwardPass):
    """A network's forward pass: what its code layer did, and every layer's h (batch, n_out).

    Chapter 3.
    """

    pre_activations: tuple[np.ndarray, ...]


class Network(Coder):
    """Layers in a row, trained on the mean squared error.

    `parameters` maps a name to the live array: "W0" and "b0" of the first layer, "W1", "b1", …
    Write into an array (`network.parameters["W0"][:] = …`) and the network has changed.
    Give data in the layers' dtype: NumPy computes float64 images with float32 weights in float64.
    Its code is the output of the first layer that selects, or of the first layer if none does.

    Raises `ValueError` if there is no layer, or if one's output does not fit the next one's input,
    and `TypeError` for what is no layer.

    Chapter 3.
    """

    def __init__(self, layers: Iterable[Dense]):
        self.layers: list[Dense] = several(tuple(layers), Dense, "layers")
        if not self.layers:
            raise ValueError("A network without layers computes nothing. Give at least one.")
        for i, (left, right) in enumerate(pairwise(self.layers)):
            if left.W.shape[1] != right.W.shape[0]:
                raise ValueError(
                    f"Layer {i} gives {left.W.shape[1]} numbers, but layer {i + 1} takes "
                    f"{right.W.shape[0]}. Make the two sizes equal."
                )

    @property
    def stages(self) -> list[Stage]:
        """The input and every layer's output, in order; their sizes are scalars."""
        return [Stage("input", len(self.layers[0].W)), *(layer.stage for layer in self.layers)]

    @property
    def code_layer(self) -> int:
        """Which layer's output is the code, a scalar: the first that selects, or the first."""
        selecting = (i for i, layer in enumerate(self.layers) if isinstance(layer, KSparse))
        return next(selecting, 0)

    @property
    def parameters(self) -> Arrays:
        """The live arrays by name, first layer to last, of shapes (n_in, n_out) and (n_out,)."""
        return self._numbered(layer.parameters for layer in self.layers)

    @property
    def buffers(self) -> Arrays:
        """Those of the layers, of any shape, by name and number."""
        return self._numbered(layer.buffers for layer in self.layers)

    def get_config(self) -> dict[str, Any]:
        """The layers."""
        return {"layers": self.layers}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A network of these layers; raises what the constructor raises."""
        return cls(**config)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The output (batch, n_out of the last layer) for x (batch, n_in of the first).

        Chapter 2.
        """
        return self.outputs(x)[-1]

    def outputs(self, x: np.ndarray) -> list[np.ndarray]:
        """Every layer's output, first to last, each (batch, n_out): codes are among them.

        Chapter 2.
        """
        x, outputs = self._images(x), []
        for layer in self.layers:
            x = layer.encode(x)
            outputs.append(x)
        return outputs

    def encode(self, x: np.ndarray) -> np.ndarray:
        """The code (batch, n) of x (batch, n_in): the output of the code layer."""
        return self.outputs(x)[self.code_layer]

    def decode(self, z: np.ndarray) -> np.ndarray:
        """The output (batch, n_out) that a code z (batch, n) leads to."""
        W = self.layers[self.code_layer].W
        z = inputs.rows(z, W.shape[1], "codes", dtype=W.dtype, finite=False)
        for layer in self.layers[self.code_layer + 1 :]:
            z = layer.encode(z)
        return z

    def forward_backward(self, x: np.ndarray, target: np.ndarray | None = None) -> Passes:
        """The mean squared error (a scalar), its gradients, and the forward pass.

        x has shape (batch, n_in), target (batch, n_out).

        Raises `ValueError` if a shape does not fit.
        """
        W = self.layers[0].W
        x, target = inputs.with_target(x, target, len(W), W.dtype)
        hs, zs, steps_back = self._forward(x)
        x_hat = zs[-1]
        gradients: Arrays = {}
        d = mse_gradient(x_hat, target)
        for i, backward in reversed(list(enumerate(steps_back))):
            d, own = backward(d)
            gradients |= {f"{name}{i}": gradient for name, gradient in own.items()}
        code = self.code_layer
        W_dec = self.layers[min(code + 1, len(self.layers) - 1)].W
        forward = LayerPasses(target, hs[code], zs[code], x_hat, W_dec, tuple(hs))
        ordered = {name: gradients[name] for name in self.parameters}
        return Passes(mse(x_hat, target), ordered, forward)

    def loss(self, x: np.ndarray, target: np.ndarray | None = None) -> float:
        """The mean squared error in training, a scalar, without the work for its gradients."""
        _, zs, _ = self._forward(x)
        return mse(zs[-1], x if target is None else target)

    def observe(self, forward: ForwardPass) -> None:
        """Let every layer note its pre-activations."""
        if isinstance(forward, LayerPasses):
            for layer, h in zip(self.layers, forward.pre_activations, strict=True):
                layer.observe(h)

    def masks(self, x: np.ndarray, target: np.ndarray | None = None) -> list[np.ndarray]:
        """The masks (batch, n) that x (batch, n_in) leads to, one for each layer that selects.

        `target` is ignored; it is there so that every method takes the same batch.
        """
        _, zs, _ = self._forward(x)
        each = (layer.masks(x) for layer, x in zip(self.layers, [x, *zs[:-1]], strict=True))
        return [mask for masks in each for mask in masks]

    def _forward(self, x: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray], list[Backward]]:
        """Every layer's h and z (batch, n_out) in training, and the way back through it."""
        x = self._images(x)
        hs, zs, steps_back = [], [], []
        for layer in self.layers:
            h = layer.pre_activations(x)
            x, backward = layer.forward_from(x, h)
            hs.append(h)
            zs.append(x)
            steps_back.append(backward)
        return hs, zs, steps_back

    def _images(self, x: np.ndarray) -> np.ndarray:
        W = self.layers[0].W
        return inputs.rows(x, len(W), dtype=W.dtype)

    @staticmethod
    def _numbered(arrays: Iterable[Arrays]) -> Arrays:
        return {f"{name}{i}": w for i, own in enumerate(arrays) for name, w in own.items()}
