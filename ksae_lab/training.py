"""Mini-batch training of any model that has `parameters`, `loss` and `loss_and_gradients`."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from tqdm import trange


class Model(Protocol):
    """What can be trained, and what `gradcheck` can check.

    `parameters` maps names to live arrays; `loss_and_gradients` returns a scalar
    and a dict with the same keys.

    Chapter 3.
    """

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """Name → live array of any shape."""

    def loss(self, *batch: np.ndarray) -> float:
        """The loss of one batch, a scalar."""

    def loss_and_gradients(self, *batch: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
        """The loss of one batch, and its gradient for each parameter, of the same shape."""


class Optimizer(Protocol):
    """Anything that can take a step in place.

    Lab 1.
    """

    def step(self, parameters: dict[str, np.ndarray], gradients: dict[str, np.ndarray]) -> None:
        """Change `parameters` in place by `gradients`, of the same names and shapes."""


@dataclass
class History:
    """One number an epoch: the mean training loss seen on the way, and the validation loss.

    `validation` stays empty if no validation data were given.
    `interrupted` says that training was stopped by hand before its last epoch.

    Lab 1.
    """

    training: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    interrupted: bool = False


def fit(
    model: Model,
    data: tuple[np.ndarray, ...],
    *,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int,
    rng: np.random.Generator,
    validation: tuple[np.ndarray, ...] | None = None,
) -> History:
    """Train in place: each epoch visits every sample once, in an order drawn from `rng`.

    `data` is what the model's loss takes, for all samples: for a network the pair
    x (samples, n_in) and target (samples, n_out); `validation` is the same for other samples.
    A bar shows the epochs; TQDM_DISABLE=1 in the environment, set before the start, hides it.
    Interrupt with Ctrl-C or the notebook's stop button: the model keeps what it has learned,
    the history every whole epoch, and calling `fit` again goes on from there.

    Raises `ValueError` if arrays are empty, differ in length or do not fit the model, for an
    impossible number of epochs or batch size, and `FloatingPointError` as soon as the loss
    is no longer finite.

    Lab 1.
    """
    if epochs < 0 or batch_size < 1:
        raise ValueError(
            f"{epochs} epochs and batches of {batch_size} make no training; "
            "give a batch size of 1 or more and no negative epochs."
        )
    _check_samples(model, data)
    if validation is not None:
        _check_samples(model, validation)
    history = History()
    try:
        with trange(epochs, desc="training", unit="epoch") as bar:
            for _ in bar:
                loss = _one_epoch(model, data, optimizer, batch_size, rng)
                # All of an epoch's numbers are there before the first is written down.
                validation_loss = [] if validation is None else [model.loss(*validation)]
                history.training.append(loss)
                history.validation.extend(validation_loss)
                bar.set_postfix(loss=f"{loss:.4g}")
    except KeyboardInterrupt:
        history.interrupted = True
    return history


def _check_samples(model: Model, arrays: tuple[np.ndarray, ...]) -> None:
    """Let whatever is wrong with the data show before training, not an epoch later."""
    lengths = [len(array) for array in arrays]
    if min(lengths) == 0 or max(lengths) != min(lengths):
        raise ValueError(f"The arrays hold {lengths} samples; give equal numbers, at least one.")
    model.loss(*(array[:1] for array in arrays))


def _one_epoch(model, data, optimizer, batch_size, rng) -> float:
    """The mean loss per sample over one pass through the data."""
    samples = len(data[0])
    order = rng.permutation(samples)
    total = 0.0
    for start in range(0, samples, batch_size):
        batch = order[start : start + batch_size]
        loss, gradients = model.loss_and_gradients(*(array[batch] for array in data))
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss}. If the data hold NaN, mend them; if not, the last step "
                "was too large: start again with a lower learning rate."
            )
        optimizer.step(model.parameters, gradients)
        total += loss * len(batch)
    return total / samples
