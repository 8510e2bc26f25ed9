"""What may happen around a step: settings that change, inputs moved or noisy, frozen weights."""

from collections.abc import Callable

from ksae_lab.data.shifts import places_after, shifted
from ksae_lab.nn.checks import not_negative, share
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


class PixelShifts(Callback):
    """Moves about a `share` of each batch's images by one pixel, others in every step.

    `image` is the shape of a row of x (batch, d), see `ksae_lab.data.shifts.shifted`. What moves is
    also what is asked for: stand it before `InputNoise`.

    Raises `ValueError` for a shape that is none of an image, and a share that is not from 0 to 1;
    and, at the first step, where there is a target, and for images of another shape.

    Source: Simard, Steinkraus & Platt (2003).
    Lab 2.
    """

    reads_weights = False

    def __init__(self, image: tuple[int, ...], share_moved: float = 0.5):
        places_after(image)
        self.image, self.share_moved = image, share(share_moved, "share_moved")

    def before_step(self, trainer: Trainer) -> None:
        """Put the moved x in the place of (x,), of shape (batch, d)."""
        if len(trainer.batch) > 1:
            raise ValueError(
                "PixelShifts moves x and not its target; train without a target, and "
                "put PixelShifts before InputNoise."
            )
        (x,) = trainer.batch
        trainer.batch = (shifted(x, self.image, self.share_moved, trainer.rng),)


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
