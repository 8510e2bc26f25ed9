"""One step of training: forward, backward, the optimizer's rule, the constraint."""

from typing import Any, Protocol

import numpy as np

from ksae_lab.nn.module import ForwardPass, Model
from ksae_lab.training.optimizers import Optimizer


class Step(Protocol):
    """Takes the steps of one training.

    Chapter 5.
    """

    def __call__(self, batch: tuple[np.ndarray, ...]) -> tuple[float, ForwardPass]:
        """Learn from x (batch, d), or from x and a target: the loss before, and the forward pass.

        Nothing has changed if the loss is not finite.
        """

    def flush(self) -> None:
        """Put all arrays where they belong, before anybody else reads or changes them."""

    @property
    def facts(self) -> dict[str, Any]:
        """How the steps are taken, in words and scalars."""


class PlainStep:
    """Every weight in every step, as the chapters derive it; x has shape (batch, d).

    Chapter 5.
    """

    def __init__(self, model: Model, optimizer: Optimizer):
        self.model, self.optimizer = model, optimizer

    def __call__(self, batch: tuple[np.ndarray, ...]) -> tuple[float, ForwardPass]:
        """Forward, backward, step, constraint."""
        loss, gradients, forward = self.model.forward_backward(*batch)
        if np.isfinite(loss):
            self.optimizer.step(self.model.parameters, gradients)
            self.model.constrain()
            self.model.observe(forward)
        return loss, forward

    def flush(self) -> None:
        """Nothing to do: nothing was put off."""

    @property
    def facts(self) -> dict[str, Any]:
        """That they are plain, in a word."""
        return {"engine": "plain"}
