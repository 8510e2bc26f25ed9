"""Mini-batch training of any model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import trange

from ksae_lab.nn import checks, inputs
from ksae_lab.nn.module import ForwardPass, Model
from ksae_lab.training import batches, optimizers
from ksae_lab.training.activity import Activity
from ksae_lab.training.optimizers import Optimizer
from ksae_lab.training.steps import PlainStep, Step

AT_A_TIME = 10_000  # samples of which the error is measured


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
    `reads_weights` says whether what it does before or after a step looks at the model's weights,
    or changes them: an engine that puts work off has to do it first. False, if not, saves that.

    Chapter 5.
    """

    reads_weights: bool = True

    @property
    def needs_all(self) -> bool:
        """Whether all weights have to be in place after each step."""
        own = type(self)
        hooked = own.before_step, own.after_step
        return self.reads_weights and hooked != (Callback.before_step, Callback.after_step)

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

    `data` and `validation` are tuples of arrays (samples, …), what the model's loss takes; an array
    may stand alone. In place of arrays `data` may be an iterable of batches, as
    `ksae_lab.training.batches` has it; then there is no `batch_size`, else it is 64 if not given.
    `optimizer` may be a name, "adam", `rng` whatever `numpy.random.default_rng` takes, and
    `callbacks` a single one.
    `epoch` counts whole epochs that are done, `progress` is the share of all steps, a scalar.
    `batch` is what this step learns from; a callback may put something else in its place.
    A bar shows the epochs, unless `quiet`.
    `make_step` makes what takes the steps, of a model and an optimizer.
    `fit` may be called on a run whose parts were brought back from a file: it goes on at `epoch`.

    Chapter 5.
    """

    model: Model
    data: Any
    optimizer: Optimizer
    epochs: int
    batch_size: int | None = None
    rng: np.random.Generator = None  # type: ignore[assignment] # `prepare` makes one
    validation: tuple[np.ndarray, ...] | None = None
    callbacks: Sequence[Callback] = ()
    history: History = field(default_factory=History)
    epoch: int = 0
    progress: float = 0.0
    batch: tuple[np.ndarray, ...] = ()
    quiet: bool = False
    make_step: Callable[[Any, Any], Step] = PlainStep
    step: Step = field(init=False, repr=False)
    source: batches.Source = field(init=False, repr=False)
    latest: tuple[np.ndarray, ...] = field(init=False, repr=False)

    @property
    def images(self) -> np.ndarray:
        """All images of training (samples, d), or, if they come in batches, those of the latest."""
        return self.data[0] if isinstance(self.data, tuple) else self.latest[0]

    def prepare(self) -> None:
        """See that the parts, as they are now, can work together; `fit` begins with it."""
        if not isinstance(self.model, Model):
            raise TypeError(f"A {type(self.model).__name__} cannot be trained here; give a Model.")
        self.optimizer = optimizers.get(self.optimizer)
        self.epochs = checks.whole(self.epochs, "epochs", 0)
        self.rng = checks.generator(self.rng)
        self.callbacks = checks.several(self.callbacks, Callback, "callbacks")
        self.quiet = checks.flag(self.quiet, "quiet")
        dtype = next((w.dtype for w in self.model.parameters.values()), np.dtype(np.float64))
        self.source = batches.source(self.data, self.batch_size, self.epochs - self.epoch, dtype)
        self.data = self.source.arrays or self.data
        if self.validation is not None:
            self.validation = batches.arrays(self.validation)
        self.step = self.make_step(self.model, self.optimizer)
        self._activity = Activity()
        self._flush_often = any(callback.needs_all for callback in self.callbacks)

    def fit(self) -> History:
        """Train from `epoch` to `epochs`; `fit` says what is raised."""
        self.prepare()
        measure = self.model.error
        for arrays in (self.source.arrays, self.validation):
            if arrays is not None:
                # Whatever does not fit the model shows before training, not an epoch later.
                # An error draws no random numbers: a resumed training must not be a draw ahead.
                measure(*(array[:1] for array in arrays))
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
                    loss = self.one_epoch()
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
            self._activity.warn(self.model, self.images)
        except KeyboardInterrupt:
            history.interrupted = True
        return history

    def one_epoch(self) -> float:
        """One pass through the data, and the mean loss per sample, a scalar."""
        total, samples = 0.0, 0
        source = self.source
        try:
            for step, batch in enumerate(source.batches(self.rng)):
                within = step / source.steps if source.steps else 0.0
                self.progress = (self.epoch + within) / self.epochs
                self.batch = self.latest = batch
                total, samples = total + self.one_step() * len(batch[0]), samples + len(batch[0])
        finally:
            self.step.flush()  # also where somebody stops in the middle
        return total / samples

    def one_step(self) -> float:
        """One step with `batch`, callbacks and all: the loss before it, a scalar."""
        for callback in self.callbacks:
            callback.before_step(self)
        loss, forward = self.step(self.batch)
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss}: the last step was too large, or the numbers in the data "
                "are; start again with a lower learning rate."
            )
        if self._flush_often:
            self.step.flush()
        for callback in self.callbacks:
            callback.after_step(self, forward)
        self._activity.note(forward.active)
        return loss


MAY_HAVE = ("batch_size", "rng", "callbacks", "make_step")


def fit(model: Model, data: Any, **options: Any) -> History:
    """Train in place: each epoch visits every sample once, in an order drawn from `rng`.

    `data` is what the model's loss takes, for all samples: for a network the pair
    x (samples, n_in) and target (samples, n_out); `validation` is the same for other samples.
    `options` need `optimizer` and `epochs`, and may have `batch_size`, `rng`, `validation`,
    `callbacks` and `quiet`, as in `Trainer`, which says what they and `data` may be.
    A bar shows the epochs; TQDM_DISABLE=1 in the environment, set before the start, hides it.
    Interrupt with Ctrl-C or the notebook's stop button: the model keeps what it has learned,
    the history every whole epoch, and calling `fit` again goes on from there.

    Warns if all units have died on the way.

    Raises `ValueError` if arrays are empty, differ in length, hold NaN or do not fit the model, for
    an impossible number of epochs or batch size, and if batches are used up too early; `TypeError`
    for options of another type or name, and what `ksae_lab.nn.inputs.real` raises; and
    `FloatingPointError` as soon as the loss is no longer finite.

    Lab 1.
    """
    _check_names(options, ("optimizer", "epochs"), (*MAY_HAVE, "validation", "quiet"))
    return Trainer(model, data, **options).fit()


def _mean(measure: Callable[..., float], arrays: tuple[np.ndarray, ...]) -> float:
    """What `measure` says of all samples, asked about so many at a time that there is room."""
    samples = len(arrays[0])
    step = min(inputs.at_a_time(array, AT_A_TIME) for array in arrays)
    total = 0.0
    for start in range(0, samples, step):
        some = [array[start : start + step] for array in arrays]
        total += measure(*some) * len(some[0]) / samples
    return total


def partial_fit(model: Model, data: Any, **options: Any) -> float:
    """One pass over the data, as `fit` has them, in mini-batches: the mean loss, a scalar.

    `optimizer` is the caller's, who keeps it for the next call: it remembers the earlier steps.
    Other options are `batch_size`, `rng` and `callbacks`; progress is that of this pass.

    Raises what `fit` raises, and `TypeError` for the name of an optimizer, which would be a new one
    in each call.

    Chapter 5.
    """
    _check_names(options, ("optimizer",), MAY_HAVE)
    if isinstance(options["optimizer"], str):
        raise TypeError("partial_fit needs an optimizer that you keep, such as adam = Adam().")
    trainer = Trainer(model, data, epochs=1, **options)
    trainer.prepare()
    return trainer.one_epoch()


def _check_names(options: dict[str, Any], needed: Sequence[str], others: Sequence[str]) -> None:
    if missing := [name for name in needed if name not in options]:
        raise TypeError(f"The option {missing[0]} is missing; give {' and '.join(needed)}.")
    if unknown := [name for name in options if name not in (*needed, *others)]:
        known = ", ".join((*needed, *others))
        raise TypeError(f"There is no option {unknown[0]}; choose from {known}.")
