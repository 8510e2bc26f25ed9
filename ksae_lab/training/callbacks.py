"""What may happen around a step: settings that change, inputs that get noise, frozen weights."""

from collections.abc import Callable

from ksae_lab.nn.checks import not_negative
from ksae_lab.nn.module import ForwardPass, Model
from ksae_lab.training.loop import Callback, Trainer


class Scheduled(Callback):
    """Sets `owner.name` to `schedule(progress)` before each step, and notes it.

    `Scheduled(model, "k", k_curriculum(60, 10))` or `Scheduled(adam, "learning_rate", linear(…))`.
    A schedule takes and returns a scalar, see `ksae_lab.training.schedules`.

    Raises `AttributeError` if the owner has no such setting, and `TypeError` for a schedule that is
    no function.

    Chapter 5.
    """

    reads_weights = False

    def __init__(self, owner: object, name: str, schedule: Callable[[float], float]):
        getattr(owner, name)
        if not callable(schedule):
            raise TypeError(f"The schedule is {schedule!r}; give a function of progress.")
        self.owner = owner
        self.name = name
        self.schedule = schedule

    def before_step(self, trainer: Trainer) -> None:
        """Set what progress, a scalar, asks for."""
        setattr(self.owner, self.name, self.schedule(trainer.progress))

    def logs(self) -> dict[str, float]:
        """The setting's last value, a scalar, under its name."""
        return {self.name: getattr(self.owner, self.name)}


class InputNoise(Callback):
    """Shows the model noisy images, and asks for the clean ones.

    To each batch x (batch, d) normal noise of `scale` grey levels, a scalar, is added, new in
    every step; the batch becomes the pair of the noisy x and x itself.

    Raises `ValueError` for a negative scale, and, at the first step, where there is a target.

    Source: Vincent et al. (2008).
    Chapter 5.
    """

    reads_weights = False

    def __init__(self, scale: float):
        self.scale = not_negative(scale, "scale")

    def before_step(self, trainer: Trainer) -> None:
        """Put (noisy x, x) in the place of (x,), both of shape (batch, d)."""
        if len(trainer.batch) > 1:
            raise ValueError("InputNoise asks for the clean x itself; train without a target.")
        (x,) = trainer.batch
        noise = trainer.rng.standard_normal(x.shape, dtype=x.dtype)
        trainer.batch = (x + self.scale * noise, x)


class Freeze(Callback):
    """Holds parameters where they are: `Freeze(model, "S")` undoes what each step does to S.

    Raises `ValueError` for a name that the model does not have.

    Chapter 11.
    """

    def __init__(self, model: Model, *names: str):
        parameters = model.parameters
        if missing := [name for name in names if name not in parameters]:
            raise ValueError(f"There is no {missing[0]}; choose from {', '.join(parameters)}.")
        self.kept = {name: parameters[name].copy() for name in names}

    def after_step(self, trainer: Trainer, forward: ForwardPass) -> None:
        """Put each of them, of any shape, back."""
        for name, w in self.kept.items():
            trainer.model.parameters[name][...] = w
