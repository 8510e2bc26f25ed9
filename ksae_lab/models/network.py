"""A network is a list of layers, run forwards to predict and backwards to learn."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from ksae_lab.nn.layers import Dense, Stage
from ksae_lab.nn.losses import mse, mse_gradient
from ksae_lab.training import loop


class Network:
    """Layers in a row, trained on the mean squared error.

    `parameters` maps a name to the live array: "W0" and "b0" of the first layer, "W1", "b1", …
    Write into an array (`network.parameters["W0"][:] = …`) and the network has changed.
    Give data in the layers' dtype: NumPy computes float64 images with float32 weights in float64.

    Raises `ValueError` if there is no layer, or if one's output does not fit the next one's input.

    Chapter 3.
    """

    def __init__(self, layers: Iterable[Dense]):
        self.layers = list(layers)
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
        """The input and every layer's output, in order; their sizes are scalars.

        Chapter 5.
        """
        made = [Stage(la.phi.name, len(la.b), getattr(la, "k", None)) for la in self.layers]
        return [Stage("input", len(self.layers[0].W)), *made]

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """The live arrays by name, first layer to last, of shapes (n_in, n_out) and (n_out,)."""
        return {
            f"{name}{i}": getattr(layer, name)
            for i, layer in enumerate(self.layers)
            for name in ("W", "b")
        }

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The output (batch, n_out of the last layer) for x (batch, n_in of the first).

        Chapter 2.
        """
        return self.outputs(x)[-1]

    def outputs(self, x: np.ndarray) -> list[np.ndarray]:
        """Every layer's output, first to last, each (batch, n_out): codes are among them.

        Chapter 2.
        """
        outputs = []
        for layer in self.layers:
            x, _ = layer.forward(self._checked(x, layer))
            outputs.append(x)
        return outputs

    def loss_and_gradients(
        self, x: np.ndarray, target: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray]]:
        """The mean squared error (a scalar), and its gradient for each of `parameters`.

        x has shape (batch, n_in), target (batch, n_out).

        Raises `ValueError` if a shape does not fit.
        """
        steps_back = []
        for layer in self.layers:
            x, backward = layer.forward(self._checked(x, layer))
            steps_back.append(backward)
        loss = mse(x, target)

        gradients = {}
        d = mse_gradient(x, target)
        for i, backward in reversed(list(enumerate(steps_back))):
            d, own = backward(d)
            gradients |= {f"{name}{i}": gradient for name, gradient in own.items()}
        return loss, {name: gradients[name] for name in self.parameters}

    def loss(self, x: np.ndarray, target: np.ndarray) -> float:
        """The mean squared error alone, a scalar; shapes as in `loss_and_gradients`."""
        return mse(self.predict(x), target)

    def masks(self, x: np.ndarray, target: np.ndarray | None = None) -> list[np.ndarray]:
        """The masks (batch, n) that x (batch, n_in) leads to, one for each layer that selects.

        `target` is ignored; it is there so that every method takes the same batch.
        """
        inputs = [x, *self.outputs(x)]
        masks = (layer.masks(x) for layer, x in zip(self.layers, inputs, strict=False))
        return [mask for mask in masks if mask is not None]

    def fit(self, x: np.ndarray, target: np.ndarray, **how) -> loop.History:
        """Train on x (samples, n_in) towards target (samples, n_out).

        Takes `optimizer`, `epochs`, `batch_size`, `rng` and, if you like, `validation`:
        see `ksae_lab.training.loop.fit`, which says what each is and what can go wrong.

        Lab 1.
        """
        return loop.fit(self, (x, target), **how)

    @staticmethod
    def _checked(x: np.ndarray, layer: Dense) -> np.ndarray:
        n_in = layer.W.shape[0]
        if x.ndim != 2 or x.shape[1] != n_in:
            raise ValueError(f"The input has shape {x.shape}; expected (batch, {n_in}).")
        return x
