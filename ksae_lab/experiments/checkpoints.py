"""A training half-way: all that is needed to go on as if nothing had happened."""

import operator
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ksae_lab.experiments import archive
from ksae_lab.training.loop import Callback, History, Trainer
from ksae_lab.training.optimizers import BaseOptimizer

PAUSE = 5.0  # seconds from one checkpoint to the next: writing one takes as long as some steps


class Checkpoint(Callback):
    """Writes down all that `restore` needs, at most every `PAUSE` seconds.

    Lab 2.
    """

    def __init__(self, path: Path, facts: dict[str, Any]):
        self.path = path
        self.facts = facts
        self.earlier = 0.0  # seconds of the processor, in sittings before this one
        self.started = time.process_time()
        self.written = time.monotonic()

    @property
    def seconds(self) -> float:
        """Of the processor, a scalar, in all sittings so far."""
        return self.earlier + time.process_time() - self.started

    def after_epoch(self, trainer: Trainer) -> None:
        """Write, if the last time is long enough ago."""
        if time.monotonic() - self.written >= PAUSE:
            self.write(trainer)

    def write(self, trainer: Trainer) -> None:
        """Write down the state of all that takes part."""
        arrays = {
            f"{owner}/{name}": array
            for owner, state in _states(trainer).items()
            for name, array in state.items()
        }
        card = {
            "facts": self.facts,
            "epoch": trainer.epoch,
            "rng": trainer.rng.bit_generator.state,
            "history": asdict(trainer.history),
            "seconds": self.seconds,
        }
        archive.write(self.path, arrays, card)
        self.written = time.monotonic()


def _optimizer(trainer: Trainer) -> BaseOptimizer:
    if not isinstance(trainer.optimizer, BaseOptimizer):
        raise TypeError(
            f"A {type(trainer.optimizer).__name__} has no state to go on from; "
            "use an optimizer of ksae_lab.training.optimizers."
        )
    return trainer.optimizer


def _states(trainer: Trainer) -> dict[str, dict[str, np.ndarray]]:
    callbacks = {f"callback{i}": callback.state for i, callback in enumerate(trainer.callbacks)}
    return {"model": trainer.model.state, "optimizer": _optimizer(trainer).state} | callbacks


def restore(trainer: Trainer, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> None:
    """Bring a run that `build` just made to where the checkpoint, its arrays and its card, stood.

    `arrays` have the shapes of the parameters and of what else remembers.

    Lab 2.
    """
    states: dict[str, dict[str, np.ndarray]] = {}
    for key, array in arrays.items():
        owner, _, name = key.partition("/")
        states.setdefault(owner, {})[name] = array
    for name, w in trainer.model.state.items():
        w[...] = states["model"][name]
    _optimizer(trainer).load_state(states["optimizer"])
    for i, callback in enumerate(trainer.callbacks):
        callback.load_state(states.get(f"callback{i}", {}))
    trainer.epoch = operator.index(card["epoch"])
    trainer.rng.bit_generator.state = card["rng"]
    trainer.history = history = History(**card["history"])
    curves = [history.training, *history.logs.values(), *filter(None, [history.validation])]
    if {len(curve) for curve in curves} != {trainer.epoch}:
        raise ValueError(f"its history is not of {trainer.epoch} epochs")
