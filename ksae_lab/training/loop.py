"""Mini-batch training of any model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from tqdm import trange

from ksae_lab.nn.module import ForwardPass, Model

AT_A_TIME = 10_000  # samples of which the error is measured


class Optimizer(Protocol):
    """Anything that can take a step in place; what can be resumed also has a state.

    Lab 1.
    """

    def step(self, parameters: dict[str, np.ndarray], gradients: dict[str, np.ndarray]) -> None:
        """Change `parameters` in place by `gradients`, of the same names and shapes."""


@dataclass
class History:
    """One number an epoch: the mean training loss seen on the way, and the validation loss.

    `validation` stays empty if no validation data were given.
    `logs` holds what the callbacks noted at each epoch's end, a list for each name.
    `interrupted` says that training was stopped by hand before its last epoch.

    Lab 1.
    """

    training: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    logs: dict[str, list[float]] = field(default_factory=dict)
    interrupted: bool = False


class Callback:
    """Takes part in training: before and after each step, and at the end of each epoch.

    Every method does nothing here; a callback overrides those that it needs.
    `state` and `load_state` are for those that remember, so that a training can be resumed.

    Chapter 5.
    """

    def before_step(self, trainer: "Trainer") -> None:
        """Called before each step; `trainer.progress`, a scalar, goes from 0 to 1."""

    def after_step(self, trainer: "Trainer", forward: ForwardPass) -> None:
        """Called after each step, with its forward pass; the model has changed since."""

    def after_epoch(self, trainer: "Trainer") -> None:
        """Called when the epoch's numbers stand in `trainer.history`."""

    def logs(self) -> dict[str, float]:
        """Numbers, each a scalar, for `History.logs`, asked for at the end of each epoch."""
        return {}

    @property
    def state(self) -> dict[str, np.ndarray]:
        """What must be kept to go on later: name → array of any shape."""
        return {}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take up a `state` of this callback again: name → array of any shape."""


@dataclass
class Trainer:
    """A training as far as it has come: what it works on, and where it stands.

    `data` and `validation` are tuples of arrays (samples, …), what the model's loss takes.
    `epoch` counts whole epochs that are done, `progress` is the share of all steps, a scalar.
    `batch` is what this step learns from; a callback may put something else in its place.
    A bar shows the epochs, unless `quiet`.
    `fit` may be called on a run whose parts were brought back from a file: it goes on at `epoch`.

    Chapter 5.
    """

    model: Model
    data: tuple[np.ndarray, ...]
    optimizer: Optimizer
    epochs: int
    batch_size: int
    rng: np.random.Generator
    validation: tuple[np.ndarray, ...] | None = None
    callbacks: Sequence[Callback] = ()
    history: History = field(default_factory=History)
    epoch: int = 0
    progress: float = 0.0
    batch: tuple[np.ndarray, ...] = ()
    quiet: bool = False

    def fit(self) -> History:
        """Train from `epoch` to `epochs`; `fit` says what is raised."""
        if self.epochs < 0 or self.batch_size < 1:
            raise ValueError(
                f"{self.epochs} epochs and batches of {self.batch_size} make no training; "
                "give a batch size of 1 or more and no negative epochs."
            )
        measure = self.model.error
        _check_samples(measure, self.data)
        if self.validation is not None:
            _check_samples(measure, self.validation)
        history = self.history
        history.interrupted = False
        try:
            # Where `disable` is left out, the environment decides.
            quiet: dict[str, Any] = {"disable": True} if self.quiet else {}
            bar = trange(
                self.epoch,
                self.epochs,
                desc="training",
                unit="epoch",
                initial=self.epoch,
                total=self.epochs,
                **quiet,
            )
            with bar:
                for _ in bar:
                    loss = self._one_epoch()
                    # All of an epoch's numbers are there before the first is written down.
                    validation = (
                        [] if self.validation is None else [_mean(measure, self.validation)]
                    )
                    history.training.append(loss)
                    history.validation.extend(validation)
                    for callback in self.callbacks:
                        for name, value in callback.logs().items():
                            history.logs.setdefault(name, []).append(value)
                    self.epoch += 1
                    bar.set_postfix(loss=f"{loss:.4g}")
                    for callback in self.callbacks:
                        callback.after_epoch(self)
        except KeyboardInterrupt:
            history.interrupted = True
        return history

    def _one_epoch(self) -> float:
        """The mean loss per sample over one pass through the data."""
        samples = len(self.data[0])
        order = self.rng.permutation(samples)
        starts = range(0, samples, self.batch_size)
        total = 0.0
        for step, start in enumerate(starts):
            batch = order[start : start + self.batch_size]
            self.progress = (self.epoch + step / len(starts)) / self.epochs
            self.batch = tuple(array[batch] for array in self.data)
            for callback in self.callbacks:
                callback.before_step(self)
            loss, gradients, forward = self.model.forward_backward(*self.batch)
            if not np.isfinite(loss):
                raise FloatingPointError(
                    f"The loss is {loss}. If the data hold NaN, mend them; if not, the last step "
                    "was too large: start again with a lower learning rate."
                )
            self.optimizer.step(self.model.parameters, gradients)
            self.model.constrain()
            self.model.observe(forward)
            for callback in self.callbacks:
                callback.after_step(self, forward)
            total += loss * len(batch)
        return total / samples


def fit(model: Model, data: tuple[np.ndarray, ...], **options: Any) -> History:
    """Train in place: each epoch visits every sample once, in an order drawn from `rng`.

    `data` is what the model's loss takes, for all samples: for a network the pair
    x (samples, n_in) and target (samples, n_out); `validation` is the same for other samples.
    `options` need `optimizer`, `epochs`, `batch_size`, `rng`, and may have `validation` and
    `callbacks`, as in `Trainer`.
    A bar shows the epochs; TQDM_DISABLE=1 in the environment, set before the start, hides it.
    Interrupt with Ctrl-C or the notebook's stop button: the model keeps what it has learned,
    the history every whole epoch, and calling `fit` again goes on from there.

    Raises `ValueError` if arrays are empty, differ in length or do not fit the model, for an
    impossible number of epochs or batch size, and `FloatingPointError` as soon as the loss
    is no longer finite.

    Lab 1.
    """
    return Trainer(model, data, **options).fit()


def _mean(measure: Callable[..., float], arrays: tuple[np.ndarray, ...]) -> float:
    """What `measure` says of all samples, asked about so many at a time that there is room."""
    samples = len(arrays[0])
    total = 0.0
    for start in range(0, samples, AT_A_TIME):
        some = [array[start : start + AT_A_TIME] for array in arrays]
        total += measure(*some) * len(some[0]) / samples
    return total


def _check_samples(measure: Callable[..., float], arrays: tuple[np.ndarray, ...]) -> None:
    """Let whatever is wrong with the data show before training, not an epoch later.

    `measure` draws no random numbers, as a loss may: a resumed training must not be a draw ahead.
    """
    lengths = [len(array) for array in arrays]
    if min(lengths) == 0 or max(lengths) != min(lengths):
        raise ValueError(f"The arrays hold {lengths} samples; give equal numbers, at least one.")
    measure(*(array[:1] for array in arrays))
