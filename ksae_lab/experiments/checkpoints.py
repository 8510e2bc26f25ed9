"""A training half-way: all that is needed to go on as if nothing had happened."""

import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ksae_lab.experiments import archive
from ksae_lab.training.loop import Callback, History, Run

PAUSE = 5.0  # seconds from one checkpoint to the next: writing one takes as long as some steps


class Checkpoint(Callback):
    """Writes down all that `restore` needs, at most every `PAUSE` seconds.

    Lab 2.
    """

    def __init__(self, path: Path, facts: dict, seconds: float):
        self.path = path
        self.facts = facts
        self.earlier = seconds  # of processor time, in sittings before this one
        self.started = time.process_time()
        self.written = time.monotonic()

    @property
    def seconds(self) -> float:
        """Of the processor, a scalar, in all sittings so far."""
        return self.earlier + time.process_time() - self.started

    def after_epoch(self, run: Run) -> None:
        """Write, if the last time is long enough ago."""
        if time.monotonic() - self.written >= PAUSE:
            self.write(run)

    def write(self, run: Run) -> None:
        """Write down the state of all that takes part."""
        arrays = {
            f"{owner}/{name}": array
            for owner, state in _states(run).items()
            for name, array in state.items()
        }
        card = {
            "facts": self.facts,
            "epoch": run.epoch,
            "rng": run.rng.bit_generator.state,
            "history": asdict(run.history),
            "seconds": self.seconds,
        }
        archive.write(self.path, arrays, card)
        self.written = time.monotonic()


def _states(run: Run) -> dict[str, dict[str, np.ndarray]]:
    callbacks = {f"callback{i}": callback.state for i, callback in enumerate(run.callbacks)}
    return {"model": run.model.parameters, "optimizer": run.optimizer.state} | callbacks


def restore(run: Run, arrays: dict[str, np.ndarray], card: dict) -> None:
    """Bring a run that `build` just made to where the checkpoint, its arrays and its card, stood.

    `arrays` have the shapes of the parameters and of what else remembers.

    Lab 2.
    """
    states: dict[str, dict[str, np.ndarray]] = {}
    for key, array in arrays.items():
        owner, _, name = key.partition("/")
        states.setdefault(owner, {})[name] = array
    for name, w in run.model.parameters.items():
        w[...] = states["model"][name]
    run.optimizer.load_state(states["optimizer"])
    for i, callback in enumerate(run.callbacks):
        callback.load_state(states.get(f"callback{i}", {}))
    run.epoch = card["epoch"]
    run.rng.bit_generator.state = card["rng"]
    run.history = History(**card["history"])
